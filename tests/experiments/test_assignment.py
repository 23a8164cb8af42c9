"""Arms follow from the documented hash alone."""

import os
import subprocess
import sys
from hashlib import blake2b

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, chisquare

from skmmrec.experiments import assign_arm

MANY = np.arange(20_000)


def test_follows_the_documented_hash():
    arms = assign_arm(["ann", "ünal", ""], "new fusion", {"a": 1, "b": 2, "c": 1})
    for user, arm in zip(["ann", "ünal", ""], arms, strict=True):
        digest = blake2b(f"new fusion\0{user}".encode(), digest_size=8).digest()
        place = int.from_bytes(digest, "big") / 2**64
        assert arm == ("a" if place < 0.25 else "b" if place < 0.75 else "c")


def test_never_changes():
    """Frozen: a change here would move users of running experiments to other arms."""
    arms = assign_arm(range(24), "frozen", {"x": 0.5, "y": 0.3, "z": 0.2})
    assert "".join(arms) == "yxxxzyyxxzyzxyxyxxyxyxyx"


def test_another_process_agrees():
    code = (
        "from skmmrec.experiments import assign_arm;"
        "print(*assign_arm(['u%d' % n for n in range(50)], 'e'))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "123", "LC_ALL": "C"}
    output = subprocess.check_output([sys.executable, "-c", code], env=environment)
    here = assign_arm([f"u{n}" for n in range(50)], "e")
    assert output.decode().split() == here.tolist()


def test_one_id_in_many_forms_and_places():
    expected = assign_arm(MANY[:50], "e").tolist()
    assert assign_arm(MANY[:50].astype(float), "e").tolist() == expected
    assert assign_arm(MANY[:50].astype(str), "e").tolist() == expected
    twice = pd.Series(MANY[:50]).repeat(2).to_numpy()[::-1]
    assert assign_arm(twice, "e").tolist() == np.repeat(expected, 2)[::-1].tolist()
    assert assign_arm([], "e").tolist() == []


def test_arms_get_their_shares():
    weights = {"a": 3, "b": 6, "none": 0, "c": 1}
    counts = pd.Series(assign_arm(MANY, "shares", weights)).value_counts()
    assert "none" not in counts
    expected = [0.3 * len(MANY), 0.6 * len(MANY), 0.1 * len(MANY)]
    assert chisquare(counts[["a", "b", "c"]], expected).pvalue > 0.001


def test_experiments_are_independent():
    table = pd.crosstab(assign_arm(MANY, "one"), assign_arm(MANY, "two"))
    assert table.shape == (2, 2)
    assert chi2_contingency(table).pvalue > 0.001


def test_a_growing_first_arm_keeps_its_users():
    small = assign_arm(MANY, "ramp", {"new": 0.1, "old": 0.9}) == "new"
    large = assign_arm(MANY, "ramp", {"new": 0.4, "old": 0.6}) == "new"
    assert large[small].all()
    assert large.sum() > small.sum()


@pytest.mark.parametrize(
    ("users", "experiment", "weights", "message"),
    [
        ([1, None], "e", None, "user_id is missing .* in row 1"),
        ([1], "", None, "experiment must be a non-empty name"),
        ([1], 7, None, "experiment must be a non-empty name, got 7"),
        ([1], "e", {"a": -1, "b": 2}, "weights must be finite, not negative"),
        ([1], "e", {"a": 0}, "not all 0"),
        ([1], "e", {}, "not all 0"),
        ([1], "e", {"a": float("nan")}, "weights must be finite"),
    ],
)
def test_bad_arguments_are_named(users, experiment, weights, message):
    with pytest.raises(ValueError, match=message):
        assign_arm(users, experiment, weights)


def test_weights_that_are_no_mapping_are_named():
    with pytest.raises(TypeError, match=r"weights must map the names .* got list"):
        assign_arm([1], "e", [0.5, 0.5])


@pytest.mark.parametrize("exponent", [-1000, -30, 30, 1023])
def test_only_shares_of_weights_count(exponent):
    weights = {"a": 1.0, "b": 1.5, "c": 1.25}
    scaled = {name: np.ldexp(weight, exponent) for name, weight in weights.items()}
    found = assign_arm(MANY, "e", scaled)
    np.testing.assert_array_equal(found, assign_arm(MANY, "e", weights))
