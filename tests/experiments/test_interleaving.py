"""Teams are drafted by coins alone, and the better one wins."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from skmmrec.experiments import compare_interleaved, team_draft


@pytest.fixture
def lists():
    rng = np.random.default_rng(0)
    return [
        pd.DataFrame(
            [
                (f"u{user:02d}", item, rank)
                for user in range(40)
                for rank, item in enumerate(rng.permutation(9)[: user % 7 + 1], 1)
            ],
            columns=["user_id", "item_id", "rank"],
        )
        for _ in range(2)
    ]


def by_definition(a, b, coins, k):
    """Rounds of two turns; a last turn alone where a second one depends on the coin."""
    shown, teams = [], []

    def left(items):
        return [item for item in items if item not in shown]

    for coin in coins:
        own = [left(a), left(b)]
        if not (own[0] and own[1]):
            break
        is_whole = len(own[0]) > (own[1][0] in own[0])
        is_whole &= len(own[1]) > (own[0][0] in own[1])
        for team in [coin, 1 - coin][: 1 + is_whole]:
            shown.append(left((a, b)[team])[0])
            teams.append("ab"[team])
        if not is_whole:
            break
    return shown[:k], teams[:k]


@pytest.mark.parametrize("k", [1, 4, 5])
def test_follows_the_definition(lists, k):
    a, b = lists
    table = team_draft(a.sample(frac=1, random_state=0), b, k, random_state=3)
    coins = np.random.RandomState(3).randint(2, size=(40, (k + 1) // 2))
    users = sorted(a.user_id.unique())
    for row, user in enumerate(users):
        ours = table[table.user_id == user]
        own = (t.item_id[t.user_id == user].tolist() for t in (a, b))
        shown, teams = by_definition(*own, coins[row], k)
        assert ours.item_id.tolist() == shown
        assert ours.team.tolist() == teams
        assert ours["rank"].tolist() == list(range(1, len(shown) + 1))


def test_neither_gains_by_the_length_of_its_lists():
    rng = np.random.default_rng(0)
    n = 1000
    for _ in range(6):
        items = [rng.permutation(6)[: rng.integers(1, 5)] for _ in "ab"]
        a, b = (
            pd.DataFrame(
                {"user_id": np.repeat(np.arange(n), len(x)), "item_id": np.tile(x, n)}
            )
            for x in items
        )
        shown = team_draft(a, b, k=6, random_state=0)
        table = pd.crosstab(shown["rank"], shown.team).reindex(columns=["a", "b"])
        # Each place is given by a coin: 4.5 standard deviations.
        off = np.abs(table["a"] - table["b"]) / np.sqrt(table.sum(axis=1))
        assert off.max() < 4.5
        clicks = shown[rng.random(len(shown)) < 0.4]
        assert compare_interleaved(shown, clicks).p_value > 1e-4
        assert shown.user_id.nunique() == n


def test_the_same_lists_are_shared_fairly():
    a = pd.DataFrame(
        {"user_id": np.repeat(np.arange(4000), 2), "item_id": [5, 6] * 4000}
    )
    table = team_draft(a, a, k=2, random_state=0)
    assert table.item_id.tolist() == a.item_id.tolist()
    assert (table.team[table["rank"] == 1] == "a").mean() == pytest.approx(
        0.5, abs=0.03
    )
    result = compare_interleaved(table, a[a.item_id == 5])
    assert result.p_value > 0.001
    assert abs(result.preference) < 0.03


def test_the_better_recommender_wins():
    rng = np.random.default_rng(1)
    n, liked = 300, 3
    good = [np.append(0, 1 + rng.permutation(9)[:5]) for _ in range(n)]
    poor = [1 + rng.permutation(9)[:6] for _ in range(n)]
    a, b = (
        pd.DataFrame({"user_id": np.repeat(np.arange(n), 6), "item_id": np.ravel(x)})
        for x in (poor, good)
    )
    shown = team_draft(a, b, k=6, random_state=0)
    clicks = shown[(shown.item_id == 0) | (shown.item_id == liked)]
    result = compare_interleaved(shown, clicks)
    assert result.wins_b > result.wins_a
    assert result.p_value < 1e-6
    assert result.preference > 0.2


def test_the_sign_test_counts_lists():
    shown = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(12), 2),
            "item_id": [1, 2] * 12,
            "team": ["a", "b"] * 12,
        }
    )
    clicks = pd.DataFrame(
        {
            "user_id": [*range(8), 8, 9, 9, 3, 3, 10],
            "item_id": [2] * 8 + [1, 1, 2, 2, 99, 99],
        }
    )
    result = compare_interleaved(shown, clicks)
    assert result[:3] == (1, 8, 1)
    assert result.preference == pytest.approx(8.5 / 10 - 0.5, abs=1e-9)
    assert result.p_value == pytest.approx(2 * binom.cdf(1, 9, 0.5), abs=1e-9)
    nobody = compare_interleaved(shown, clicks.head(0))
    assert nobody[:3] == (0, 0, 0)
    assert np.isnan(nobody.preference)
    assert nobody.p_value == 1


def test_bad_tables_are_named(lists):
    a, b = lists
    with pytest.raises(ValueError, match="b recommends nothing to user 'u07'"):
        team_draft(a, b[b.user_id != "u07"])
    with pytest.raises(ValueError, match="a has no column 'item_id'"):
        team_draft(a[["user_id"]], b)
    with pytest.raises(ValueError, match="item_id is int64 in a but object in b"):
        team_draft(a, b.astype({"item_id": str}))
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        team_draft(a, b, k=0)
    shown = team_draft(a, b, k=3, random_state=0)
    with pytest.raises(ValueError, match="shown has no column 'team'"):
        compare_interleaved(shown.drop(columns="team"), a)
    with pytest.raises(ValueError, match="team must be 'a' or 'b', got 'c'"):
        compare_interleaved(shown.assign(team="c"), a)
