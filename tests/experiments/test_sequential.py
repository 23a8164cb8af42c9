"""Looking often finds nothing that is not there."""

import numpy as np
import pytest
from scipy import integrate, stats

from skmmrec.experiments import sequential_test

LOOKS = range(100, 2001, 100)
N_EXPERIMENTS = 300


def experiments(effect, seed):
    """Clicks of two arms, looked at after every hundred users of each."""
    rng = np.random.default_rng(seed)
    shape = N_EXPERIMENTS, LOOKS[-1]
    return rng.random(shape) < 0.2, rng.random(shape) < 0.2 + effect


def look(arms):
    """Results of one experiment at every look."""
    return [sequential_test(*(arm[:n] for arm in arms), effect=0.05) for n in LOOKS]


def test_peeking_does_not_find_what_is_not_there():
    a, b = experiments(0.0, seed=0)
    ours = [
        any(r.p_value < 0.05 for r in look(arms)) for arms in zip(a, b, strict=True)
    ]
    naive = np.zeros(N_EXPERIMENTS, bool)
    for n in LOOKS:
        naive |= stats.ttest_ind(a[:, :n], b[:, :n], axis=1).pvalue < 0.05
    assert np.mean(ours) < 0.05
    assert naive.mean() > 0.15


def test_a_small_arm_without_rare_events_proves_nothing():
    rng = np.random.default_rng(0)
    control = rng.random((300, 300)) < 0.02
    treatment = rng.random((300, 3000)) < 0.02
    found = [
        any(
            sequential_test(a[:n], b[: 10 * n], effect=0.02).p_value < 0.05
            for n in (100, 200, 300)
        )
        for a, b in zip(control, treatment, strict=True)
    ]
    # By the variance of each arm alone, 0.16.
    assert np.mean(found) < 0.05


def test_arms_of_one_size_are_judged_by_their_own_variances():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=200), 3 * rng.normal(size=200)
    result = sequential_test(a, b, effect=1.0)
    variance = (a.var(ddof=1) + b.var(ddof=1)) / 200
    total = variance + 1
    log_ratio = result.difference**2 / (2 * variance * total)
    log_ratio -= np.log(total / variance) / 2
    assert result.p_value == pytest.approx(
        np.exp(-max(log_ratio, 0.0)), rel=1e-9, abs=1e-12
    )


def test_what_is_there_is_found_and_covered():
    results = [look(arms) for arms in zip(*experiments(0.08, seed=1), strict=True)]
    found = [any(r.p_value < 0.05 for r in each) for each in results]
    covered = [all(r.low <= 0.08 <= r.high for r in each) for each in results]
    assert np.mean(found) > 0.95
    assert np.mean(covered) > 0.95


def test_equals_the_mixture_by_quadrature():
    rng = np.random.default_rng(2)
    a, b = rng.normal(0, 1, 300), rng.normal(0.2, 2, 200)
    result = sequential_test(a, b, effect=0.3, level=0.9)
    error = np.sqrt(a.var(ddof=1) / 300 + b.var(ddof=1) / 200)

    def ratio_at(truth, null=0.0):
        of_truth = stats.norm.pdf(result.difference, null + truth, error)
        return of_truth / stats.norm.pdf(result.difference, null, error)

    def mixture(null):
        weighted = lambda t: ratio_at(t, null) * stats.norm.pdf(t, 0, 0.3)  # noqa: E731
        return integrate.quad(weighted, -3, 3, epsabs=1e-12, limit=200)[0]

    assert result.p_value == pytest.approx(min(1, 1 / mixture(0.0)), rel=1e-6, abs=1e-9)
    assert mixture(result.low) == pytest.approx(1 / 0.1, rel=1e-6, abs=1e-9)
    assert mixture(result.high) == pytest.approx(1 / 0.1, rel=1e-6, abs=1e-9)
    assert (result.p_value < 0.1) == (not result.low <= 0 <= result.high)


def test_nothing_is_concluded_from_few_or_equal_users():
    early = sequential_test([0.0, 1.0], np.ones(500), effect=0.1)
    assert early == (0.5, -np.inf, np.inf, 1.0)
    alike = sequential_test(np.zeros(500), np.ones(500), effect=0.1)
    assert alike == (1.0, -np.inf, np.inf, 1.0)
    assert sequential_test([0.0, 1.0], [0.5, 1.5], effect=1, burn_in=2).high < np.inf


@pytest.mark.parametrize(
    ("arms", "options", "message"),
    [
        (([], [1.0]), {"effect": 1.0}, "control must hold one value per user"),
        (([1.0], [[1.0]]), {"effect": 1.0}, r"treatment must hold .* shape \(1, 1\)"),
        (([1.0], [1.0, np.nan]), {"effect": 1.0}, "treatment has nan in row 1"),
        (([1.0, 1e200], [1.0]), {"effect": 1.0}, r"control has 1e\+200 in row 1"),
        (([1.0], [1.0]), {"effect": 0.0}, "effect must be finite and not 0"),
        (([1.0], [1.0]), {"effect": 1.0, "level": 1.0}, "level must lie between"),
        (([1.0], [1.0]), {"effect": 1.0, "burn_in": 1}, "burn_in must be at least 2"),
    ],
)
def test_bad_arguments_are_named(arms, options, message):
    with pytest.raises(ValueError, match=message):
        sequential_test(*arms, **options)
