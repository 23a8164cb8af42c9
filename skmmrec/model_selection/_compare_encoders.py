"""Compare encoders by content alone, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

import pandas as pd
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_params,
)

from skmmrec._sklearn import BaseEstimator, Transformer
from skmmrec.catalog import Blocks, ItemCatalog
from skmmrec.interactions import (
    ITEM,
    TIME,
    USER,
    Keys,
    Numbers,
    Table,
    take_over,
    warn_of_unread_times,
)
from skmmrec.metrics import parse_metric
from skmmrec.model_selection._encoder_candidates import (
    ALONE,
    Candidates,
    truncated_name,
)
from skmmrec.model_selection._encoder_comparison import EncoderComparison, Sample
from skmmrec.model_selection._encoder_trials import (
    judge_blocks,
    make_folds,
    read_likes,
    shuffled,
)
from skmmrec.model_selection._encoding_once import Encodings, joined
from skmmrec.recommender import ContentRecommender

Encoder = Transformer | ItemCatalog | tuple[Any, Any]

# Of what is judged alone, as nothing is added to it.
_PRICES = ("seconds_per_item", "bytes_per_item")
# A string, too, has a method split.
_SPLITTER = [StrOptions({"auto"}), HasMethods(["split", "get_n_splits"]), None]


@validate_params(
    {
        "key": [str],
        "user_key": [str],
        "warm": _SPLITTER,
        "cold": _SPLITTER,
        "recommender": [HasMethods(["fit", "recommend", "set_params"]), None],
        "metric": [str],
        "relevant_above": [Real],
        "level": [Interval(Real, 0, 1, closed="neither")],
        "random_state": [Interval(Integral, 0, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def compare_encoders(
    items: Table,
    interactions: Table,
    encoders: Mapping[str, Encoder] | Sequence[tuple[str, Encoder]] | Encoder,
    *,
    y: Numbers | None = None,
    param_grid: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    dimensions: Sequence[int] = (),
    beside: Encoder | None = None,
    key: str = ITEM,
    user_key: str = USER,
    metric: str = "ndcg@10",
    warm: BaseCrossValidator | Literal["auto"] | None = "auto",
    cold: BaseCrossValidator | Literal["auto"] | None = "auto",
    recommender: BaseEstimator | None = None,
    relevant_above: float = 0.0,
    level: float = 0.95,
    random_state: int = 0,
) -> EncoderComparison:
    """Rank encoders on your own likes by content alone, before anything is trained.

    Each candidate encodes all items once. Then it is judged by how well the content of
    the items that users liked finds other items that they liked, among all items (warm)
    and among new items (cold). The splits are the same for all candidates.

    Parameters
    ----------
    items : DataFrame (pandas or polars)
        One row per item: the key column and the raw content.
    interactions : DataFrame or array-like of shape (n_rows, n_columns)
        Users and items, as a recommender's `fit` takes them; a column ``timestamp``
        orders the rows.
    encoders : mapping of str to encoder, sequence of (str, encoder), or encoder
        The candidates. An encoder is a transformer of the table of items, such as a
        `ColumnTransformer`; a tuple of (transformer, columns); or an `ItemCatalog` with
        all of the items, for vectors that are there already.
    y : array-like of shape (n_rows,), default=None
        Strength of each interaction; None: all are likes.
    param_grid : mapping, or sequence of mappings, default=None
        For one encoder: the parameters to try, as in `GridSearchCV`. Each point is a
        candidate, named by its values.
    dimensions : sequence of int, default=()
        Also judge the leading dimensions of the finished vectors of each candidate
        that is wider, as ``"name[:64]"``. Nothing is encoded again.
    beside : encoder, default=None
        What the items will have anyway: all candidates are judged as an addition to
        it, and it is judged alone, as ``"beside alone"``.
    key : str, default="item_id"
        Column of `items` with the ids.
    user_key : str, default="user_id"
        Column of `interactions` with the user ids.
    metric : str, default="ndcg@10"
        As in `skmmrec.metrics.evaluate_ranking`.
    warm : splitter, "auto" or None, default="auto"
        How to hold out likes of known items. "auto": a fifth of each user's, at
        random. None: not at all. A splitter, such as `LeaveLastOut`, sees the columns
        user_id, item_id and, where there are times, timestamp; a user's value is the
        mean over the folds.
    cold : splitter, "auto" or None, default="auto"
        How to hold out items. "auto": all likes of a fifth of the items, five times, so
        that each item is new once. With a `recommender` that takes long,
        ``ColdItemSplit(random_state=0)`` holds out one fifth alone.
    recommender : estimator, default=None
        What judges: it has a parameter `catalog`. None: a `ContentRecommender` to which
        all likes count the same, which trains nothing.
    relevant_above : float, default=0.0
        Rows with y above it are likes; others are left out.
    level : float, default=0.95
        Confidence of the intervals.
    random_state : int, default=0
        Seed of the splits, the bootstrap and the order of ties.

    Returns
    -------
    EncoderComparison
        A table, the best, the cheapest that is as good, and intervals.

    Raises
    ------
    ValueError
        For an encoder that fails, by its name and what it says; names that are there
        twice; an item that `items` lacks; dimensions that no candidate exceeds; or too
        few likes to judge by.

    Warns
    -----
    UserWarning
        Where fewer than 30 users can be judged.

    See Also
    --------
    skmmrec.inspection.EncoderComparisonDisplay : Draws the differences.

    Notes
    -----
    A pair of user and item counts once, at its first time. Transformers that learn,
    such as `TfidfVectorizer`, see the content of all items and no likes.

    A transformer that several `ColumnTransformer` share runs once, and its seconds
    count for each. Seconds are measured on this machine, without the loading of models
    that stand directly in a `ColumnTransformer`. An encoder with a cache uses it. The
    cost of `beside` is not counted.

    Intervals tell how sure the values are for other users with these items. They do not
    cover other items: if there are few new items, another encoder may be better on
    other ones.

    A fitted recommender also learns from interactions. On MovieLens the best
    two encoders by ``cold`` were also the best once a `MultimodalFusionRecommender` was
    fitted, and the last two of four changed places; differences of ``warm`` were gone.
    This comparison also gives all modalities the same weight, which a fit does not: an
    encoder that makes `beside` worse here need not harm a fit.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import TfidfVectorizer
    >>> from skmmrec.datasets import make_multimodal_interactions
    >>> from skmmrec.model_selection import compare_encoders
    >>> data = make_multimodal_interactions(
    ...     80, 60, modalities=["text"], random_state=0
    ... )
    >>> X = data.interactions[["user_id", "item_id"]]
    >>> result = compare_encoders(data.item_table, X, {
    ...     "titles": (TfidfVectorizer(), "title"),
    ...     "descriptions": (TfidfVectorizer(), "description"),
    ... })
    >>> result.best
    {'warm': 'descriptions', 'cold': 'descriptions'}
    """
    parse_metric(metric)
    candidates = Candidates.read(encoders, param_grid, beside, dimensions)
    encodings = Encodings(take_over(items, "items"), key, candidates.all_parts)
    keys = Keys.of([user_key], [key])
    likes, users = read_likes(interactions, y, relevant_above, keys, encodings.ids)
    if TIME not in likes and any(hasattr(way, "time_key") for way in (warm, cold)):
        warn_of_unread_times(interactions)
    folds = make_folds(likes, warm, cold, random_state)
    # A half-life that each candidate chose would take four fifths of the time; it cost
    # 14 % of NDCG@10 of new films on MovieLens.
    usual = ContentRecommender(half_life=None)
    judge = usual if recommender is None else recommender
    numbers = shuffled(len(encodings.ids), random_state)
    values: dict[str, dict[str, pd.Series]] = {way: {} for way in folds}
    costs: dict[str, dict[str, float]] = {}
    for name, cost, blocks in _variants(candidates, encodings):
        for way, own in folds.items():
            values[way][name] = judge_blocks(blocks, numbers, own, metric, judge)
        costs[name] = cost
    n_never_liked = len(numbers) - likes[ITEM].nunique()
    return EncoderComparison(
        {way: _by_user(columns, users) for way, columns in values.items()},
        pd.DataFrame(costs).T.astype({"width": int}).rename_axis("encoder"),
        metric,
        Sample(len(numbers), n_never_liked, len(likes)),
        level=level,
        random_state=random_state,
    )


class _Variant(NamedTuple):
    """A candidate, perhaps truncated: its name, what it costs, and what is judged."""

    name: str
    cost: dict[str, float]
    blocks: Blocks


def _variants(candidates: Candidates, encodings: Encodings) -> Iterator[_Variant]:
    """Encode one candidate after the other; of each, also the leading dimensions.

    Raises ValueError at the end for a width that none of them exceeds.
    """
    base = []
    if candidates.beside:
        base = [encodings.of(candidates.beside, "beside")]
        nothing = {**base[0].cost(), "width": 0, **dict.fromkeys(_PRICES, 0.0)}
        yield _Variant(ALONE, nothing, base[0].blocks)
    largest = 0
    for name, parts in candidates.parts.items():
        own = encodings.of(parts, f"encoders[{name!r}]")
        largest = max(largest, own.largest_width)
        for width in (None, *candidates.dimensions):
            if width is None or width < own.largest_width:
                cut = own if width is None else own.truncated(width)
                called = truncated_name(name, width)
                yield _Variant(called, cut.cost(), joined([*base, cut]).blocks)
    _refuse_wide(candidates.dimensions, largest)


def _refuse_wide(dimensions: Sequence[int], largest: int) -> None:
    wide = [width for width in dimensions if width >= largest]
    if wide:
        raise ValueError(
            f"dimensions has {wide[0]}, but the widest vectors of the encoders have "
            f"{largest}: name fewer"
        )


def _by_user(columns: dict[str, pd.Series], users: pd.Index) -> pd.DataFrame:
    table = pd.DataFrame(columns)
    return table.set_axis(users[table.index].rename(USER))
