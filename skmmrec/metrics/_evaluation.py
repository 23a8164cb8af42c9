"""Evaluate recommendations against the items that users turned out to like."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from skmmrec.interactions import (
    ITEM,
    USER,
    check_count,
    groups_of,
    take_over,
    warn_caller,
)
from skmmrec.metrics._formulas import judge
from skmmrec.metrics._groups import (
    GroupScores,
    group_scores,
    kind_of,
    places_by_group,
)
from skmmrec.metrics._hits import Hits, find_hits, ideal_gains
from skmmrec.metrics._names import parse_metric
from skmmrec.metrics._relevance import RankedRelevance, ranked_relevance
from skmmrec.metrics._statistics import bootstrap_interval, paired_p_value

_DEFAULT = ("ndcg@10", "recall@10", "hit_rate@10", "map@10", "mrr@10")


class RankingEvaluation:
    """Metrics of every user, with means, intervals and groups.

    Returned by :func:`evaluate_ranking`.

    Parameters
    ----------
    lists : RankedRelevance
        Ranked lists that are judged.
    metrics : sequence of str
        Names such as "ndcg@10".

    Attributes
    ----------
    per_user : DataFrame of shape (n_users, n_metrics)
        Indexed by user id, or by query.
    n_users : int
        Number of users with a relevant item.
    n_skipped : int
        Number of users with recommendations but without relevant items, who are left
        out.
    """

    def __init__(self, lists: RankedRelevance, metrics: Sequence[str]) -> None:
        self._lists = lists
        self._metrics = metrics
        self.per_user = _judge(lists, metrics)
        self.n_users = len(self.per_user)
        self.n_skipped = lists.n_skipped

    def mean(self) -> pd.Series:
        """Average each metric over the users.

        Returns
        -------
        Series of length n_metrics
        """
        return self.per_user.mean()

    def intervals(
        self,
        level: float = 0.95,
        n_resamples: int = 1000,
        random_state: int | None = None,
    ) -> pd.DataFrame:
        """Bound the means by the bootstrap over users.

        Parameters
        ----------
        level : float, default=0.95
            Confidence.
        n_resamples : int, default=1000
            How many samples of users to draw.
        random_state : int or None, default=None
            Seed.

        Returns
        -------
        DataFrame of shape (n_metrics, 3)
            Columns mean, low and high; the bounds of a single user are NaN.

        Notes
        -----
        The percentiles are expanded, so that of 10 users and more, intervals hold the
        mean of normal values as often as promised [1]_. Metrics that are 0 for most
        users need more of them: of an NDCG that is above 0 for a fifth, intervals of
        level 0.95 hold the mean in 67 of 100 cases with 5 users, in 88 with 10, and in
        92 with 30.

        References
        ----------
        .. [1] T. C. Hesterberg, "What teachers should know about the bootstrap:
           resampling in the undergraduate statistics curriculum", The American
           Statistician 69(4), 2015.
        """
        check_count(n_resamples, "n_resamples")
        low, high = bootstrap_interval(
            self.per_user.to_numpy(),
            level,
            n_resamples,
            np.random.default_rng(random_state),
        )
        return self.mean().to_frame("mean").assign(low=low, high=high)

    def by(self, groups: pd.Series) -> GroupScores:
        """Average each metric within groups of users or of items.

        Parameters
        ----------
        groups : Series
            Group of each id; the index is named user_id or item_id. For a group of
            items, only these items are relevant, while the lists are unchanged.

        Returns
        -------
        GroupScores
            The table ``scores`` and the Series ``gaps``.

        Raises
        ------
        TypeError
            If `groups` is no Series of pandas.
        ValueError
            If the index has another name, an id occurs twice, or an evaluated id has no
            group.
        """
        by_user = kind_of(groups) == USER
        tables = self._by_user(groups) if by_user else self._by_item(groups)
        return group_scores(
            {group: {"n_users": len(t), **t.mean()} for group, t in tables.items()}
        )

    def _by_user(self, groups: pd.Series) -> dict[object, pd.DataFrame]:
        names = groups_of(self._lists.users, groups)
        return dict(iter(self.per_user.groupby(names.to_numpy(), observed=True)))

    def _by_item(self, groups: pd.Series) -> dict[object, pd.DataFrame]:
        relevant = np.unique(self._lists.relevant[1])
        names = groups_of(self._lists.items[relevant], groups)
        tables = {}
        for name, places in places_by_group(names):
            chosen = np.zeros(len(self._lists.items), dtype=bool)
            chosen[relevant[places]] = True
            tables[name] = _judge(self._lists.of_items(chosen), self._metrics)
        return tables


def evaluate_ranking(
    recommendations: pd.DataFrame,
    relevant: pd.DataFrame,
    metrics: Iterable[str] = _DEFAULT,
    *,
    user_key: str = USER,
    item_key: str = ITEM,
) -> RankingEvaluation:
    """Evaluate ranked recommendations against the items that users turned out to like.

    Parameters
    ----------
    recommendations : DataFrame
        As returned by `recommend`: user_id, item_id and, optionally, rank. Without
        rank, the rows of a user must be sorted, best first. Or as returned by
        `similar_items`: query, item_id and rank.
    relevant : DataFrame
        The relevant items: one row with user_id, or query, and item_id per pair and,
        optionally, gain, a positive number that "graded_ndcg" uses.
    metrics : str or iterable of str, optional
        Names with the length of the list: auc, f1, graded_ndcg, hit_rate, map, mrr,
        ndcg, precision and recall, as in "ndcg@10". By default ndcg, recall, hit_rate,
        map and mrr, each at 10.
    user_key, item_key : str, default="user_id" and "item_id"
        What `relevant` calls its users and items; a column of the usual name beside
        them is not looked at.

    Returns
    -------
    RankingEvaluation
        Per-user values and their means, intervals and groups.

    Raises
    ------
    ValueError
        If a metric is unknown or there is none, a column or id is missing, a gain is
        not above 0, or nothing is relevant.

    Warns
    -----
    UserWarning
        Where all lists end at one length that is less than a metric's, and one of them
        lacks a relevant item that another has.

    See Also
    --------
    compare : Paired test between two evaluations.

    Notes
    -----
    Users without a relevant item are skipped and counted. Users with a relevant item
    but without recommendations have the value 0.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.metrics import evaluate_ranking
    >>> recommendations = pd.DataFrame(
    ...     {"user_id": ["ann", "ann", "bob", "bob"], "item_id": [3, 1, 2, 3]}
    ... )
    >>> relevant = pd.DataFrame({"user_id": ["ann", "bob"], "item_id": [1, 2]})
    >>> evaluation = evaluate_ranking(recommendations, relevant, ["ndcg@2", "mrr@2"])
    >>> evaluation.per_user.round(2)
             ndcg@2  mrr@2
    user_id
    ann        0.63    0.5
    bob        1.00    1.0
    >>> evaluation.mean().round(2).to_dict()
    {'ndcg@2': 0.82, 'mrr@2': 0.75}
    """
    names = [metrics] if isinstance(metrics, str) else list(metrics)
    if not names:
        raise ValueError("metrics must name at least one metric")
    for name in names:
        parse_metric(name)
    relevant = _with_usual_names(relevant, "relevant", user_key, item_key)
    lists = ranked_relevance(recommendations, relevant)
    _warn_of_cut_lists(lists, names)
    return RankingEvaluation(lists, names)


def _warn_of_cut_lists(lists: RankedRelevance, metrics: Sequence[str]) -> None:
    """Warn where all lists end at one length, before that of a metric.

    Lists that have run out of items differ in length, or lack no relevant one of those
    that other lists have.
    """
    lengths = lists.n_ranked[lists.n_ranked > 0]
    if len(lengths) < 2 or (lengths != lengths[0]).any():
        return
    length = int(lengths[0])
    beyond = [name for name in metrics if parse_metric(name)[1] > length]
    if beyond and _lack_relevant_ones(lists):
        warn_caller(
            f"all lists have {length} items, and {beyond[0]} counts what might follow "
            "as missed: ask `recommend` for longer lists, k="
            f"{parse_metric(beyond[0])[1]}, if there are more items"
        )


def _lack_relevant_ones(lists: RankedRelevance) -> bool:
    """Tell whether a list lacks a relevant item that another list has."""
    users, items = lists.relevant
    is_shown = np.zeros(len(lists.items), bool)
    is_shown[lists.recommended[lists.recommended >= 0]] = True
    asked_for = is_shown[items] & (lists.n_ranked[users] > 0)
    return bool(np.count_nonzero(asked_for) > np.count_nonzero(lists.relevance))


def _with_usual_names(
    table: pd.DataFrame, name: str, user_key: str, item_key: str
) -> pd.DataFrame:
    """Call the columns of ids ``user_id`` and ``item_id``.

    A ValueError, which calls the table `name`, says that a column is not there.
    """
    given = {USER: user_key, ITEM: item_key}
    own = {usual: key for usual, key in given.items() if key != usual}
    if not own:
        return table
    table = take_over(table, name)
    for usual, key in own.items():
        if key not in table.columns:
            argument = usual.replace("_id", "_key")
            raise ValueError(
                f"{argument}={key!r} is not a column of {name}: {list(table.columns)}"
            )
    others = table.drop(columns=[usual for usual in own if usual in table.columns])
    return others.assign(**{usual: table[key] for usual, key in own.items()})


def compare(
    a: RankingEvaluation,
    b: RankingEvaluation,
    *,
    test: str = "t",
    level: float = 0.95,
    n_resamples: int = 1000,
    random_state: int | None = None,
) -> pd.DataFrame:
    """Test whether one recommender is better than another on the same users.

    Parameters
    ----------
    a, b : RankingEvaluation
        Evaluations against the same relevant items, with the same metrics.
    test : {"t", "wilcoxon", "permutation"}, default="t"
        Paired test of the per-user differences: Student's t-test, Wilcoxon's
        signed-rank test, or random flips of their signs.
    level : float, default=0.95
        Confidence of the interval of the difference.
    n_resamples : int, default=1000
        How many samples of users to draw and, for "permutation", of signs.
    random_state : int or None, default=None
        Seed.

    Returns
    -------
    DataFrame of shape (n_metrics, 6)
        Columns a and b (means), difference (b minus a) with low and high, as from
        `RankingEvaluation.intervals`, and p_value (two-sided), indexed by metric.
        P-values are not corrected for several metrics.

    Raises
    ------
    ValueError
        If users or metrics differ, or the test is unknown.

    Notes
    -----
    Student's test and the permutation test agree closely on such data, even though the
    differences are not normal; Wilcoxon's tests another hypothesis and is less exact:
    M. D. Smucker, J. Allan and B. Carterette, "A comparison of statistical significance
    tests for information retrieval evaluation", CIKM 2007. Where all n users differ by
    the same, which leaves Student's test no variance, the p-value is 2 ** (1 - n), as
    if all signs had been flipped.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.metrics import compare, evaluate_ranking
    >>> relevant = pd.DataFrame({"user_id": range(20), "item_id": [1, 2] * 10})
    >>> good = relevant.assign(item_id=[1, 2] * 9 + [3, 3])
    >>> poor = relevant.assign(item_id=1)
    >>> a, b = (evaluate_ranking(r, relevant, ["hit_rate@1"]) for r in (poor, good))
    >>> compare(a, b, random_state=0).round(3)[["a", "b", "difference", "p_value"]]
                  a    b  difference  p_value
    hit_rate@1  0.5  0.9         0.4    0.008
    """
    if not a.per_user.index.equals(b.per_user.index):
        raise ValueError(
            "a and b evaluate different users; compare needs the same ones"
        )
    if list(a.per_user) != list(b.per_user):
        raise ValueError(
            f"a and b have different metrics: {list(a.per_user)}, {list(b.per_user)}"
        )
    check_count(n_resamples, "n_resamples")
    rng = np.random.default_rng(random_state)
    differences = (b.per_user - a.per_user).to_numpy()
    low, high = bootstrap_interval(differences, level, n_resamples, rng)
    p_values = [
        paired_p_value(column, test, n_resamples, rng) for column in differences.T
    ]
    return pd.DataFrame(
        {
            "a": a.mean(),
            "b": b.mean(),
            "difference": differences.mean(axis=0),
            "low": low,
            "high": high,
            "p_value": p_values,
        }
    )


def _judge(lists: RankedRelevance, metrics: Sequence[str]) -> pd.DataFrame:
    parsed = {name: parse_metric(name) for name in metrics}
    found = {
        k: find_hits(lists.relevance, lists.n_relevant, k, lists.n_ranked)
        for k in {k for _, k in parsed.values()}
    }
    for k in {k for metric, k in parsed.values() if metric == "graded_ndcg"}:
        found[k] = _with_gains(found[k], lists)
    columns = {name: judge(metric, found[k]) for name, (metric, k) in parsed.items()}
    return pd.DataFrame(columns, index=lists.users)


def _with_gains(hits: Hits, lists: RankedRelevance) -> Hits:
    """Add the gains of the hits, and the gain of the ideal list."""
    if (lists.gains == 1).all():
        return hits
    n_items = len(lists.items)
    pairs = lists.relevant[0] * n_items + lists.relevant[1]
    hit = hits.user * n_items + lists.recommended[hits.user, hits.rank]
    gain = lists.gains[np.searchsorted(pairs, hit)]
    ideal = ideal_gains(lists.relevant[0], lists.gains, len(lists.users), hits.k)
    return replace(hits, gain=gain, ideal=ideal)
