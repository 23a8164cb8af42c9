"""Any metric per group of users or of items, and the gap."""

import numpy as np
import pandas as pd
import pytest

from skmmrec.metrics import (
    catalog_coverage,
    evaluate_ranking,
    gini_exposure,
    intra_list_diversity,
    novelty,
    popularity_bias,
)


@pytest.fixture
def shown():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        [(user, item) for user in range(8) for item in rng.permutation(12)[:5]],
        columns=["user_id", "item_id"],
    )


@pytest.fixture
def met():
    rng = np.random.default_rng(1)
    pairs = {"user_id": rng.integers(8, size=60), "item_id": rng.integers(12, size=60)}
    return pd.DataFrame(pairs)


@pytest.fixture
def vectors():
    return pd.DataFrame(np.random.default_rng(2).normal(size=(12, 3)))


def groups(name, n):
    index = pd.RangeIndex(n, name=name)
    return pd.Series(np.where(index < n // 3, "few", "many"), index)


CASES = [
    (catalog_coverage, lambda met, vectors: range(12)),
    (gini_exposure, lambda met, vectors: range(12)),
    (novelty, lambda met, vectors: met),
    (popularity_bias, lambda met, vectors: met),
    (intra_list_diversity, lambda met, vectors: vectors),
]


@pytest.mark.parametrize(("metric", "other"), CASES)
def test_users_are_judged_apart(metric, other, shown, met, vectors):
    other = other(met, vectors)
    scores, gaps = metric(shown, other, by=groups("user_id", 8))
    for name, part in (
        ("few", shown[shown.user_id < 2]),
        ("many", shown[shown.user_id >= 2]),
    ):
        expected = np.mean(metric(part, other))
        assert scores.loc[name, metric.__name__] == pytest.approx(expected, abs=1e-9)
        assert scores.loc[name, "n_users"] == part.user_id.nunique()
    values = scores[metric.__name__]
    assert gaps[metric.__name__] == pytest.approx(
        abs(values.few - values.many), abs=1e-9
    )


@pytest.mark.parametrize(("metric", "other"), CASES)
def test_items_are_judged_apart(metric, other, shown, met, vectors):
    other = other(met, vectors)
    scores, _ = metric(shown, other, by=groups("item_id", 12))
    few, many = shown[shown.item_id < 4], shown[shown.item_id >= 4]
    for name, part, items in (("few", few, range(4)), ("many", many, range(4, 12))):
        within = items if isinstance(other, range) else other
        expected = pd.Series(metric(part, within)).mean()
        assert scores.loc[name, metric.__name__] == pytest.approx(expected, abs=1e-9)


def test_a_group_that_is_never_recommended(shown):
    by = groups("item_id", 12)
    few = shown[shown.item_id >= 4]
    scores, gaps = catalog_coverage(few, range(12), by=by)
    assert scores.loc["few"].tolist() == [0, 0]
    assert gaps["catalog_coverage"] == scores.loc["many", "catalog_coverage"]
    scores, _ = gini_exposure(few, range(12), by=by)
    assert np.isnan(scores.loc["few", "gini_exposure"])


def test_lists_that_have_no_value_do_not_count(shown, vectors):
    one = pd.concat([shown[shown.user_id < 4], shown[shown.user_id == 7].head(1)])
    by = groups("user_id", 8)
    scores, _ = intra_list_diversity(one, vectors, by=by)
    expected = intra_list_diversity(one, vectors).loc[[2, 3]].mean()
    assert scores.loc["many", "intra_list_diversity"] == pytest.approx(
        expected, abs=1e-9
    )


def test_graded_gains_by_groups_of_items(shown):
    rng = np.random.default_rng(3)
    relevant = shown.sample(25, random_state=0).assign(gain=rng.integers(1, 5, 25))
    by = groups("item_id", 12)
    scores, _ = evaluate_ranking(shown, relevant, ["graded_ndcg@4"]).by(by)
    few = evaluate_ranking(shown, relevant[relevant.item_id < 4], ["graded_ndcg@4"])
    assert scores.loc["few", "graded_ndcg@4"] == pytest.approx(
        few.mean().iloc[0], abs=1e-9
    )


def test_bad_groups_are_named(shown):
    with pytest.raises(ValueError, match="must be named 'user_id' or 'item_id'"):
        catalog_coverage(shown, range(12), by=pd.Series(["a"]))
    with pytest.raises(ValueError, match="groups has no group for 3"):
        catalog_coverage(shown, range(12), by=groups("item_id", 3))
    with pytest.raises(ValueError, match="recommendations has no column 'user_id'"):
        gini_exposure(shown[["item_id"]], range(12), by=groups("item_id", 12))


def test_a_missing_group_is_told_from_none(shown):
    by = groups("item_id", 12).replace({"few": None})
    with pytest.raises(ValueError, match=r"missing value for 0 \(4 such values\)"):
        catalog_coverage(shown, range(12), by=by)


@pytest.mark.parametrize("kind", ["user_id", "item_id"])
@pytest.mark.parametrize("names", [(7, "seven"), ("a", 2.5), ((1, 2), (1, 3))])
def test_groups_may_have_names_of_several_types(shown, kind, names):
    """They have the scores of groups that are called otherwise."""
    plain = groups(kind, 12)
    by = pd.Series([names[name == "many"] for name in plain], plain.index)
    relevant = shown.sample(25, random_state=0)
    found = (
        catalog_coverage(shown, range(12), by=by),
        evaluate_ranking(shown, relevant, "ndcg@5").by(by),
    )
    expected = (
        catalog_coverage(shown, range(12), by=plain),
        evaluate_ranking(shown, relevant, "ndcg@5").by(plain),
    )
    for one, other in zip(found, expected, strict=True):
        assert set(one.scores.index) == set(names)
        np.testing.assert_allclose(
            one.scores.loc[list(names)], other.scores.loc[["few", "many"]], atol=1e-9
        )
