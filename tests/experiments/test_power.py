"""Samples are as large as they must be, and no larger."""

import sys

import numpy as np
import pytest
from scipy import stats

from skmmrec.experiments import sample_size


def test_rates_match_the_formula():
    control, treatment = sample_size(0.02, rate=0.1, power=0.9, alpha=0.01)
    h = 2 * (np.arcsin(np.sqrt(0.12)) - np.arcsin(np.sqrt(0.1)))
    z = stats.norm.ppf(1 - 0.01 / 2) + stats.norm.ppf(0.9)
    assert control == treatment == np.ceil(2 * (z / h) ** 2)
    assert sample_size(-0.02, rate=0.12, power=0.9, alpha=0.01) == (control, treatment)


def test_arms_of_different_size():
    control, treatment = sample_size(0.02, rate=0.1, ratio=3)
    assert treatment == pytest.approx(3 * control, abs=3)
    even = sample_size(0.02, rate=0.1)
    assert control < even[0] < treatment
    assert control + treatment > sum(even)


@pytest.mark.parametrize(
    ("options", "draw"),
    [
        ({"rate": 0.3}, lambda rng, up, n: rng.random(n) < 0.3 + up),
        ({"std": 2.0}, lambda rng, up, n: rng.normal(up, 2.0, n)),
    ],
)
def test_the_effect_is_found_as_often_as_promised(options, draw):
    effect = 0.1 if "rate" in options else 0.5
    sizes = sample_size(effect, power=0.8, **options)
    rng = np.random.default_rng(0)
    a = draw(rng, 0.0, (2000, sizes[0])).astype(float)
    b = draw(rng, effect, (2000, sizes[1])).astype(float)
    found = stats.ttest_ind(a, b, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(
    ("effect", "options", "message"),
    [
        (0.1, {}, "give either rate or std"),
        (0.1, {"rate": 0.1, "std": 1.0}, "give either rate or std"),
        (0.0, {"rate": 0.1}, "effect must be finite and not 0"),
        (float("nan"), {"std": 1.0}, "effect must be finite and not 0"),
        (0.1, {"rate": 1.2}, "rate must lie between 0 and 1, got 1.2"),
        (0.5, {"rate": 0.6}, r"rate \+ effect must lie between 0 and 1"),
        (0.1, {"std": 0.0}, "std must be finite and above 0"),
        (0.1, {"std": 1.0, "power": 1.0}, "power must lie between 0 and 1"),
        (0.1, {"std": 1.0, "alpha": 0.0}, "alpha must lie between 0 and 1"),
        (0.1, {"std": 1.0, "ratio": 0.0}, "ratio must be finite and above 0"),
        (1e-12, {"rate": 0.1}, "effect=1e-12 is too small: no number of users"),
    ],
)
def test_bad_arguments_are_named(effect, options, message):
    with pytest.raises(ValueError, match=message):
        sample_size(effect, **options)


def test_statsmodels_is_named_where_it_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "statsmodels.stats", None)
    with pytest.raises(ImportError, match=r"pip install 'skmmrec\[experiments\]'"):
        sample_size(0.1, std=1.0)


@pytest.mark.parametrize("name", ["effect", "rate", "std", "power", "alpha", "ratio"])
@pytest.mark.parametrize("value", ["20%", True, [0.1], np.array([0.1, 0.2])])
def test_what_is_no_number_is_named(name, value):
    given = {"effect": 0.1} | ({"std": 1.0} if name != "rate" else {}) | {name: value}
    with pytest.raises(TypeError, match=f"^{name} must be a number such as 0.02, got"):
        sample_size(given.pop("effect"), **given)
