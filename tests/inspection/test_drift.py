"""Windows that are alike, and windows that are not."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import ks_2samp, kstest

from skmmrec.inspection import _drift, measure_drift


def window(rng, users, shift=0.0, taste=True, n=6):
    """Rows of users who have each a level of their own, so that these are no sample."""
    rows = [
        (user, item, score)
        for user, level in zip(users, rng.normal(size=len(users)), strict=True)
        for item, score in zip(
            (rng.integers(0, 4, n) + (10 * user % 40 if taste else 0)) % 40,
            level + shift + 0.1 * rng.normal(size=n),
            strict=True,
        )
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "score"])


def test_p_values_of_windows_that_are_alike_are_uniform():
    """Whether users are in both or not; the rows of one are much alike."""
    rng, found = np.random.default_rng(0), []
    for n in range(45):
        overlap = 10 * (n % 3)
        users = rng.permutation(1000)[: 40 - overlap]
        one, other = window(rng, users[:20]), window(rng, users[-20:])
        options = {"n_permutations": 99, "random_state": int(rng.integers(2**31))}
        found.append(measure_drift(one, other, **options))
    for name in ("item_id", "score"):
        values = [table.loc[name, "p_value"] for table in found]
        # They are multiples of 0.01, and so a little above a uniform variable.
        assert kstest(np.array(values) - 0.005, "uniform").pvalue > 0.001


def test_what_differs_is_told_by_its_column():
    rng = np.random.default_rng(1)
    one = window(rng, range(60), taste=False)
    higher = window(rng, range(60, 120), shift=1.5, taste=False)
    table = measure_drift(one, higher, random_state=0)
    assert table.loc["score", "p_value"] < 0.01
    assert table.loc["item_id", "p_value"] > 0.01
    others = window(rng, range(60, 120), taste=False).assign(
        item_id=lambda t: t.item_id + 2
    )
    table = measure_drift(one, others, random_state=0)
    assert table.loc["item_id", "p_value"] < 0.01
    assert table.loc["item_id", "statistic"] == pytest.approx(0.5, abs=0.1)
    assert table[["n_reference", "n_current"]].to_numpy().tolist() == [[60, 60]] * 2


def test_statistics_are_those_of_scipy():
    rng = np.random.default_rng(2)
    one, other = window(rng, range(30)), window(rng, range(30, 45), shift=0.4)
    means = [each.groupby("user_id")["score"].mean() for each in (one, other)]
    found = measure_drift(one, other, n_permutations=1).loc["score", "statistic"]
    assert found == pytest.approx(ks_2samp(*means).statistic, abs=1e-9, rel=1e-9)
    x, y = rng.normal(size=(30, 3)), rng.normal(0.5, size=(20, 3))
    energy = 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()
    table = measure_drift(x, y, n_permutations=199, random_state=0)
    assert table.loc["vectors", "statistic"] == pytest.approx(
        energy, abs=1e-9, rel=1e-9
    )
    assert table.loc["vectors", "p_value"] < 0.05
    assert measure_drift(x, x, n_permutations=99)["p_value"].item() == 1.0


def test_of_many_users_some_of_each_window_are_compared(monkeypatch):
    """A user who is drawn for one window is compared in the other, too."""
    monkeypatch.setattr(_drift, "_MOST_USERS", 20)
    rng = np.random.default_rng(4)
    one, other = window(rng, range(200)), window(rng, range(190, 205), shift=2.0)
    table = measure_drift(one, other, n_permutations=199, random_state=0)
    n_before, n_after = table.loc["score", ["n_reference", "n_current"]]
    assert n_after == 15
    assert 20 <= n_before <= 30
    assert table.loc["score", "p_value"] < 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="item_id"), "current has no column 'item_id'"),
        (lambda t: t.iloc[:0], "current has no rows"),
        (lambda t: t.assign(score=np.nan), "'score' has numbers missing"),
        (lambda t: t.assign(item_id=np.nan), r"current\['item_id'\] is missing"),
        (lambda t: t.astype({"item_id": str}), r"current\['item_id'\] .* is a string"),
        (lambda t: t.astype({"user_id": str}), r"current\['user_id'\] .* is a string"),
    ],
)
def test_what_cannot_be_compared_is_named(change, message):
    one = window(np.random.default_rng(3), range(4))
    with pytest.raises(ValueError, match=message):
        measure_drift(one, change(one))
    with pytest.raises(ValueError, match="vectors of 2 numbers, current of 3"):
        measure_drift(np.ones((4, 2)), np.ones((4, 3)))


@pytest.mark.parametrize("kind", [float, "Float64", pd.ArrowDtype(pa.float64())])
def test_one_missing_number_is_named(kind):
    one = window(np.random.default_rng(3), range(4))
    gap = one.assign(score=one.score.astype(kind).mask(one.index == 7))
    with pytest.raises(ValueError, match="'score' has numbers missing"):
        measure_drift(one, gap)


def test_index_and_names_of_tables_do_not_matter():
    rng = np.random.default_rng(5)
    one, other = window(rng, range(20)), window(rng, range(20), shift=1.0)
    options = {"n_permutations": 19, "random_state": 0}
    expected = measure_drift(one, other, **options)
    levels = pd.MultiIndex.from_arrays([range(len(one)), range(len(one))])
    for first, second in (
        (one.rename_axis("window"), other),
        (one.set_axis(levels), other),
        (one, other.set_axis(levels)),
    ):
        pd.testing.assert_frame_equal(measure_drift(first, second, **options), expected)
    for name in ("window", 0):
        found = measure_drift(
            *(table.rename(columns={"score": name}) for table in (one, other)),
            **options,
        )
        pd.testing.assert_frame_equal(found, expected.rename({"score": str(name)}))


def test_ids_are_no_numbers_of_a_vector():
    one = window(np.random.default_rng(6), range(4))
    with pytest.raises(ValueError, match=r"reference has ids .* the other is no table"):
        measure_drift(one, one.to_numpy())
    with pytest.raises(ValueError, match=r"current has ids .* the other is no table"):
        measure_drift(one.to_numpy(), one)
    vectors = one[["score"]]
    found = measure_drift(vectors, vectors.to_numpy(), n_permutations=9)
    assert found.index.tolist() == ["vectors"]
