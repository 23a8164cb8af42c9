"""Settings that are tested alone, together: each pair of values, and all that follows.

The rows are a covering array: every two values of two settings occur in one of them.
"""

import random
import re
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.inspection import history_contributions, modality_contributions
from skmmrec.recommender import (
    AttentionTower,
    EarlyStopping,
    MeanTower,
    Propagation,
    Regularization,
    SequenceTower,
)

IDS = ["user_id", "item_id"]
LEVELS = {
    "is_flat": [False, True],
    "has_user_catalog": [False, True],
    "has_times": [True, False],
    "has_weights": [False, True],
    "fusion": ["gated", "transformer", "late_stacking"],
    "user_tower": [
        MeanTower(history_exponent=0.5),
        MeanTower(user_embedding=True),
        AttentionTower(),
        SequenceTower(max_history=3),
    ],
    "objective": ["softmax", "bce", "mse", ["bpr", "mse"]],
    "n_members": [1, 2],
    "half_life": ["auto", 2.0],
    "memory": [None, 0.5],
    "propagation": [None, Propagation(share=0.5, n_neighbors=2)],
    "regularization": [
        None,
        Regularization(
            id_dropout=0.3,
            history_dropout=0.3,
            alignment=0.1,
            modality_balance=0.3,
            n_components=2,
        ),
    ],
    "early_stopping": [None, EarlyStopping(metric="loss", n_iter_no_change=1)],
    "training__partial_fit_epochs": [0, 1],
}


def covering(levels, seed=0):
    """Rows of places in `levels`, with all pairs of them: the best of random ones."""
    rng, sizes = random.Random(seed), [len(some) for some in levels.values()]
    left = {
        (a, i, b, j)
        for a, b in combinations(range(len(sizes)), 2)
        for i in range(sizes[a])
        for j in range(sizes[b])
    }
    while left:
        drawn = []
        for a, i, b, j in rng.choices(sorted(left), k=50):
            row = [rng.randrange(size) for size in sizes]
            row[a], row[b] = i, j
            drawn.append((left & pairs_of(row), row))
        covered, best = max(drawn, key=lambda each: len(each[0]))
        left -= covered
        yield best


def pairs_of(row):
    return {(a, row[a], b, row[b]) for a, b in combinations(range(len(row)), 2)}


ROWS = list(covering(LEVELS))


def test_all_pairs_are_covered():
    n = [len(some) for some in LEVELS.values()]
    assert len(set.union(*map(pairs_of, ROWS))) == sum(
        a * b for a, b in combinations(n, 2)
    )
    assert len(ROWS) < 30


class World:
    """Rows for a recommender of some levels, and who has met what by plain sets."""

    def __init__(self, row, items, ratings):
        named = zip(LEVELS.items(), row, strict=True)
        self.levels = {name: some[place] for (name, some), place in named}
        self.items, self.seen = items, {}
        self.rng = np.random.default_rng(0)
        self.has = {
            name.partition("_")[2]: self.levels.pop(name)
            for name in [*self.levels]
            if name.startswith(("is_", "has_"))
        }
        # The last item comes later, and nobody has met the one before.
        known = ~ratings.item_id.isin(items.item_id.iloc[-2:])
        self.pairs = ratings.loc[known, IDS].reset_index(drop=True)

    def rows(self, pairs):
        X = pairs[IDS].copy()
        if self.has["times"]:
            X["timestamp"] = self.rng.integers(0, 5, len(X))
        if self.has["flat"]:
            X = X.merge(self.items, on="item_id", how="left")
        return X

    def answers(self, n):
        objective = self.levels["objective"]
        kinds = [objective] if isinstance(objective, str) else objective
        most = {"softmax": (1, 2), "bpr": (1, 2), "bce": (0, 2), "mse": (1, 6)}
        y = np.column_stack([self.rng.integers(*most[kind], n) for kind in kinds])
        weights = self.rng.integers(0, 3, n) if self.has["weights"] else np.ones(n)
        weights[0] = 1
        return y[:, 0] if len(kinds) == 1 else y, weights

    def learn(self, pairs, *learning):
        """Give the same rows to some methods."""
        X, (y, weights) = self.rows(pairs), self.answers(len(pairs))
        for method in learning:
            method(X, y, weights)
        for user, item in pairs[weights > 0].itertuples(index=False):
            self.seen.setdefault(user, set()).add(item)
        return X, y, weights

    def unfitted(self):
        rec = MultimodalFusionRecommender(n_factors=4, random_state=0, verbose=False)
        rec.set_params(training__max_epochs=1, training__n_negatives=5, **self.levels)
        if not self.has["flat"]:
            rec.set_params(catalog=ItemCatalog(self.items.iloc[:-1]))
        if self.has["user_catalog"]:
            users = pd.DataFrame({"user_id": range(100, 109)})
            users["age__0"] = np.arange(9.0)
            rec.set_params(user_catalog=ItemCatalog(users, key="user_id"))
            self.seen.update({user: set() for user in users.user_id})
        return rec

    def fitted(self):
        """Fit, once what cannot have an effect is left out: the error names it."""
        rec = self.unfitted()
        defaults = MultimodalFusionRecommender().get_params()
        given = self.learn(self.pairs)
        for _ in LEVELS:
            try:
                return rec.fit(*given), given
            except ValueError as error:
                name = re.match(r"(\w+) has no effect here", str(error))
                if name is None:
                    raise
                rec.set_params(**{name[1]: defaults[name[1]]})
        raise AssertionError("something has no effect whatever is left out")


def loaded(rec, folder):
    """Save and load, with the same catalogues."""
    rec.save(folder)
    again = MultimodalFusionRecommender.load(folder, rec.catalog)
    return again.set_params(user_catalog=rec.user_catalog)


def check(rec, world, folder):
    """Lists, scores, explanations and what is saved agree; a saved copy is returned."""
    n, users = len(rec.item_index_), rec.user_index_
    met = {u: {*rec.item_index_[rec.seen_.of(n)]} for n, u in enumerate(users)}
    assert met == world.seen
    lists = rec.recommend(k=n)
    assert np.isfinite(lists.score).all()
    assert len(lists) == len(users) * n - sum(map(len, met.values()))
    assert not any(item in met[user] for user, item in lists[IDS].to_numpy())
    assert (lists.groupby("user_id").score.diff().fillna(0) <= 0).all()
    table = world.rows(lists)
    if "timestamp" in table:
        table["timestamp"] = 0
    first = rec.predict(table).reshape(len(table), -1)[:, 0]
    np.testing.assert_allclose(first, lists.score, rtol=1e-4, atol=1e-5)
    vectors = rec.item_vectors_.loc[lists.item_id]
    np.testing.assert_allclose(rec.transform(table), vectors, rtol=1e-4, atol=1e-5)
    check_parts(rec, lists[lists["rank"] <= 2])
    again = loaded(rec, folder)
    assert again.model_.fingerprint() == rec.model_.fingerprint()
    pd.testing.assert_frame_equal(
        again.user_vectors_, rec.user_vectors_, check_exact=True
    )
    pd.testing.assert_frame_equal(again.recommend(k=n), lists, check_exact=True)
    return again


def check_parts(rec, table):
    """Explanations add up to the score, or to its log-odds."""
    pairs = table.user_id.tolist(), table.item_id.tolist()
    sums = modality_contributions(rec, *pairs).drop(columns=IDS).sum(axis=1)
    long = history_contributions(rec, *pairs)
    is_last = long.met.isna().to_numpy()
    by_item = np.bincount(np.cumsum(is_last) - is_last, long.contribution)
    for total in (sums.to_numpy(), by_item):
        if rec.model_.tasks[0].objective == "bce":
            total = 1 / (1 + np.exp(-total))
        np.testing.assert_allclose(total, table.score, rtol=1e-4, atol=1e-5)


def likes(*pairs):
    return pd.DataFrame(pairs, columns=IDS)


@pytest.mark.filterwarnings("ignore:no interaction has y above 0:UserWarning")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: "".join(map(str, row)))
def test_any_two_settings_go_together(row, items, ratings, tmp_path):
    """What was saved before learns the same as what goes on."""
    world, folder = World(row, items, ratings), tmp_path / "model"
    rec, given = world.fitted()
    again = check(rec, world, folder)
    refitted = clone(rec).fit(*given)
    assert refitted.model_.fingerprint() == rec.model_.fingerprint()

    new, unmet, known = items.item_id.iloc[-1], items.item_id.iloc[-2], "i03"
    if not world.has["flat"]:
        rec.add_items(items.tail(1))
        again.add_items(items[["item_id"]].tail(1))  # the catalogue has it by now
    feedback = likes((103, unmet), (103, known), (900, new), (900, "i05"))
    world.learn(feedback, rec.partial_fit, again.partial_fit)
    assert again.model_.fingerprint() == rec.model_.fingerprint()
    again = check(rec, world, folder)

    before = rec.model_
    with pytest.raises(ValueError, match=r"user -5 .* is not known"):
        rec.forget([101, -5])
    with pytest.raises(ValueError, match=r"item 'nope' .* is not known"):
        rec.remove_items([known, "nope"])
    assert rec.model_ is before

    for each in (rec, again):
        each.remove_items(["i04", known]).forget([101, 900])
    for user in (101, 900):
        del world.seen[user]
    for met in world.seen.values():
        met.difference_update(["i04", known])
    assert again.model_.fingerprint() == rec.model_.fingerprint()
    again = check(rec, world, folder)
    world.learn(likes((900, "i06"), (102, "i05")), rec.partial_fit, again.partial_fit)
    assert again.model_.fingerprint() == rec.model_.fingerprint()
    check(rec, world, folder)
