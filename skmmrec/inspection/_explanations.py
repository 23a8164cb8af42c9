"""Why an item was recommended, in words."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.inspection._contributions import (
    BASE,
    fitted_model,
    liked_by,
    modality_contributions,
    modality_shares,
    read_ids_of_pairs,
)
from skmmrec.inspection._sentences import Reason, rewrite, sentence
from skmmrec.inspection._sources import content_sources
from skmmrec.interactions import (
    ITEM,
    USER,
    Ids,
    as_frame,
    check_has_ids,
    check_series,
    id_table,
    plain,
)

if TYPE_CHECKING:
    from skmmrec.catalog import Blocks
    from skmmrec.encoders import EmbeddingCache
    from skmmrec.llm import Llm
    from skmmrec.recommender import MultimodalFusionRecommender

Tags: TypeAlias = pd.DataFrame | Mapping[Any, Sequence[str]]

# A sentence names two things well, and a list of more badly.
_N_TAGS = 2
# Of the best possible 1: a tag that is less shared than this tells nothing.
_TAG_SCORE = 0.1
# From how many users on one may speak of many.
_MANY = 10


def nearest_in_history(
    recommender: MultimodalFusionRecommender, users: Ids, items: Ids
) -> pd.DataFrame:
    """Find, for each modality, the most similar item that the user liked.

    Parameters
    ----------
    recommender : MultimodalFusionRecommender
        Fitted, or a Pipeline or a search that ends in such a one.
    users, items : array-like of shape (n,), or one id
        The pairs. One id goes with all of the others.

    Returns
    -------
    DataFrame of shape (n * n_modalities, 5)
        Columns user_id, item_id, modality, nearest (an item id, or None where the item
        or the whole history lacks the modality) and similarity (cosine of the centred
        content vectors, float64; NaN where there is none), pair after pair. The item
        itself does not count. A model without content has no modalities: no rows.

    Raises
    ------
    ValueError
        For an unknown item, or `users` and `items` of different lengths.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec import ItemCatalog, MultimodalFusionRecommender
    >>> from skmmrec.inspection import nearest_in_history
    >>> items = pd.DataFrame(
    ...     {"item_id": ["a", "b", "c", "d"],
    ...      "image__0": [1.0, 0.9, 0.1, 0.0], "image__1": [0.1, 0.0, 1.0, 0.9]}
    ... )
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("acbda")})
    >>> rec = MultimodalFusionRecommender(ItemCatalog(items), random_state=0).fit(X)
    >>> nearest_in_history(rec, users=1, items=["b", "d"])["nearest"].tolist()
    ['a', 'c']
    """
    recommender = fitted_model(recommender)
    users, items = read_ids_of_pairs(recommender, users, items)
    columns = recommender.item_index_.get_indexer(items)
    rows = recommender.user_index_.get_indexer(users)
    content = _content(recommender)
    found = {
        modality: _nearest(recommender, content, modality, rows, columns)
        for modality in content.modalities
    }
    return _long_table(recommender, users, items, found)


def explain(
    recommender: MultimodalFusionRecommender,
    recommendations: pd.DataFrame,
    titles: pd.Series | Mapping[Any, str] | None = None,
    tags: Mapping[str, Tags] | None = None,
    *,
    llm: Llm | None = None,
    prompt: str | os.PathLike | None = None,
    show_history: bool = False,
    on_error: str = "raise",
    cache: EmbeddingCache | str | os.PathLike | None = None,
) -> pd.DataFrame:
    """Say in one sentence why each item was recommended.

    The sentence names the modality that adds most to the score, and the item of the
    user's history that is most similar in it. Modalities that are called ``text`` or
    ``words``, ``image`` or ``picture``, ``audio`` or ``sound``, ``video``,
    ``video_image`` or ``video_sound`` are named by an English word; other names are
    quoted, with spaces for underscores. If no modality adds to the score, or the user
    has no history, the sentence says that others chose the item, or that it is new; so
    do all sentences for a model without content.

    Parameters
    ----------
    recommender : MultimodalFusionRecommender
        Fitted, or a Pipeline or a search that ends in such a one.
    recommendations : DataFrame
        As `recommend` gives it, with the columns user_id and item_id.
    titles : Series or mapping, default=None
        What to call the items, by item id, such as ``items.set_index(key)["title"]``;
        None for their ids.
    tags : mapping of modality to DataFrame or mapping, default=None
        What is in the items, in words. A DataFrame indexed by item id holds scores from
        0 to 1, one column per tag, such as
        ``audio_encoder.tag(items.set_index("item_id").preview)`` or
        ``pd.DataFrame(image_encoder.zero_shot(items.poster, labels), items.item_id,
        labels)``; a mapping has a sequence of tags for each item id. The sentence names
        up to two tags that the item and the one from the history share, each with a
        score of 0.1 at least. Items may be left out.
    llm : str, path, LanguageModel, callable or None, default=None
        Writes the sentences in words of its own, as in `skmmrec.llm.ItemDescriber`;
        where it gives nothing that can be used, the usual sentence stays. It is told
        what the item is called, which modality speaks for it, its share and the tags.
    prompt : str, path or None, default=None
        A text file with the placeholder ``{facts}``; None for the package's own.
    show_history : bool, default=False
        Tell the model also which item of the user's history is most alike. Ids of users
        are never told.
    on_error : {"raise", "template"}, default="raise"
        Whether an error of the model is raised, or the usual sentences stay.
    cache : EmbeddingCache, path or None, default=None
        Where the model's sentences are kept between processes; what functions have to
        offer for that is told at `skmmrec.llm.ItemDescriber`.

    Returns
    -------
    DataFrame
        `recommendations` with the columns of the modalities' shares and ``reason``;
        with `llm` also ``source`` ("generated" or "template") and ``is_generated``.

    Raises
    ------
    ValueError
        For an unknown item, titles or tags of none, or of one twice, `tags` of an
        unknown modality, a prompt file without its placeholder, or `recommendations`
        with a column that is called like a modality.
    TypeError
        Where `recommendations` is no table.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec import ItemCatalog, MultimodalFusionRecommender
    >>> from skmmrec.inspection import explain
    >>> items = pd.DataFrame(
    ...     {"item_id": ["a", "b", "c", "d"], "image__0": [1.0, 0.9, 0.1, 0.0],
    ...      "image__1": [0.1, 0.0, 1.0, 0.9]}
    ... )
    >>> X = pd.DataFrame({"user_id": [1, 1, 2, 2, 3], "item_id": list("abcda")})
    >>> rec = MultimodalFusionRecommender(ItemCatalog(items), random_state=0).fit(X)
    >>> explain(rec, rec.recommend([3], k=1)).reason[0]
    'Its picture is like that of a, which you liked (100% of what speaks for it).'
    >>> tags = {"image": {"a": ["sea", "storm"], "b": ["storm", "night"]}}
    >>> explain(rec, rec.recommend([3], k=1), tags=tags).reason[0]
    '...which you liked (100% of what speaks for it): storm.'
    """
    recommender = fitted_model(recommender)
    recommendations = _check_recommendations(recommendations)
    recommendations = id_table(recommendations, "recommendations")
    _check_titles(titles, recommender.item_index_)
    modalities = _content(recommender).modalities
    known_tags = _check_tags(tags, modalities, recommender.item_index_)
    users, items = recommendations[USER], recommendations[ITEM]
    contributions = modality_contributions(recommender, users, items)
    added = contributions.drop(columns=[USER, ITEM, BASE])
    shares = modality_shares(contributions)
    _check_free(recommendations, [*shares, "reason"])
    nearest = nearest_in_history(recommender, users, items).nearest.to_numpy()
    nearest = nearest.reshape(len(items), added.shape[1])
    reasons = [
        _reason(row, list(added), shares.iloc[n], item, nearest[n], known_tags)
        for n, (row, item) in enumerate(zip(added.to_numpy(), items, strict=True))
    ]
    otherwise = _without_content(recommender, users, items).tolist()
    said = [
        other if reason is None else sentence(reason, titles)
        for reason, other in zip(reasons, otherwise, strict=True)
    ]
    added_columns = {name: shares[name].to_numpy() for name in shares}
    explained = recommendations.assign(**added_columns, reason=said)
    if llm is None:
        return explained
    options: dict[str, Any] = {"on_error": on_error, "cache": cache}
    told = rewrite(reasons, said, titles, llm, prompt, show_history, **options)
    return explained.assign(**{name: told[name].to_numpy() for name in told})


def _check_recommendations(recommendations: Any) -> pd.DataFrame:
    """Refuse what is no table of users and items."""
    table = as_frame(recommendations)
    if table is None:
        raise TypeError(
            f"recommendations must be a DataFrame with the columns {USER} and {ITEM}, "
            f"as recommend gives it, got {type(recommendations).__name__}; for pairs "
            f"of your own, pd.DataFrame({{{USER!r}: users, {ITEM!r}: items}})"
        )
    missing = [name for name in (USER, ITEM) if name not in table.columns]
    if missing:
        raise ValueError(
            f"recommendations has no column {missing[0]!r}, but {list(table.columns)}"
        )
    return table


def _check_titles(titles: Any, items: pd.Index) -> None:
    """Refuse titles that are not found by item id."""
    if titles is None:
        return
    if not isinstance(titles, Mapping):
        check_series(titles, "titles")
    _check_ids_of(titles, items, "titles", "items.set_index(key)[column] is")


def _check_ids_of(by_id: Any, items: pd.Index, name: str, usual: str) -> None:
    """Refuse a table or mapping by item id that has none of them, or one twice."""
    if isinstance(by_id, Mapping):
        if len(by_id) and not any(key in items for key in by_id):
            raise ValueError(
                f"{name} has no item id among its keys, such as "
                f"{next(iter(by_id))!r}: ids are such as {plain(items[0])!r}"
            )
        return
    check_has_ids(by_id, name)
    index = by_id.index
    if len(index) and not index.isin(items).any():
        raise ValueError(
            f"{name} has no item id in its index: it is indexed by item id, as {usual}"
        )
    if index.has_duplicates:
        twice = index[index.duplicated()].tolist()[0]
        raise ValueError(f"{name} has item {twice!r} more than once")


def _check_free(table: pd.DataFrame, names: list[str]) -> None:
    """Refuse a table that has columns of these names already."""
    taken = [name for name in names if name in table.columns]
    if taken:
        raise ValueError(
            f"recommendations has a column {taken[0]!r} already, where explain puts "
            "its own: drop or rename it"
        )


def _reason(
    added: NDArray,
    modalities: list[str],
    shares: pd.Series,
    item: Any,
    nearest: NDArray,
    tags: Mapping[str, Tags],
) -> Reason | None:
    """Name the modality that adds most, of those in which the user met something."""
    strongest = np.argsort(-added, kind="stable")
    usable = [m for m in strongest if added[m] > 0 and nearest[m] is not None]
    if not usable:
        return None
    name, other = modalities[usable[0]], nearest[usable[0]]
    shared = _shared_tags(tags[name], item, other) if name in tags else []
    return Reason(item, name, float(shares[name]), other, shared)


def _shared_tags(tags: Tags, item: Any, other: Any) -> list[str]:
    """Tags that both have, those first that the lesser of them has most."""
    both = [_scores_of(tags, each) for each in (item, other)]
    common = pd.concat(both, axis=1, join="inner").min(axis=1, skipna=False)
    likely = common[common >= _TAG_SCORE].sort_values(ascending=False, kind="stable")
    return [str(tag) for tag in likely.index[:_N_TAGS]]


def _scores_of(tags: Tags, item: Any) -> pd.Series:
    if isinstance(tags, pd.DataFrame):
        if item in tags.index:
            return tags.loc[item].astype(np.float64)
        return pd.Series(dtype=np.float64)
    return pd.Series(1.0, list(dict.fromkeys(tags.get(item, []))))


def _check_tags(
    tags: Mapping[str, Tags] | None, modalities: list[str], items: pd.Index
) -> Mapping[str, Tags]:
    unknown = [name for name in tags or {} if name not in modalities]
    if unknown:
        raise ValueError(f"tags of {unknown[0]!r}, but the modalities are {modalities}")
    for name, table in (tags or {}).items():
        _check_ids_of(table, items, f"tags[{name!r}]", "items.set_index(key) is")
    return tags or {}


def _without_content(
    recommender: MultimodalFusionRecommender, users: pd.Series, items: pd.Series
) -> NDArray:
    """Choose what to say where no modality speaks for the item."""
    rows = recommender.user_index_.get_indexer(users)
    known = np.append(recommender.history_.lengths, 0)[rows] > 0
    history = recommender.history_
    places = recommender.item_index_.get_indexer(items)
    n_likes = history.where(history.liked).popularity[places]
    return np.select(
        [n_likes == 0, known, n_likes >= _MANY],
        [
            "It is new: nobody has chosen it yet.",
            "People with likes like yours chose it.",
            "Many others chose it.",
        ],
        "Others chose it.",
    )


def _content(recommender: MultimodalFusionRecommender) -> Blocks:
    """Content of all items by modality, centred; numbers as vectors."""
    model = recommender.model_
    blocks = content_sources(model, recommender.catalog, slice(None)).blocks
    if model.fuser is None:
        return blocks
    numbers = model.fuser.number_space_
    blocks = numbers.transform(blocks)
    centred = {
        name: values - values[present].mean(axis=0)
        if present.any() and name not in numbers.centres
        else values
        for (name, values), present in zip(
            blocks.values.items(), blocks.mask.T, strict=True
        )
    }
    return type(blocks)(centred, blocks.mask)


def _nearest(
    recommender: MultimodalFusionRecommender,
    content: Blocks,
    modality: str,
    rows: NDArray,
    columns: NDArray,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Position (-1 for none) and similarity of the likest item met, user by user."""
    present = content.mask[:, content.modalities.index(modality)]
    units = _unit_rows(content.values[modality])
    nearest = np.full(len(rows), -1)
    similarity = np.full(len(rows), np.nan)
    for user in np.unique(rows[rows >= 0]):
        met = liked_by(recommender, user)
        met = met[present[met]]
        pairs = np.flatnonzero((rows == user) & present[columns])
        if not len(met) or not len(pairs):
            continue
        cosines = units[columns[pairs]] @ units[met].T
        cosines[columns[pairs, None] == met] = -np.inf
        best = cosines.argmax(axis=1)
        value = cosines[np.arange(len(pairs)), best]
        known = np.isfinite(value)
        nearest[pairs[known]] = met[best[known]]
        similarity[pairs[known]] = value[known]
    return nearest, similarity


def _long_table(
    recommender: MultimodalFusionRecommender,
    users: NDArray,
    items: NDArray,
    found: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]],
) -> pd.DataFrame:
    """One row per pair and modality, pair after pair."""
    m = len(found)
    # A model of interactions alone has no modality, and the table no rows then.
    shape = (len(users), m)
    positions, similarity = np.empty(shape, np.int64), np.empty(shape)
    for column, (nearest, alike) in enumerate(found.values()):
        positions[:, column], similarity[:, column] = nearest, alike
    places = positions.ravel()
    ids = recommender.item_index_.to_numpy().astype(object)
    return pd.DataFrame(
        {
            USER: np.repeat(users, m),
            ITEM: np.repeat(items, m),
            "modality": np.tile(np.array(list(found), dtype=object), len(users)),
            "nearest": pd.Series(np.where(places < 0, None, ids[places]), dtype=object),
            "similarity": similarity.ravel(),
        }
    )


def _unit_rows(vectors: NDArray) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
