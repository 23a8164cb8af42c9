"""Re-ranking against loops over users."""

import numpy as np
import pandas as pd
import pytest
from sklearn.utils._param_validation import InvalidParameterError

from skmmrec.llm._rankings import read_lists
from skmmrec.ranking._given_lists import of_lists
from skmmrec.retrieval import _exact, cap_exposure, cap_groups, rerank_mmr

COLUMNS = ["user_id", "item_id", "rank", "score"]


@pytest.fixture
def recommendations():
    """Lists of 1 to 12 items of 20, in the order of random scores, rows shuffled."""
    rng = np.random.default_rng(0)
    rows = []
    for user in "dacbe" * 3:
        user = f"{user}{len(rows)}"
        n = rng.integers(1, 13)
        scores = -np.sort(-rng.normal(size=n).round(2))
        items = rng.permutation(20)[:n]
        rows += zip([user] * n, items, range(1, n + 1), scores, strict=True)
    table = pd.DataFrame(rows, columns=COLUMNS).astype({"score": np.float32})
    return table.sample(frac=1, random_state=0)


@pytest.fixture
def vectors():
    values = np.random.default_rng(1).normal(size=(20, 3))
    values[4] = 0
    return pd.DataFrame(values, index=np.random.default_rng(2).permutation(20))


def brute_force_mmr(table, vectors, k, trade_off):
    def cosine(i, j):
        a, b = vectors.loc[i].to_numpy(), vectors.loc[j].to_numpy()
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return a @ b / lengths if lengths else 0.0

    rows = []
    for user in table.user_id.unique():
        own = table[table.user_id == user].sort_values("rank")
        low, high = own.score.min(), own.score.max()
        left = dict(zip(own.item_id, own.score, strict=True))
        taken = []
        while left and len(taken) < k:
            value = {
                i: trade_off * (score - low) / ((high - low) or 1)
                - (1 - trade_off) * max((cosine(i, j) for j in taken), default=0)
                for i, score in left.items()
            }
            best = max(value, key=value.get)
            taken.append(best)
            rows.append((user, best, len(taken), left.pop(best)))
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.mark.parametrize("trade_off", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("k", [1, 4, 50])
def test_mmr(recommendations, vectors, k, trade_off):
    found = rerank_mmr(recommendations, vectors, k=k, trade_off=trade_off)
    expected = brute_force_mmr(recommendations, vectors, k, trade_off)
    pd.testing.assert_frame_equal(found, expected.astype({"score": np.float32}))


def test_mmr_in_chunks_is_the_same(recommendations, vectors, monkeypatch):
    whole = rerank_mmr(recommendations, vectors, k=4)
    monkeypatch.setattr(_exact, "CHUNK_SCORES", 90)
    pd.testing.assert_frame_equal(rerank_mmr(recommendations, vectors, k=4), whole)


def test_without_variety_the_order_stays(recommendations, vectors):
    found = rerank_mmr(recommendations, vectors, k=99, trade_off=1.0)
    users = recommendations.user_id.unique()
    ranked = recommendations.sort_values("rank").set_index("user_id")
    expected = ranked.loc[users].reset_index()[COLUMNS]
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("max_share", [0.07, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("k", [1, 3, 50])
def test_no_item_is_in_more_lists_than_its_share(recommendations, k, max_share):
    n_users = recommendations.user_id.nunique()
    found = cap_exposure(recommendations, k=k, max_share=max_share)
    assert found.item_id.value_counts().max() <= max_share * n_users
    assert found.groupby("user_id").size().max() <= k
    pairs = recommendations.set_index(["user_id", "item_id"]).score
    given = found.set_index(["user_id", "item_id"]).score
    assert given.index.is_unique
    pd.testing.assert_series_equal(given, pairs.loc[given.index])


@pytest.mark.parametrize("k", [1, 3])
def test_who_goes_without_was_outbid_or_came_later(recommendations, k):
    """Whoever lacks an item he or she ranks above one given: the item is full."""
    found = cap_exposure(recommendations, k=k, max_share=0.07)
    room = int(0.07 * recommendations.user_id.nunique())
    full = set(found.item_id.value_counts()[lambda n: n == room].index)
    asked = recommendations.merge(
        found, on=["user_id", "item_id"], how="left", suffixes=("", "_given")
    )
    skipped = 0
    for _, own in asked.sort_values("rank").groupby("user_id"):
        given = own.rank_given.notna()
        last = own["rank"][given].max() if given.sum() == k else np.inf
        lacking = own[~given & (own["rank"] < last)]
        skipped += len(lacking)
        assert set(lacking.item_id) <= full
        for _, row in lacking.iterrows():
            winners = asked[(asked.item_id == row.item_id) & asked.rank_given.notna()]
            assert (
                (winners["rank"] < row["rank"])
                | ((winners["rank"] == row["rank"]) & (winners.score >= row.score))
            ).all()
    assert skipped > 0


def test_ranks_are_dense_and_follow_the_list(recommendations):
    found = cap_exposure(recommendations, k=3, max_share=0.2)
    before = recommendations.set_index(["user_id", "item_id"])["rank"]
    for user, own in found.groupby("user_id"):
        assert own["rank"].tolist() == list(range(1, len(own) + 1))
        assert before.loc[
            [(user, item) for item in own.item_id]
        ].is_monotonic_increasing


@pytest.mark.parametrize("kind", ["texts", "numbers", "categories"])
@pytest.mark.parametrize("max_per_list", [1, 2, 50])
@pytest.mark.parametrize("k", [1, 3, 50])
def test_a_list_has_the_best_few_of_each_group(
    recommendations, vectors, k, max_per_list, kind
):
    numbers = pd.Series(np.arange(len(vectors)) % 4, vectors.index)
    groups = {
        "numbers": numbers,
        "texts": numbers.map(str),
        "categories": numbers.map(str).astype("category").cat.add_categories("none"),
    }[kind].sample(frac=1, random_state=0)
    found = cap_groups(recommendations, groups, k=k, max_per_list=max_per_list)
    rows = []
    for user in recommendations.user_id.unique():
        own = recommendations[recommendations.user_id == user].sort_values("rank")
        taken = dict.fromkeys(groups, 0)
        kept = []
        for _, row in own.iterrows():
            group = groups[row.item_id]
            if taken[group] < max_per_list and len(kept) < k:
                taken[group] += 1
                kept.append((user, row.item_id, len(kept) + 1, row.score))
        rows += kept
    expected = pd.DataFrame(rows, columns=COLUMNS)
    pd.testing.assert_frame_equal(found, expected.astype({"score": np.float32}))


def test_groups_are_by_item_id(recommendations, vectors):
    groups = pd.Series("a", vectors.index)
    for odd in (groups.to_dict(), groups.to_list(), groups.to_frame()):
        with pytest.raises(TypeError, match="groups must be a Series"):
            cap_groups(recommendations, odd)
    item = recommendations.item_id[0]
    with pytest.raises(ValueError, match=f"no group for {item}"):
        cap_groups(recommendations, groups.drop(item))
    with pytest.raises(ValueError, match="max_per_list must be at least 1"):
        cap_groups(recommendations, groups, max_per_list=0)


@pytest.mark.parametrize("function", ["mmr", "cap", "groups"])
def test_the_order_of_rows_decides_where_there_is_no_rank(
    function, recommendations, vectors
):
    def rerank(table):
        if function == "mmr":
            return rerank_mmr(table, vectors, k=3)
        if function == "groups":
            groups = pd.Series(vectors.index % 4, vectors.index)
            return cap_groups(table, groups, k=3, max_per_list=1)
        return cap_exposure(table, k=3, max_share=0.2)

    ranked = recommendations.sort_values("rank")
    pd.testing.assert_frame_equal(rerank(ranked.drop(columns="rank")), rerank(ranked))


def test_no_recommendations(recommendations, vectors):
    empty = recommendations.iloc[:0]
    groups = pd.Series("a", vectors.index)
    for table in (
        rerank_mmr(empty, vectors),
        cap_exposure(empty),
        cap_groups(empty, groups),
    ):
        assert len(table) == 0
        assert list(table) == COLUMNS


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        (["10", "9"], "rank must be numbers, got '10' in row 0"),
        ([1, None], r"rank is missing .* in row 1"),
    ],
)
def test_a_rank_that_is_no_number_is_refused(vectors, ranks, message):
    """Texts would sort by their letters, and what is missing would come last."""
    table = pd.DataFrame({"user_id": 1, "item_id": vectors.index[:2], "score": 1.0})
    table["rank"] = ranks
    groups = pd.Series("a", vectors.index)
    for rerank in (
        lambda: rerank_mmr(table, vectors),
        lambda: cap_exposure(table, max_share=1.0),
        lambda: cap_groups(table, groups),
        lambda: read_lists(table),
        lambda: of_lists(table),
    ):
        with pytest.raises(ValueError, match=message):
            rerank()


def test_bad_tables_are_refused(recommendations, vectors):
    n = len(recommendations)
    with pytest.raises(ValueError, match="no column 'score'"):
        rerank_mmr(recommendations.drop(columns="score"), vectors)
    odd = recommendations.assign(score=np.nan)
    with pytest.raises(ValueError, match="score in row 0 is not finite: nan"):
        cap_exposure(odd)
    with pytest.raises(ValueError, match="score in row 1"):
        cap_exposure(recommendations.assign(score=["1", "x"] + ["1"] * (n - 2)))
    twice = pd.concat([recommendations, recommendations.iloc[[2]]])
    row = len(recommendations)
    user, item = recommendations[["user_id", "item_id"]].iloc[2]
    told = rf"^user '{user}' has item {item} twice \(row {row}\)"
    with pytest.raises(ValueError, match=told):
        cap_exposure(twice)
    with pytest.raises(ValueError, match=r"^user 3 has item \d+ twice"):
        cap_exposure(twice.assign(user_id=3))
    with pytest.raises(ValueError, match="item_vectors has no row for item 19"):
        rerank_mmr(recommendations.assign(item_id=19).head(1), vectors.drop(index=19))
    with pytest.raises(ValueError, match=r"max_share=0.01 of 15 lists is less than"):
        cap_exposure(recommendations, max_share=0.01)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (rerank_mmr, {"trade_off": 1.1}),
        (cap_exposure, {"max_share": 0.0}),
    ],
)
def test_wrong_parameters_are_named(function, options, recommendations, vectors):
    arguments = [vectors] if function is rerank_mmr else []
    with pytest.raises(InvalidParameterError, match=f"'{next(iter(options))}'"):
        function(recommendations, *arguments, **options)
