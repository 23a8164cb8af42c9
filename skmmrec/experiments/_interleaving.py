"""Compare two recommenders by clicks on their interleaved lists."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from skmmrec.interactions import ITEM, USER, check_count, id_table
from skmmrec.metrics import rank_lists

_TEAMS = np.array(["a", "b"], dtype=object)


class InterleavingResult(NamedTuple):
    """Which of two recommenders got more clicks.

    Attributes
    ----------
    wins_a, wins_b : int
        Lists in which more items of this recommender than of the other were clicked.
    ties : int
        Lists with equally many clicks on both, at least one on each.
    preference : float
        Share of the clicked lists that b won, with a tie as half a win, minus one half:
        from -0.5, where a always wins, to 0.5; NaN without clicks.
    p_value : float
        Two-sided p-value of the sign test of no preference, without ties.
    """

    wins_a: int
    wins_b: int
    ties: int
    preference: float
    p_value: float


def team_draft(
    a: pd.DataFrame,
    b: pd.DataFrame,
    k: int = 10,
    *,
    random_state: int | np.random.RandomState | None = None,
) -> pd.DataFrame:
    """Interleave the recommendations of two recommenders by team-draft interleaving.

    In each round, a coin decides which recommender goes first, and each adds its best
    item that is not yet in the list [1]_.

    Parameters
    ----------
    a, b : DataFrame
        As returned by `recommend`: user_id, item_id and, optionally, rank. Without
        rank, the rows of a user must be sorted, best first. Both must have the same
        users.
    k : int, default=10
        Length of the lists. A list ends early when either recommender runs out of
        items. In its last round, only the one who goes first adds an item if `k` is
        odd, or if the other would have none left, whoever went first: so neither gets
        more turns, or better places, than by the coin.
    random_state : int, RandomState instance or None, default=None
        Seed of the coins.

    Returns
    -------
    DataFrame
        Columns user_id, item_id, rank (from 1) and team ("a" or "b", which added the
        item).

    Raises
    ------
    ValueError
        If a column or id is missing, the users differ, or `k` is below 1.

    See Also
    --------
    compare_interleaved : Tells which recommender won.

    References
    ----------
    .. [1] F. Radlinski, M. Kurup and T. Joachims, "How does clickthrough data reflect
       retrieval quality?", CIKM 2008. There, a list ends within a round when the items
       of one run out: the recommender with fewer items then gets more turns.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.experiments import team_draft
    >>> a = pd.DataFrame({"user_id": 1, "item_id": ["x", "y", "z"]})
    >>> b = pd.DataFrame({"user_id": 1, "item_id": ["x", "z", "w"]})
    >>> team_draft(a, b, k=3, random_state=0)
       user_id item_id  rank team
    0        1       x     1    a
    1        1       z     2    b
    2        1       w     3    b
    """
    check_count(k)
    users, items, (lists_a, lists_b) = rank_lists(a, b, names=("a", "b"))
    for name, lists in (("a", lists_a), ("b", lists_b)):
        empty = np.flatnonzero((lists < 0).all(axis=1))
        if len(empty):
            raise ValueError(
                f"{name} recommends nothing to user {users[empty].tolist()[0]!r}"
            )
    k = min(k, lists_a.shape[1] + lists_b.shape[1])  # no list has more
    coins = check_random_state(random_state).randint(2, size=(len(users), (k + 1) // 2))
    drafted, teams = _draft([lists_a, lists_b], coins, k)
    rows, ranks = np.nonzero(drafted >= 0)
    return pd.DataFrame(
        {
            USER: users[rows],
            ITEM: items[drafted[rows, ranks]],
            "rank": ranks + 1,
            "team": _TEAMS[teams[rows, ranks]],
        }
    )


def _draft(
    lists: list[NDArray], coins: NDArray, k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pick items for all users at once, turn by turn; -1 is no item."""
    n = len(coins)
    everyone = np.arange(n)
    drafted, teams = np.full((n, k), -1), np.zeros((n, k), dtype=np.int64)
    left = [table.copy() for table in lists]
    open_ = np.ones(n, bool)
    for turn in range(k):
        picker = coins[:, turn // 2] ^ (turn % 2)
        first = [table[everyone, (table >= 0).argmax(axis=1)] for table in left]
        if turn % 2 == 0:
            has_any, is_whole = _turns_left(left, first)
            open_ &= has_any
        else:
            open_ &= is_whole
        picked = np.where(open_, np.where(picker == 0, *first), -1)
        drafted[:, turn], teams[:, turn] = picked, picker
        for table in left:
            table[table == picked[:, None]] = -1
    return drafted, teams


def _turns_left(
    left: list[NDArray], best: list[NDArray]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell whose round has a first turn, and whose has a second, whoever is first.

    `best` is the first item of each that is left.
    """
    counts = [(table >= 0).sum(axis=1) for table in left]
    has_any = np.minimum(*counts) > 0
    loses = [
        (table == other[:, None]).any(axis=1)
        for table, other in zip(left, reversed(best), strict=True)
    ]
    has_second = [count > lost for count, lost in zip(counts, loses, strict=True)]
    return has_any, has_any & np.logical_and(*has_second)


def compare_interleaved(
    shown: pd.DataFrame, clicks: pd.DataFrame
) -> InterleavingResult:
    """Test which of two recommenders got more clicks.

    Parameters
    ----------
    shown : DataFrame
        As returned by `team_draft`, one list per user.
    clicks : DataFrame
        Pairs of user_id and item_id. Repeated clicks, and clicks on items that were not
        shown, do not count.

    Returns
    -------
    InterleavingResult

    Raises
    ------
    ValueError
        If a column is missing or a team is neither "a" nor "b".

    Examples
    --------
    >>> import pandas as pd
    >>> from skmmrec.experiments import compare_interleaved
    >>> shown = pd.DataFrame(
    ...     {"user_id": [1, 1, 2, 2, 3, 3], "item_id": list("xyyxxz"),
    ...      "team": list("abbaab")}
    ... )
    >>> clicks = pd.DataFrame({"user_id": [1, 2, 3, 3], "item_id": list("yyzz")})
    >>> compare_interleaved(shown, clicks)[:4]
    (0, 3, 0, 0.5)
    """
    shown, clicks = id_table(shown, "shown"), id_table(clicks, "clicks")
    for name, table, columns in (
        ("shown", shown, (USER, ITEM, "team")),
        ("clicks", clicks, (USER, ITEM)),
    ):
        for column in columns:
            if column not in table:
                raise ValueError(f"{name} has no column {column!r}")
    odd = ~shown["team"].isin(_TEAMS)
    if odd.any():
        raise ValueError(
            f"team must be 'a' or 'b', got {shown['team'][odd].iloc[0]!r} in shown"
        )
    clicked = shown.merge(clicks[[USER, ITEM]].drop_duplicates(), on=[USER, ITEM])
    side = np.where(clicked["team"] == "b", 1, -1)
    margins = pd.Series(side).groupby(clicked[USER].to_numpy()).sum()
    return _sign_test(margins.to_numpy())


def _sign_test(margins: NDArray) -> InterleavingResult:
    from scipy.stats import binomtest

    wins_a, wins_b = int((margins < 0).sum()), int((margins > 0).sum())
    ties = len(margins) - wins_a - wins_b
    share = (wins_b + ties / 2) / len(margins) if len(margins) else np.nan
    decided = wins_a + wins_b
    p_value = binomtest(wins_b, decided).pvalue if decided else 1.0
    return InterleavingResult(wins_a, wins_b, ties, share - 0.5, float(p_value))
