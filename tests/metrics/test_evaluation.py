"""Tables of recommendations are judged user by user."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import stats

from skmmrec.metrics import (
    compare,
    evaluate_ranking,
    make_ranking_scorer,
    ndcg_at_k,
    ranked_relevance,
)


@pytest.fixture
def tables():
    rng = np.random.default_rng(0)
    recommendations = pd.DataFrame(
        [
            (f"u{user:02d}", item, rank)
            for user in range(30)
            for rank, item in enumerate(rng.permutation(25)[: rng.integers(1, 12)], 1)
        ],
        columns=["user_id", "item_id", "rank"],
    )
    relevant = pd.DataFrame(
        [
            (f"u{user:02d}", item)
            for user in range(3, 33)
            for item in rng.permutation(25)[: rng.integers(1, 6)]
        ],
        columns=["user_id", "item_id"],
    )
    return recommendations, relevant


def test_lists_match_a_plain_loop(tables):
    recommendations, relevant = tables
    shuffled = recommendations.sample(frac=1, random_state=1)
    twice = pd.concat([relevant, relevant.head(9)])
    for lists in (ranked_relevance(*tables), ranked_relevance(shuffled, twice)):
        assert lists.users.tolist() == sorted(relevant.user_id.unique())
        assert lists.n_skipped == 3
        for row, user in enumerate(lists.users):
            mine = recommendations[recommendations.user_id == user]
            wanted = set(relevant.item_id[relevant.user_id == user])
            expected = [item in wanted for item in mine.item_id]
            assert lists.relevance[row, : len(mine)].tolist() == expected
            assert not lists.relevance[row, len(mine) :].any()
            assert lists.n_ranked[row] == len(mine)
            assert lists.n_relevant[row] == len(wanted)
            found = lists.items[lists.recommended[row, : len(mine)]]
            assert found.tolist() == mine.item_id.tolist()


def test_integers_and_strings_give_the_same(tables):
    recommendations, relevant = tables
    text = [t.assign(item_id=t.item_id.map("i{:02d}".format)) for t in tables]
    large = [t.assign(item_id=t.item_id.astype(np.int64) - 10**12) for t in tables]
    expected = evaluate_ranking(recommendations, relevant).per_user
    for variant in (text, large):
        pd.testing.assert_frame_equal(evaluate_ranking(*variant).per_user, expected)


def test_an_item_recommended_twice_counts_once():
    recommendations = pd.DataFrame({"user_id": 1, "item_id": [5, 5, 6]})
    relevant = pd.DataFrame({"user_id": [1, 1], "item_id": [5, 6]})
    lists = ranked_relevance(recommendations, relevant)
    assert lists.relevance.tolist() == [[True, False, True]]


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("order", ["one after the other", "by rank", "in any order"])
@pytest.mark.parametrize("key", ["user_id", "query"])
def test_lists_of_users_who_were_asked_for_twice_count_once(tables, times, order, key):
    """As of `recommend(test["user_id"])`, where a user has several rows."""
    once, relevant = (table.rename(columns={"user_id": key}) for table in tables)
    some = once[once[key].isin(once[key].unique()[::2])]
    again = pd.concat([once, *[some] * times], ignore_index=True)
    if order == "by rank":
        again = again.sort_values("rank", kind="stable")
    elif order == "in any order":
        again = again.sample(frac=1, random_state=0)
    expected = evaluate_ranking(once, relevant, ["ndcg@5", "auc@5"])
    found = evaluate_ranking(again, relevant, ["ndcg@5", "auc@5"])
    pd.testing.assert_frame_equal(found.per_user, expected.per_user)


def test_items_of_one_rank_stay():
    lists = pd.DataFrame(
        {"user_id": 1, "item_id": [5, 6, 5, 6, 7], "rank": [1, 1, 1, 1, 2]}
    )
    relevant = pd.DataFrame({"user_id": [1, 1], "item_id": [6, 7]})
    found = ranked_relevance(lists, relevant)
    assert found.relevance.tolist() == [[False, True, True]]


def test_many_users_are_looked_up_in_parts(monkeypatch, tables):
    whole = ranked_relevance(*tables)
    monkeypatch.setattr("skmmrec.metrics._relevance._TABLE_BYTES", 60)
    parts = ranked_relevance(*tables)
    np.testing.assert_array_equal(whole.relevance, parts.relevance)


def test_evaluation_averages_over_users_with_something_relevant(tables):
    evaluation = evaluate_ranking(*tables, ["ndcg@5", "auc@5"])
    lists = ranked_relevance(*tables)
    values = ndcg_at_k(lists.relevance, lists.n_relevant, 5)
    np.testing.assert_allclose(evaluation.per_user["ndcg@5"], values, atol=1e-9)
    assert evaluation.mean()["ndcg@5"] == pytest.approx(values.mean(), abs=1e-9)
    assert (evaluation.n_users, evaluation.n_skipped) == (30, 3)
    assert evaluation.per_user.loc[["u30", "u31", "u32"]].eq(0).all(axis=None)


def test_nobody_recommended_anything_scores_zero(tables):
    evaluation = evaluate_ranking(tables[0].head(0), tables[1])
    assert evaluation.mean().eq(0).all()


def test_intervals_cover_the_mean_at_the_right_width():
    rng = np.random.default_rng(0)
    n = 400
    relevant = pd.DataFrame({"user_id": np.arange(n), "item_id": 1})
    hit = rng.random(n) < 0.3
    recommendations = relevant.assign(item_id=np.where(hit, 1, 2))
    evaluation = evaluate_ranking(recommendations, relevant, ["hit_rate@1"])
    row = evaluation.intervals(random_state=0).loc["hit_rate@1"]
    error = 1.96 * np.sqrt(hit.mean() * (1 - hit.mean()) / n)
    assert row["mean"] == pytest.approx(hit.mean(), abs=1e-9)
    assert row["low"] == pytest.approx(hit.mean() - error, abs=0.01)
    assert row["high"] == pytest.approx(hit.mean() + error, abs=0.01)
    pd.testing.assert_frame_equal(
        evaluation.intervals(random_state=0), evaluation.intervals(random_state=0)
    )


def test_groups_of_users(tables):
    evaluation = evaluate_ranking(*tables, ["recall@5"])
    users = evaluation.per_user.index
    groups = pd.Series(np.where(users < "u10", "early", "late"), index=users)
    scores, gaps = evaluation.by(groups)
    early = evaluation.per_user["recall@5"][users < "u10"].mean()
    late = evaluation.per_user["recall@5"][users >= "u10"].mean()
    assert scores.loc["early"].to_dict() == pytest.approx(
        {"n_users": 7, "recall@5": early}, abs=1e-9
    )
    assert gaps["recall@5"] == pytest.approx(abs(early - late), abs=1e-9)


def test_groups_of_items_restrict_what_is_relevant(tables):
    recommendations, relevant = tables
    evaluation = evaluate_ranking(recommendations, relevant, ["recall@5", "ndcg@5"])
    ids = pd.RangeIndex(25, name="item_id")
    groups = pd.Series(np.where(ids < 5, "head", "tail"), index=ids)
    scores, gaps = evaluation.by(groups)
    for name, chosen in (
        ("head", relevant.item_id < 5),
        ("tail", relevant.item_id >= 5),
    ):
        alone = evaluate_ranking(
            recommendations, relevant[chosen], ["recall@5", "ndcg@5"]
        )
        assert scores.loc[name, "n_users"] == alone.n_users
        for metric, value in alone.mean().items():
            assert scores.loc[name, metric] == pytest.approx(value, abs=1e-9)
    assert gaps.index.tolist() == ["recall@5", "ndcg@5"]


def test_groups_must_say_what_they_group(tables):
    evaluation = evaluate_ranking(*tables, ["recall@5"])
    for odd in ({"u03": "a"}, ["a"], "country", pl.Series(["a"])):
        with pytest.raises(TypeError, match="groups must be a Series of pandas, index"):
            evaluation.by(odd)
    with pytest.raises(TypeError, match="got a DataFrame"):
        evaluation.by(pd.DataFrame({"user_id": ["u03"], "group": ["a"]}))
    with pytest.raises(ValueError, match="must be named 'user_id' or 'item_id'"):
        evaluation.by(pd.Series(["a"], index=[1]))
    few = pd.Series(["a"], index=pd.Index(["u03"], name="user_id"))
    with pytest.raises(ValueError, match="no group for 'u04'"):
        evaluation.by(few)
    with pytest.raises(ValueError, match="'u03' more than once"):
        evaluation.by(pd.concat([few, few]))


@pytest.mark.parametrize("test", ["t", "wilcoxon", "permutation"])
def test_compare_finds_a_real_difference_and_no_other(test):
    rng = np.random.default_rng(0)
    n = 300
    relevant = pd.DataFrame({"user_id": np.arange(n), "item_id": 1})

    def ranked(rate):
        hit = rng.random(n) < rate
        table = relevant.assign(item_id=np.where(hit, 1, 2))
        return evaluate_ranking(table, relevant, ["hit_rate@1", "mrr@1"])

    weak, same, strong = ranked(0.3), ranked(0.3), ranked(0.5)
    row = compare(weak, strong, test=test, random_state=0).loc["hit_rate@1"]
    assert row["difference"] == pytest.approx(row["b"] - row["a"], abs=1e-9)
    assert row["low"] < row["difference"] < row["high"]
    assert row["low"] > 0
    assert row["p_value"] < 0.01
    assert compare(weak, same, test=test, random_state=0).p_value.min() > 0.01
    assert compare(weak, weak, test=test).p_value.eq(1).all()


def test_compare_uses_the_paired_t_test(tables):
    recommendations, relevant = tables
    a = evaluate_ranking(recommendations, relevant, ["ndcg@10"])
    flipped = recommendations.assign(rank=-recommendations["rank"])
    b = evaluate_ranking(flipped, relevant, ["ndcg@10"])
    expected = stats.ttest_rel(a.per_user["ndcg@10"], b.per_user["ndcg@10"]).pvalue
    assert compare(a, b).p_value.iloc[0] == pytest.approx(expected, abs=1e-9)


def test_compare_needs_the_same_users_and_metrics(tables):
    recommendations, relevant = tables
    a = evaluate_ranking(recommendations, relevant, ["ndcg@10"])
    b = evaluate_ranking(
        recommendations, relevant[relevant.user_id > "u10"], ["ndcg@10"]
    )
    with pytest.raises(ValueError, match="different users"):
        compare(a, b)
    with pytest.raises(ValueError, match="different metrics"):
        compare(a, evaluate_ranking(recommendations, relevant, ["mrr@10"]))
    with pytest.raises(ValueError, match="test must be"):
        compare(
            a,
            evaluate_ranking(recommendations.head(5), relevant, ["ndcg@10"]),
            test="z",
        )


@pytest.mark.parametrize("name", ["ndcg", "ndcg@0", "ndcg@-1", "speed@10", "ndcg@x", 7])
def test_unknown_metrics_are_named(tables, name):
    with pytest.raises(ValueError, match=f"unknown metric {name!r}.*ndcg@10"):
        evaluate_ranking(*tables, [name])


@pytest.mark.parametrize("kind", [list, tuple, iter, np.array, pd.Index, pd.Series])
def test_metrics_may_be_any_iterable(tables, kind):
    names = ["ndcg@10", "mrr@3"]
    found = evaluate_ranking(*tables, kind(names)).per_user
    pd.testing.assert_frame_equal(found, evaluate_ranking(*tables, names).per_user)
    assert make_ranking_scorer(kind(names)).metric == names
    with pytest.raises(ValueError, match="at least one metric"):
        evaluate_ranking(*tables, kind([]))


def test_bad_tables_are_named(tables):
    recommendations, relevant = tables
    with pytest.raises(ValueError, match="relevant has no rows"):
        ranked_relevance(recommendations, relevant.head(0))
    with pytest.raises(ValueError, match="recommendations has no column 'item_id'"):
        ranked_relevance(recommendations[["user_id"]], relevant)
    told = "rename the one with these ids to 'user_id', or give .* as user_key="
    with pytest.raises(ValueError, match=told):
        ranked_relevance(recommendations, relevant.rename(columns={"user_id": "who"}))
    with pytest.raises(ValueError, match=r"relevant\['user_id'\] is missing"):
        ranked_relevance(recommendations, relevant.assign(user_id=None))
    with pytest.raises(
        ValueError, match="item_id is int64 in recommendations but object"
    ):
        ranked_relevance(recommendations, relevant.assign(item_id="i1"))


def test_missing_ranks_are_named(tables):
    recommendations, relevant = tables
    ranks = recommendations["rank"].astype(float).where(recommendations.index != 5)
    with pytest.raises(ValueError, match=r"rank is missing \(NaN or None\) in row 5"):
        evaluate_ranking(recommendations.assign(rank=ranks), relevant)


RANKS = {
    "text": lambda ranks: ranks.astype(str),
    "category of text": lambda ranks: ranks.astype(str).astype("category"),
    "string": lambda ranks: ranks.astype("string"),
    "dates": lambda ranks: pd.Timestamp("2020-01-01") + pd.to_timedelta(ranks, "D"),
    "truth": lambda ranks: ranks > 1,
}


@pytest.mark.parametrize("kind", RANKS)
def test_ranks_that_are_no_numbers_are_named(tables, kind):
    """The text "10" is before "2"."""
    recommendations, relevant = tables
    odd = recommendations.assign(rank=RANKS[kind](recommendations["rank"]))
    with pytest.raises(ValueError, match=r"rank must be numbers, got .* in row 0"):
        evaluate_ranking(odd, relevant)


@pytest.mark.parametrize(
    "kind", ["int8", "float32", "Int64", "int64[pyarrow]", "category", "Decimal"]
)
def test_ranks_of_every_kind_of_number_give_the_same(tables, kind):
    recommendations, relevant = tables
    ranks = recommendations["rank"]
    ranks = ranks.map(Decimal) if kind == "Decimal" else ranks.astype(kind)
    mixed = recommendations.assign(rank=ranks).sample(frac=1, random_state=0)
    expected = evaluate_ranking(recommendations, relevant).per_user
    pd.testing.assert_frame_equal(evaluate_ranking(mixed, relevant).per_user, expected)


def test_a_second_column_of_ranks_is_refused(tables):
    recommendations, relevant = tables
    twice = pd.concat([recommendations, recommendations[["rank"]]], axis=1)
    with pytest.raises(ValueError, match="several columns named 'rank'"):
        evaluate_ranking(twice, relevant)


@pytest.mark.parametrize("gain", [0.0, -1.0, np.nan, np.inf])
def test_gains_that_are_none_are_named(tables, gain):
    recommendations, relevant = tables
    gains = np.where(np.arange(len(relevant)) == 2, gain, 1.0)
    with pytest.raises(ValueError, match=r"'gain'\] must be .* in row 2"):
        evaluate_ranking(recommendations, relevant.assign(gain=gains))


def lists_of(*lengths):
    """Lists of users 0, 1, ..., that of 1 from item 1 on, and so on."""
    users = np.repeat(range(len(lengths)), lengths)
    starts = enumerate(lengths)
    items = np.concatenate([np.arange(user, user + length) for user, length in starts])
    return pd.DataFrame({"user_id": users, "item_id": items})


def test_lists_that_are_cut_before_a_metric_are_told():
    """Of lists of ten, recall@20 would count all that follows as missed."""
    relevant = pd.DataFrame({"user_id": [0, 0, 1, 2], "item_id": [1, 10, 2, 15]})
    with pytest.warns(
        UserWarning, match=r"all lists have 10 items, and recall@20.*k=20"
    ):
        evaluate_ranking(lists_of(10, 10), relevant, ["ndcg@10", "recall@20"])


@pytest.mark.parametrize(
    ("lengths", "items", "recall"),
    [
        ((20, 20), [20, 2], 0.5),  # as long as the metric
        ((10, 12), [10, 2], 0.5),  # what is left of the items differs
        ((10, 10), [1, 2], 1.0),  # each lacks what its user had, and nothing relevant
        ((10, 10), [1, 25], 0.5),  # nobody is shown what is lacking
        ((10,), [1, 25], 0.5),  # one list tells nothing
    ],
)
def test_lists_that_have_run_out_of_items_are_not(lengths, items, recall):
    relevant = pd.DataFrame({"user_id": range(len(items)), "item_id": items})
    found = evaluate_ranking(lists_of(*lengths), relevant, ["recall@20"])
    assert found.mean()["recall@20"] == pytest.approx(recall, abs=1e-12)


def test_one_user_and_one_item():
    one = pd.DataFrame({"user_id": ["ann"], "item_id": ["x"]})
    evaluation = evaluate_ranking(one, one)
    assert evaluation.mean().eq(1).all()
    row = evaluation.intervals().loc["ndcg@10"]
    assert row["mean"] == 1
    assert row[["low", "high"]].isna().all()
    with pytest.raises(ValueError, match="a paired test needs at least 2 users"):
        compare(evaluation, evaluation)


def test_users_that_do_not_match_count_as_missed(tables):
    recommendations, relevant = tables
    strangers = recommendations.assign(user_id="z" + recommendations.user_id)
    evaluation = evaluate_ranking(strangers, relevant)
    assert evaluation.mean().eq(0).all()
    assert (evaluation.n_users, evaluation.n_skipped) == (30, 30)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_columns_may_have_names_of_their_own(tables, kind):
    """What else is called like an id is not looked at."""
    recommendations, relevant = tables
    named = relevant.rename(columns={"user_id": "who", "item_id": "sku"})
    named = kind(named.assign(item_id=0).to_dict("list"))
    names = {"user_key": "who", "item_key": "sku"}
    found = evaluate_ranking(recommendations, named, ["ndcg@5", "map@5"], **names)
    expected = evaluate_ranking(recommendations, relevant, ["ndcg@5", "map@5"])
    pd.testing.assert_frame_equal(found.per_user, expected.per_user)
    with pytest.raises(ValueError, match=r"item_key='ean' is not .* relevant: \['who'"):
        evaluate_ranking(recommendations, named, user_key="who", item_key="ean")


def test_queries_are_judged_like_users(tables):
    recommendations, relevant = tables
    by_user = evaluate_ranking(recommendations, relevant, ["ndcg@5", "hit_rate@1"])
    found, sought = (table.rename(columns={"user_id": "query"}) for table in tables)
    by_query = evaluate_ranking(found, sought, ["ndcg@5", "hit_rate@1"])
    assert by_user.per_user.index.name == "user_id"
    pd.testing.assert_frame_equal(
        by_query.per_user, by_user.per_user.rename_axis("query")
    )


def test_queries_and_users_are_not_mixed(tables):
    recommendations, relevant = tables
    found = recommendations.rename(columns={"user_id": "query"})
    with pytest.raises(ValueError, match="recommendations has no column 'user_id'"):
        evaluate_ranking(found, relevant)
