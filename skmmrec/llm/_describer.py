"""ItemDescriber: turn raw fields and tags into one text per item."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from sklearn.utils import Tags
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_is_fitted, validate_data

from skmmrec._sklearn import BaseEstimator, TransformerMixin
from skmmrec.encoders import EmbeddingCache
from skmmrec.interactions import RawColumn, as_frame, take_over
from skmmrec.llm._fields import (
    Row,
    as_lines,
    as_sentences,
    labels_of,
    read_rows,
    tag_rows,
)
from skmmrec.llm._prompts import Prompt, read_prompt
from skmmrec.llm._reading import read_text
from skmmrec.llm._safety import fence, shorten
from skmmrec.llm._services import Llm
from skmmrec.llm._writing import Task, WritesTexts, write_texts
from skmmrec.runtime import fill_template, restored_on_error

DESCRIPTION = "description"
_NAME = "ItemDescriber"


class ItemDescriber(WritesTexts, TransformerMixin, BaseEstimator):
    """Turn raw fields, and tags of pictures or sounds, into a description per item.

    It is meant for catalogues with missing or dirty text, before a `TextEncoder`. A
    language model writes the descriptions. Without one, or for rows where its answer
    cannot be used, a template does; `describe` tells which of the two wrote each text.

    Parameters
    ----------
    llm : str, path, LanguageModel, callable or None, default=None
        The model that writes: the name or path of a local model, a configured
        `LanguageModel`, or a function that maps a list of prompts to as many texts,
        which may call a service. Clones share a plain function and copy any other
        callable, whose texts they share if it has an ``identity``, as with `cache`.
        None: the template.
    taggers : mapping of str to callable, or None, default=None
        Maps columns of media to functions from the column to tags. A function returns a
        DataFrame of scores from 0 to 1 with a column for each tag, of which up to five
        with at least 0.1 are used, or a sequence of tags for each row. For example
        ``{"preview": audio_encoder.tag}``.
    template : str or None, default=None
        A format string such as ``"{title}: {plot}"`` for descriptions without a model;
        a missing value leaves its place empty. None: the title, then the other columns
        with their names.
    prompt : str, path or None, default=None
        A text file with the placeholder ``{item}`` for the fields. A model may answer
        in JSON with the key ``"description"``. None takes the package's own file.
    max_length : int, default=600
        The most characters of a field in a prompt, and of a description.
    cache : EmbeddingCache, path or None, default=None
        Where texts are kept between processes, by a hash of prompt and model. A
        `LanguageModel` has its own.

        A function is identified by its attribute ``identity``, a str that names all
        that its answers depend on; a method, by that of its object. Without one, the
        function must be defined at the top level of a module, or be a
        `functools.partial` of such a function with plain arguments. It is then
        identified by its name, so give it an ``identity`` when you change it. Other
        functions cannot be cached.
    on_error : {"raise", "template"}, default="raise"
        Whether an error of the model, or in loading it, is raised, or the remaining
        texts come from the template, with one warning. Finished texts are kept in
        either case and not written again.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    n_features_in_ : int
        The number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if `fit` got a DataFrame.

    Notes
    -----
    The text of items is data, not instruction. Markup, invisible characters, the
    special tokens of chats, and sentences with common English phrases that tell a model
    what to do are removed. The rest is put between marks that it cannot contain. A
    model may still follow it. So its answer is stripped of markup, limited in length,
    and marked as generated.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.llm import ItemDescriber
    >>> films = pd.DataFrame(
    ...     {"title": ["Ran", "<b>Up</b>"], "genres": ["Drama|War", "(n/a)"],
    ...      "poster": ["ran.jpg", "up.jpg"]}
    ... )
    >>> def look(posters):
    ...     return pd.DataFrame({"castle": [0.8, 0.0], "balloons": [0.05, 0.9]})
    >>> describer = ItemDescriber(taggers={"poster": look})
    >>> describer.fit_transform(films)
                                        description
    0  Ran. Genres: Drama, War. Poster: castle.
    1                     Up. Poster: balloons.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "llm": "no_validation",
        "taggers": [HasMethods("items"), None],
        "template": [str, None],
        "prompt": [str, os.PathLike, None],
        "max_length": [Interval(Integral, 1, None, closed="left")],
        "cache": [None, str, os.PathLike, EmbeddingCache],
        "on_error": [StrOptions({"raise", "template"})],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        llm: Llm | None = None,
        *,
        taggers: Mapping[str, Callable[[Any], Any]] | None = None,
        template: str | None = None,
        prompt: str | os.PathLike | None = None,
        max_length: int = 600,
        cache: EmbeddingCache | str | os.PathLike | None = None,
        on_error: str = "raise",
        verbose: bool = False,
    ) -> None:
        self.llm = llm
        self.taggers = taggers
        self.template = template
        self.prompt = prompt
        self.max_length = max_length
        self.cache = cache
        self.on_error = on_error
        self.verbose = verbose

    def fit(self, X: RawColumn, y: object = None) -> Self:
        """Check the parameters, the prompt file and the columns; write nothing.

        Parameters
        ----------
        X : DataFrame or array of shape (n, n_columns)
            Raw fields of items.
        y : None
            Ignored.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If a parameter is invalid, or the prompt file lacks its placeholder.
        """
        self._validate_params()
        self._read_prompt()
        self._as_writer()
        with restored_on_error(self):
            _as_frame(self, X, reset=True)
        return self

    def transform(self, X: RawColumn) -> Any:
        """Describe each item.

        Parameters
        ----------
        X : DataFrame or array of shape (n, n_columns)
            Raw fields of items: texts, numbers, dates, lists of these. Columns named
            user_id, item_id or timestamp are left out.

        Returns
        -------
        descriptions : DataFrame or ndarray of objects, of shape (n, 1)
            A DataFrame with the index of `X` if `X` is a pandas DataFrame, otherwise an
            array, unless `set_output` is used. None for an item without any field.
        """
        texts = self.describe(X)[[DESCRIPTION]]
        is_default = _get_output_config("transform", self)["dense"] == "default"
        keeps = isinstance(X, pd.DataFrame) and is_default
        return texts if keeps else texts.to_numpy(dtype=object)

    def describe(self, X: RawColumn) -> pd.DataFrame:
        """Describe each item, and tell who wrote the description.

        Parameters
        ----------
        X : DataFrame or array of shape (n, n_columns)
            As `transform` takes it.

        Returns
        -------
        DataFrame of shape (n, 3)
            ``description``; ``source``: "generated", "template", or None where there is
            no description; ``is_generated``. Indexed as `X` is.

        Raises
        ------
        ValueError
            If a tagger does not return a row for each item, or `llm` does not return a
            text for each prompt.
        """
        check_is_fitted(self)
        table = _as_frame(self, X, reset=False)
        rows, templates = self._rows(table)
        prompt = self._read_prompt()
        texts = write_texts(
            [self._task(prompt, *pair) for pair in zip(rows, templates, strict=True)],
            self._as_writer(),
            name=_NAME,
            on_error=self.on_error,
        )
        return texts.rename(columns={"text": DESCRIPTION}).set_index(table.index)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the name of the only column: ``description``.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of shape (1,), of str
        """
        check_is_fitted(self)
        return np.array([DESCRIPTION], dtype=object)

    def _rows(self, table: pd.DataFrame) -> tuple[list[Row], list[str | None]]:
        """Return the fields of each item, and the text that the template makes."""
        tagged = tag_rows(table, self.taggers or {})
        rows = read_rows(tagged, self.max_length)
        if self.template is None:
            made = [as_sentences(row) or None for row in rows]
        else:
            made = self._fill_template(table.columns, rows)
        return rows, [text and shorten(text, self.max_length) for text in made]

    def _fill_template(self, names: pd.Index, rows: list[Row]) -> list[str | None]:
        labels = labels_of(names, names).items()
        words = {name: [row.get(label) for row in rows] for name, label in labels}
        return fill_template(str(self.template), pd.DataFrame(words), _NAME)

    def _task(self, prompt: Prompt, row: Row, template: str | None) -> Task:
        facts = as_lines(row, self.max_length)
        read = partial(
            read_text, max_length=self.max_length, key=DESCRIPTION, facts=facts
        )
        asked = prompt.fill(item=fence(facts, "item")) if facts else None
        return Task(asked, read, template)

    def _read_prompt(self) -> Prompt:
        return read_prompt(self.prompt, "item_description", ["item"])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _as_frame(describer: ItemDescriber, X: Any, reset: bool) -> pd.DataFrame:
    """Return a table with the columns of `fit`; columns of an array get names."""
    table = as_frame(X)
    if table is None and not hasattr(X, "columns"):
        if np.asarray(X).dtype.kind == "c":
            raise ValueError("Complex data not supported")
        array = validate_data(
            describer, X, reset=reset, dtype=object, ensure_all_finite=False
        )
        return pd.DataFrame(array, columns=[f"x{n}" for n in range(array.shape[1])])
    table = take_over(X if table is None else table, "X")  # which says what is wrong
    validate_data(describer, table, reset=reset, skip_check_array=True)
    if len(table) == 0:
        raise ValueError(f"{_NAME} found 0 rows, while at least 1 is required.")
    return table
