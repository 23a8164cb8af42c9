"""UserProfiler: what a user likes, in words."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skmmrec._sklearn import BaseEstimator, Transformer, clone
from skmmrec.catalog import ItemCatalog
from skmmrec.encoders import EmbeddingCache
from skmmrec.interactions import (
    ITEM,
    TIME,
    USER,
    Numbers,
    Table,
    item_ids,
    plain,
    sorted_index,
    user_ids,
)
from skmmrec.llm._fields import NAMES, Row, as_lines, as_sentences, label_of, words_of
from skmmrec.llm._prompts import Prompt, read_prompt
from skmmrec.llm._reading import read_text
from skmmrec.llm._safety import fence, shorten
from skmmrec.llm._services import Llm
from skmmrec.llm._terms import Tastes
from skmmrec.llm._writing import Task, WritesTexts, write_texts
from skmmrec.runtime import restored_on_error

PROFILE = "profile"
_LIKED = "liked"
# The most titles with `show_history`. Of up to 80 characters each, they can fill a
# profile of the default length twice; it is cut. Not tuned.
_N_LATEST = 10
_NAME = "UserProfiler"


class UserProfiler(WritesTexts, BaseEstimator):
    """Describe in words what users like, from the items that they liked.

    A profile lists the tags and words that are frequent in the items that a user liked
    and rare elsewhere; a language model may turn them into sentences. Encoded profiles
    are content of users, for the recommender's `user_catalog` or as a query for a new
    user.

    Profiles and prompts contain no user ids and do not list the liked items. A tag or
    word is included only if several liked items share it, and titles only with
    `show_history`. So a user who likes a single item has no profile. Words stand
    between spaces: of texts in Chinese, Japanese or Thai, profiles have the tags alone.

    Parameters
    ----------
    items : DataFrame or ItemCatalog
        One row per item: its id and raw fields. Columns of tags contain lists, or texts
        whose short parts are mostly joined by ``|``; words are taken from other columns
        of texts. Other columns are left out.
    encoder : transformer or None, default=None
        Turns a column of profiles into vectors, such as a `TextEncoder`, for
        `user_catalog_`.
    key : str, default="item_id"
        Column of the item ids; an `ItemCatalog` has its own.
    columns : sequence of str or None, default=None
        Columns of `items` to use; None for all but titles and names.
    llm : str, path, LanguageModel, callable or None, default=None
        The model that writes the profiles, as in `ItemDescriber`. None: a template.
    prompt : str, path or None, default=None
        A text file with the placeholder ``{taste}`` for the frequent tags and words.
        None takes the package's own file.
    n_words : int, default=8
        The most words in a profile, beside four tags of each column of tags.
    min_count : int, default=2
        How many liked items must share a tag or word for it to be included. With 1, a
        profile may reveal a single liked item.
    show_history : bool, default=False
        Include the titles of the ten latest liked items.
    max_length : int, default=400
        The most characters of a profile.
    cache : EmbeddingCache, path or None, default=None
        Where texts of a model are kept between processes. A `LanguageModel` has its
        own.

        A function is identified by its attribute ``identity``, a str that names all
        that its answers depend on; a method, by that of its object. Without one, the
        function must be defined at the top level of a module, or be a
        `functools.partial` of such a function with plain arguments. It is then
        identified by its name, so give it an ``identity`` when you change it. Other
        functions cannot be cached.
    on_error : {"raise", "template"}, default="raise"
        Whether an error of the model is raised, or the remaining profiles come from the
        template, with one warning.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    profiles_ : DataFrame
        Profiles of the users in `fit`, as returned by `write`.
    user_catalog_ : ItemCatalog
        The encoded profiles, for ``MultimodalFusionRecommender(user_catalog=...)``;
        only with an `encoder`.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.llm import UserProfiler
    >>> films = pd.DataFrame(
    ...     {"item_id": [1, 2, 3], "genres": ["War|Drama", "War", "Comedy|Drama"],
    ...      "plot": ["A king rides out", "The king is dead", "Two clowns"]}
    ... )
    >>> likes = pd.DataFrame({"user_id": ["u", "u", "v"], "item_id": [1, 2, 3]})
    >>> profiler = UserProfiler(films).fit(likes)
    >>> profiler.profiles_[["user_id", "profile"]]
      user_id                          profile
    0       u  Genres: War. Often about: king.
    1       v                             None
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "items": "no_validation",
        "encoder": [HasMethods(["fit", "transform"]), None],
        "key": [str],
        "columns": ["array-like", None],
        "llm": "no_validation",
        "prompt": [str, os.PathLike, None],
        "n_words": [Interval(Integral, 1, None, closed="left")],
        "min_count": [Interval(Integral, 1, None, closed="left")],
        "show_history": ["boolean"],
        "max_length": [Interval(Integral, 1, None, closed="left")],
        "cache": [None, str, os.PathLike, EmbeddingCache],
        "on_error": [StrOptions({"raise", "template"})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        items: pd.DataFrame | ItemCatalog,
        encoder: Transformer | None = None,
        *,
        key: str = ITEM,
        columns: Sequence[str] | None = None,
        llm: Llm | None = None,
        prompt: str | os.PathLike | None = None,
        n_words: int = 8,
        min_count: int = 2,
        show_history: bool = False,
        max_length: int = 400,
        cache: EmbeddingCache | str | os.PathLike | None = None,
        on_error: str = "raise",
        verbose: bool = False,
    ) -> None:
        self.items = items
        self.encoder = encoder
        self.key = key
        self.columns = columns
        self.llm = llm
        self.prompt = prompt
        self.n_words = n_words
        self.min_count = min_count
        self.show_history = show_history
        self.max_length = max_length
        self.cache = cache
        self.on_error = on_error
        self.verbose = verbose

    def fit(self, X: Table, y: Numbers | None = None) -> Self:
        """Learn which words are frequent in the items, and write profiles.

        Parameters
        ----------
        X : DataFrame or array of shape (n, n_columns)
            Interactions: columns ``user_id`` and ``item_id``, or the first two columns.
            A user's latest row comes last.
        y : array-like of shape (n,) or None, default=None
            Rows with a value above 0 are likes. None: all rows.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter is invalid, an item unknown, or a column missing.
        """
        self._validate_params()
        self._read_prompt()
        self._as_writer()  # it keeps finished texts where the fit fails
        with restored_on_error(self):
            self._fit(X, y)
        return self

    def _fit(self, X: Table, y: Numbers | None) -> None:
        catalog = self.items
        if not isinstance(catalog, ItemCatalog):
            catalog = ItemCatalog(catalog, key=self.key)
        self._ids = catalog.ids
        table = catalog.items[self._told_columns(catalog)]
        self._tastes = Tastes(table, self.n_words, self.min_count)
        self._titles = _titles(catalog.items)
        self.profiles_ = self.write(X, y)
        vars(self).pop("user_catalog_", None)  # of an earlier fit with an encoder
        if self.encoder is not None:
            self.user_catalog_ = self.make_catalog(self.profiles_)

    def write(self, X: Table, y: Numbers | None = None) -> pd.DataFrame:
        """Write the profiles of the users in a table, who may be new.

        Parameters
        ----------
        X : DataFrame or array of shape (n, n_columns)
            Interactions, as `fit` takes them.
        y : array-like of shape (n,) or None, default=None
            Rows with a value above 0 are likes. None: all rows.

        Returns
        -------
        DataFrame with a row for each user, in the order of their ids
            ``user_id``, ``profile`` (None if nothing is known of the user),
            ``source`` ("generated", "template" or None) and ``is_generated``.

        Raises
        ------
        ValueError
            If an item is unknown, or `y` is not as long as `X`.
        """
        check_is_fitted(self, "_tastes")
        users, rows, items = self._likes(X, y)
        shape = (len(users), len(self._ids))
        liked = sparse.csr_array((np.ones(len(rows)), (rows, items)), shape=shape)
        liked.data[:] = 1
        told = self._tastes.of(liked)
        if self.show_history:
            self._add_titles(told, rows, items)
        prompt = self._read_prompt()
        texts = write_texts(
            [self._task(prompt, row) for row in told],
            self._as_writer(),
            name=_NAME,
            on_error=self.on_error,
        ).rename(columns={"text": PROFILE})
        texts.insert(0, USER, users)
        return texts

    def make_catalog(self, profiles: pd.DataFrame) -> ItemCatalog:
        """Return a catalogue of users, whose profiles `encoder` turns into vectors.

        Parameters
        ----------
        profiles : DataFrame
            ``user_id`` and ``profile``, as `write` gives them.

        Returns
        -------
        ItemCatalog
            With ``key="user_id"``; users without a profile have no content.

        Raises
        ------
        ValueError
            If there is no `encoder`.
        """
        if self.encoder is None:
            raise ValueError(f"{_NAME} needs an encoder to make a catalogue of users")
        return ItemCatalog(
            profiles[[USER, PROFILE]],
            make_column_transformer((clone(self.encoder), [PROFILE])),
            key=USER,
            on_empty="ignore",
        )

    def _told_columns(self, catalog: ItemCatalog) -> list[Any]:
        there = [name for name in catalog.items.columns if name != catalog.key]
        if self.columns is None:
            return [
                n for n in there if label_of(n) not in NAMES and n not in (USER, TIME)
            ]
        absent = [name for name in self.columns if name not in there]
        if absent:
            raise ValueError(f"columns: {absent[0]!r} is none of {there}")
        return list(self.columns)

    def _likes(self, X: Any, y: Any) -> tuple[pd.Index, NDArray, NDArray]:
        """Return all users, and the positions of user and item of each like."""
        users, items = user_ids(X), item_ids(X)
        positions = self._ids.get_indexer(items)
        unknown = np.flatnonzero(positions < 0)
        if len(unknown):
            first = plain(items[unknown[0]])
            raise ValueError(f"unknown {ITEM}: {first!r} in row {unknown[0]}")
        answers = np.ones(len(users)) if y is None else np.asarray(y, np.float64)
        if answers.shape != (len(users),):
            raise ValueError(f"y has shape {answers.shape}, X has {len(users)} rows")
        index = sorted_index(users)
        liked = answers > 0
        return index, index.get_indexer(users)[liked], positions[liked]

    def _add_titles(self, told: list[Row], rows: NDArray, items: NDArray) -> None:
        """Add a field with the latest titles of each user."""
        for user, liked in pd.Series(items).groupby(rows):
            latest = [self._titles[item] for item in liked.unique()[-_N_LATEST:]]
            titles = [title for title in latest if title]
            if titles:
                told[user][_LIKED] = ", ".join(titles)

    def _task(self, prompt: Prompt, row: Row) -> Task:
        facts = as_lines(row, self.max_length)
        read = partial(read_text, max_length=self.max_length, key=PROFILE, facts=facts)
        template = shorten(as_sentences(row), self.max_length) if row else None
        asked = prompt.fill(taste=fence(facts, "taste")) if facts else None
        return Task(asked, read, template)

    def _read_prompt(self) -> Prompt:
        return read_prompt(self.prompt, "user_profile", ["taste"])


def _titles(table: pd.DataFrame) -> list[str | None]:
    """Return the titles or names of the items, if there is such a column."""
    named = [name for name in table.columns if label_of(name) in NAMES]
    if not named:
        return [None] * len(table)
    return [words_of(title, 80) for title in table[named[0]].tolist()]
