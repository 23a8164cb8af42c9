"""Estimates from a log whose truth is known."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

from skmmrec.experiments import off_policy_value, recommendation_policy
from skmmrec.experiments._off_policy import _half_width

N_USERS, N_ITEMS, N_ROWS = 60, 5, 400


class World:
    """Users with known tastes, a policy that logs, and another to be judged."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.chance = rng.uniform(0.05, 0.9, (N_USERS, N_ITEMS))
        self.logging = rng.dirichlet(np.full(N_ITEMS, 3.0), N_USERS)
        self.target = rng.dirichlet(np.full(N_ITEMS, 1.0), N_USERS)
        self.users = np.sort(rng.integers(N_USERS, size=N_ROWS))
        self.users[:N_USERS] = np.arange(N_USERS)
        by_user = (self.target * self.chance).sum(axis=1)
        self.value = by_user[self.users].mean()

    def log(self, seed):
        rng = np.random.default_rng(seed)
        cumulative = self.logging[self.users].cumsum(axis=1)
        items = (rng.random((N_ROWS, 1)) > cumulative).sum(axis=1).clip(max=N_ITEMS - 1)
        return pd.DataFrame(
            {
                "user_id": self.users,
                "item_id": items,
                "propensity": self.logging[self.users, items],
                "reward": rng.random(N_ROWS) < self.chance[self.users, items],
            }
        )

    def policy(self, predicted):
        index = pd.MultiIndex.from_product(
            [range(N_USERS), range(N_ITEMS)], names=["user_id", "item_id"]
        )
        table = index.to_frame(index=False)
        predicted = np.broadcast_to(predicted, (N_USERS, N_ITEMS)).ravel()
        return table.assign(probability=self.target.ravel(), predicted=predicted)


@pytest.fixture(scope="module")
def world():
    return World()


def repeat(world, method, predicted=0.3, n=120, change=None):
    """Estimates from many logs."""
    policy = world.policy(predicted)
    logs = (world.log(seed) for seed in range(n))
    return pd.DataFrame(
        [
            off_policy_value(
                log if change is None else change(log), policy, method=method
            )
            for log in logs
        ]
    )


@pytest.mark.parametrize("method", ["ips", "snips", "dr"])
def test_unbiased_and_covered(world, method):
    estimates = repeat(world, method)
    error = estimates.value.std() / np.sqrt(len(estimates))
    assert abs(estimates.value.mean() - world.value) < 3.5 * error + 1e-3
    covered = (estimates.low <= world.value) & (world.value <= estimates.high)
    assert 0.9 < covered.mean() < 0.99


def test_a_good_model_makes_the_doubly_robust_estimate_sharper(world):
    spreads = {
        "ips": repeat(world, "ips").value.std(),
        "none": repeat(world, "dr", predicted=0.0).value.std(),
        "right": repeat(world, "dr", predicted=world.chance).value.std(),
    }
    assert spreads["none"] == pytest.approx(spreads["ips"], abs=1e-9)
    assert spreads["right"] < 0.8 * spreads["ips"]


def test_a_right_model_makes_up_for_wrong_propensities(world):
    def halve(log):
        return log.assign(propensity=log.propensity / 2)

    right = repeat(world, "dr", predicted=world.chance, change=halve)
    error = right.value.std() / np.sqrt(len(right))
    assert abs(right.value.mean() - world.value) < 3.5 * error
    wrong = repeat(world, "ips", change=halve)
    assert wrong.value.mean() == pytest.approx(2 * world.value, abs=0.2 * world.value)


@pytest.mark.parametrize("clip", [None, 1.5])
def test_equal_to_the_formulas(world, clip):
    log, predicted = world.log(7), world.chance**2
    policy = world.policy(predicted)
    users, items = log.user_id.to_numpy(), log.item_id.to_numpy()
    w = world.target[users, items] / log.propensity.to_numpy()
    w = w if clip is None else np.minimum(w, clip)
    r = log.reward.to_numpy(dtype=float)
    direct = (world.target * predicted).sum(axis=1)[users]
    expected = {
        "ips": np.mean(w * r),
        "snips": np.sum(w * r) / np.sum(w),
        "dr": np.mean(direct + w * (r - predicted[users, items])),
    }
    for method, value in expected.items():
        estimate = off_policy_value(
            log.sample(frac=1, random_state=0), policy, method=method, clip=clip
        )
        assert estimate.value == pytest.approx(value, abs=1e-9)
        assert estimate.effective_size == pytest.approx(
            w.sum() ** 2 / (w**2).sum(), abs=1e-6
        )
        assert estimate.max_weight == w.max()


def test_few_large_weights_make_intervals_wide():
    rng = np.random.default_rng(0)
    logging, target = np.array([0.9, 0.08, 0.02]), np.array([0.1, 0.4, 0.5])
    chance, predicted = np.array([0.2, 0.5, 0.7]), 0.4
    items = rng.choice(3, size=(500, 30, 4), p=logging)
    rewards = rng.random(items.shape) < chance[items]
    off = predicted + (target / logging)[items] * (rewards - predicted)
    off -= target @ chance
    means = off.mean(axis=(1, 2))
    sums = (off - means[:, None, None]).sum(axis=2)
    held = [
        abs(mean) * off[0].size <= _half_width(row, 0.95)
        for mean, row in zip(means, sums, strict=True)
    ]
    # By the normal approximation they hold it in 0.86.
    assert 0.93 < np.mean(held) < 0.98


def test_what_no_log_tells_has_no_interval(world):
    log = world.log(0).assign(item_id=99)
    for method in ("ips", "dr"):
        estimate = off_policy_value(log, world.policy(0.3), method=method)
        assert estimate.effective_size == 0
        assert np.isnan(estimate.low)
        assert np.isnan(estimate.high)


def test_intervals_count_users_not_rows(world):
    log, policy = world.log(3).drop_duplicates("user_id"), world.policy(0.3)
    once = off_policy_value(log, policy, method="ips")
    w = world.target[log.user_id, log.item_id] / log.propensity
    terms = w * log.reward
    squares = (terms - terms.mean()) ** 2
    quantile = t.ppf(0.975, squares.sum() ** 2 / (squares**2).sum() - 1)
    width = quantile * terms.std(ddof=1) / np.sqrt(len(log))
    assert once.high - once.value == pytest.approx(width, rel=1e-5, abs=1e-9)
    twice = off_policy_value(pd.concat([log, log]), policy, method="ips")
    assert twice[:3] == pytest.approx(once[:3], abs=1e-9)


def test_the_logging_policy_itself_gets_its_mean_reward(world):
    log = world.log(0)
    policy = world.policy(0.0).assign(probability=world.logging.ravel())
    for method in ("ips", "snips"):
        estimate = off_policy_value(log, policy, method=method)
        assert estimate.value == pytest.approx(log.reward.mean(), abs=1e-9)
        assert estimate.effective_size == pytest.approx(len(log), abs=1e-6)


def test_recommendations_become_a_policy():
    table = pd.DataFrame(
        {
            "user_id": ["a", "b", "a", "b", "a"],
            "item_id": [1, 1, 2, 3, 3],
            "score": [700.0, 0.0, 698.0, 1.0, 699.0],
        },
        index=[9, 8, 7, 6, 5],
    )
    even = recommendation_policy(table)
    np.testing.assert_allclose(
        even.probability, [1 / 3, 1 / 2, 1 / 3, 1 / 2, 1 / 3], atol=1e-9
    )
    assert even.index.tolist() == table.index.tolist()
    soft = recommendation_policy(table, temperature=2.0)
    mine = soft.probability[soft.user_id == "a"].to_numpy()
    likelihood = np.exp([0.0, -1.0, -0.5])
    np.testing.assert_allclose(mine, likelihood / likelihood.sum(), atol=1e-9)
    with pytest.raises(ValueError, match="temperature must be above 0"):
        recommendation_policy(table, temperature=0.0)
    with pytest.raises(ValueError, match="recommendations has no column 'score'"):
        recommendation_policy(table[["user_id", "item_id"]], temperature=1.0)


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-3, 1.0, 1e300, np.inf])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_probabilities_add_up_at_any_temperature(temperature, scale):
    table = pd.DataFrame(
        {"user_id": [1, 1, 2], "item_id": [5, 6, 5], "score": [scale, -scale, 0.0]}
    )
    found = recommendation_policy(table, temperature).probability
    assert found[0] >= found[1] >= 0
    np.testing.assert_allclose(found[:2].sum(), 1, rtol=0, atol=1e-12)
    for odd in (np.nan, np.inf, -np.inf):
        with pytest.raises(
            ValueError, match=r"\['score'\] has .* in row 1: give finite"
        ):
            recommendation_policy(table.assign(score=[1.0, odd, 1.0]), temperature)


@pytest.mark.parametrize(
    ("change_log", "change_policy", "options", "message"),
    [
        ({}, {}, {"method": "dm"}, "method must be one of"),
        ({}, {}, {"level": 0.0}, "level must lie between 0 and 1"),
        ({}, {}, {"clip": 0.0}, "clip must be above 0"),
        ({"propensity": 0.0}, {}, {}, "propensity must be above 0 .* row 0 of log"),
        ({"propensity": np.nan}, {}, {}, "propensity must be above 0"),
        ({"reward": np.nan}, {}, {}, "reward is nan in row 0 of log"),
        ({"user_id": None}, {}, {}, r"log\['user_id'\] is missing"),
        ({"user_id": 777}, {}, {}, "policy has no row of user 777"),
        ({"item_id": 777}, {}, {"method": "snips"}, "would show none"),
        ({}, {"probability": 0.5}, {}, "probabilities of user 0 in policy sum to 2.5"),
        ({}, {"probability": -1.0}, {}, "probability below 0"),
        ({}, {"item_id": 1}, {}, "policy has item 1 of user 0 twice"),
        ({}, {"predicted": np.inf}, {}, "predicted is inf in row 0 of policy"),
    ],
)
def test_bad_input_is_named(world, change_log, change_policy, options, message):
    log = world.log(0).assign(**change_log)
    policy = world.policy(0.3).assign(**change_policy)
    with pytest.raises(ValueError, match=message):
        off_policy_value(log, policy, **options)


def test_missing_columns_are_named(world):
    log, policy = world.log(0), world.policy(0.3)
    with pytest.raises(ValueError, match="log has no column 'propensity'"):
        off_policy_value(log.drop(columns="propensity"), policy)
    with pytest.raises(ValueError, match="policy has no column 'predicted'"):
        off_policy_value(log, policy.drop(columns="predicted"))
    with pytest.raises(ValueError, match="log has no rows"):
        off_policy_value(log.head(0), policy)
