"""The weight of a memory: chosen by held-out likes, and never by a jump."""

import numpy as np
import pytest
from hypothesis import given, strategies as st

from skmmrec.recommender.memory import POWERS
from skmmrec.recommender.training._memory_trial import (
    TRIED,
    best_weight,
    choose_power,
    least_near,
)

SEEDS = st.integers(0, 2**32 - 1)
N_USERS = 400


def bump(peak, width, height=0.1, users=N_USERS, seed=0):
    """NDCG by weight with its peak somewhere, for users who differ in all of it."""
    rng = np.random.RandomState(seed)
    level, taste = rng.rand(users), rng.normal(1, 1.5, users)
    curve = {0.0: level}
    for weight in TRIED:
        gain = np.exp(-(np.log(weight / peak) ** 2) / width)
        curve[weight] = level + height * gain * taste + rng.normal(0, 0.02, users)
    return curve


def errors_behind(curve, weight):
    behind = curve[best_weight(curve)] - curve[weight]
    return behind.mean() / (behind.std() / len(behind) ** 0.5)


@given(peak=st.floats(0.1, 0.8), width=st.floats(0.2, 3), seed=SEEDS)
def test_it_is_the_least_that_is_not_clearly_behind(peak, width, seed):
    curve = bump(peak, width, seed=seed)
    chosen, best = least_near(curve), best_weight(curve)
    below = [weight for weight in TRIED if weight < chosen * (1 - 1e-9)]
    assert TRIED[0] <= chosen <= best
    assert all(errors_behind(curve, weight) > 1 for weight in below)
    above = min(weight for weight in TRIED if weight >= chosen * (1 - 1e-9))
    assert above == best or errors_behind(curve, above) <= 1


@given(peak=st.floats(0.15, 0.8), seed=SEEDS, share=st.floats(-0.03, 0.03))
def test_a_little_change_of_what_is_behind_changes_it_little(peak, seed, share):
    """Where the best and the first that is near stay what they are, it moves evenly."""
    curve = bump(peak, 0.5, seed=seed)
    best = best_weight(curve)
    moved = {
        weight: values
        if weight in (0.0, best)
        else values + share * (curve[best] - values)
        for weight, values in curve.items()
    }
    # As far behind in standard errors as before: nothing is told apart otherwise.
    assert least_near(moved) == pytest.approx(least_near(curve), rel=1e-6, abs=0)


def test_it_moves_without_a_jump_as_a_weight_falls_behind():
    """By the rule for tried weights alone it would go from 0.1 to 0.2 in one step."""
    curve = bump(0.2, 1.0)
    best = best_weight(curve)
    rng = np.random.RandomState(1)
    noise = rng.normal(0, 0.05, N_USERS)
    noise -= noise.mean()
    error = noise.std() / N_USERS**0.5
    chosen = []
    for errors in np.linspace(0, 6, 121):
        behind = {0.1: curve[best] + noise - errors * error}
        chosen.append(least_near({**curve, **behind}))
    steps = np.diff(chosen)
    assert best == 0.2
    assert chosen[0] == 0.1
    assert chosen[-1] > 0.17
    assert (steps >= 0).all()
    assert steps.max() < 0.01


def test_the_best_alone_is_taken_where_all_users_agree():
    level = np.random.RandomState(0).rand(N_USERS)
    curve = {0.0: level, 0.1: level + 0.1, 0.2: level + 0.2, 0.4: level + 0.1}
    assert least_near(curve) == pytest.approx(0.2, rel=1e-4, abs=0)


@given(seed=SEEDS)
def test_the_precision_counts_only_where_it_is_clearly_ahead(seed):
    rng = np.random.RandomState(seed)
    plain = bump(0.2, 1.0, seed=seed)
    for shift in rng.normal(0, 0.01, 5):
        other = {w: v + shift + rng.normal(0, 0.05, N_USERS) for w, v in plain.items()}
        values = {(0.0, 0.0): plain[0.0]}
        for power, curve in zip(POWERS, (plain, other), strict=True):
            values |= {(w, power): v for w, v in curve.items() if w}
        power, curve = choose_power(values)
        known = {0.0: plain[0.0]} | {w: v for w, v in other.items() if w}
        ahead = known[best_weight(known)] - plain[best_weight(plain)]
        is_clear = ahead.mean() > ahead.std() / N_USERS**0.5
        assert power == POWERS[int(is_clear)]
        assert curve[0.0] is plain[0.0]
        assert all(curve[w] is values[w, power] for w in TRIED)


def test_what_was_not_tried_with_a_power_is_not_asked_for():
    plain = bump(0.2, 1.0)
    values = {(0.0, 0.0): plain[0.0], (0.1, 0.0): plain[0.1], (0.2, 0.5): plain[0.2]}
    _, curve = choose_power(values)
    assert set(curve) in ({0.0, 0.1}, {0.0, 0.2})
