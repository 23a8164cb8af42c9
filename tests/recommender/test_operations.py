"""Whatever is done to a recommender, in whatever order: its answers stay consistent."""

import pickle
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.inspection import history_contributions, modality_contributions
from skmmrec.recommender import MeanTower, Propagation, SequenceTower, Training
from skmmrec.retrieval import fresh_places

N_USERS, N_ITEMS = 8, 10
COLUMNS = ["text__0", "text__1", "image__0", "image__1"]
STRANGER = 900

VARIANTS = [
    {},
    {"memory": 0.5},
    {"user_tower": SequenceTower(max_history=3), "memory": 0.2},
    {"user_tower": MeanTower(user_embedding=True), "n_members": 2},
    {"user_tower": "attention", "half_life": 2.0},
    {"objective": "bce"},
    {"objective": "mse"},
    {"objective": ["softmax", "mse"], "memory": 0.5},
    {"propagation": Propagation(n_neighbors=3), "half_life": 1.0},
]

SEEDS = st.integers(0, 10_000)
FEW = st.lists(st.integers(0, 30), min_size=1, max_size=3, unique=True)


class Operations(RuleBasedStateMachine):
    """A recommender, and who has met what by plain sets."""

    @initialize(variant=st.sampled_from(VARIANTS), seed=SEEDS, timed=st.booleans())
    def fit(self, variant, seed, timed):
        self.variant, self.timed = variant, timed
        self.rng = np.random.default_rng(seed)
        self.n_made, self.seen = 0, {}
        self.rec = MultimodalFusionRecommender(
            ItemCatalog(self.new_items(N_ITEMS), on_empty="ignore"),
            n_factors=4,
            training=Training(max_epochs=1, n_negatives=8),
            random_state=0,
            **variant,
        )
        self.give(self.rec.fit, 40, range(N_USERS))

    def new_items(self, n):
        """Content of items, of which a quarter lacks a modality."""
        table = pd.DataFrame(self.rng.normal(size=(n, 4)), columns=COLUMNS)
        for names in (COLUMNS[:2], COLUMNS[2:]):
            table.loc[self.rng.random(n) < 0.25, names] = np.nan
        table.insert(0, "item_id", np.arange(self.n_made, self.n_made + n))
        self.n_made += n
        return table

    def answers(self, n):
        objective = self.variant.get("objective", "softmax")
        kinds = [objective] if isinstance(objective, str) else objective
        least = {"softmax": (0, 3), "bce": (0, 2), "mse": (1, 6)}
        columns = [self.rng.integers(*least[kind], n) for kind in kinds]
        y = np.column_stack(columns).astype(float)
        # A memory and the mean know likes alone, or dislikes beside them.
        return y[:, 0] if len(kinds) == 1 else y

    def give(self, learn, n, users):
        items = self.items if self.seen else range(N_ITEMS)
        X = pd.DataFrame(
            {
                "user_id": self.rng.choice(list(users), n),
                "item_id": self.rng.choice(list(items), n),
            }
        )
        if self.timed:
            X["timestamp"] = self.rng.integers(0, 9, n)
        learn(X, self.answers(n))
        for user, item in X[["user_id", "item_id"]].itertuples(index=False):
            self.seen.setdefault(int(user), set()).add(int(item))

    @property
    def items(self):
        return self.rec.item_index_.tolist()

    def some(self, ids, places, left=0):
        """Ids at some places, so many of them left over."""
        chosen = dict.fromkeys(ids[place % len(ids)] for place in places)
        return list(chosen)[: max(0, len(ids) - left)]

    # -- what is done ------------------------------------------------------------------

    @rule(n=st.integers(1, 5))
    def feedback(self, n):
        self.give(self.rec.partial_fit, n, range(N_USERS + 4))

    @rule(n=st.integers(1, 2))
    def add(self, n):
        self.rec.add_items(self.new_items(n))

    @rule(places=FEW)
    def remove(self, places):
        gone = self.some(self.items, places, left=2)
        if gone:
            self.rec.remove_items(gone)
        for met in self.seen.values():
            met.difference_update(gone)
        assert not set(gone) & set(self.items)

    @rule(places=FEW)
    def forget(self, places):
        gone = self.some(self.rec.user_index_.tolist(), places, left=1)
        if gone:
            self.rec.forget(gone)
        for user in gone:
            del self.seen[user]

    @rule()
    def save_and_load(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model"
            self.rec.save(path)
            again = MultimodalFusionRecommender.load(path, self.rec.catalog)
        self.take_over(again)

    @rule(protocol=st.integers(2, pickle.HIGHEST_PROTOCOL))
    def pickled(self, protocol):
        self.take_over(pickle.loads(pickle.dumps(self.rec, protocol)))

    def take_over(self, again):
        assert again.model_.fingerprint() == self.rec.model_.fingerprint()
        vectors = [rec.user_vectors_ for rec in (again, self.rec)]
        pd.testing.assert_frame_equal(*vectors, check_exact=True)
        tables = [rec.recommend(k=9, exclude_seen=False) for rec in (again, self.rec)]
        pd.testing.assert_frame_equal(*tables, check_exact=True)
        self.rec = again

    @rule()
    def mistakes_change_nothing(self):
        rec, known, before = self.rec, self.items[0], self.rec.model_
        n_listed = len(rec.catalog)
        new = pd.DataFrame({"user_id": [STRANGER, STRANGER], "item_id": [known, 999]})
        calls = [
            (lambda: rec.forget([int(rec.user_index_[0]), STRANGER]), "not known"),
            (lambda: rec.remove_items([known, 999]), "not known"),
            (lambda: rec.remove_items(self.items), "nothing would be left"),
            (lambda: rec.partial_fit(new, self.answers(2)), "not in the catalogue"),
            (lambda: rec.partial_fit(new[:1], [np.inf]), r"\by\b"),
            (lambda: rec.add_items(pd.concat([self.new_items(1)] * 2)), "earlier row"),
            (lambda: rec.recommend(fresh=1.5), "fresh must be"),
        ]
        fingerprint = before.fingerprint()
        for call, words in calls:
            with pytest.raises(ValueError, match=words):
                call()
        assert rec.model_ is before
        assert rec.model_.fingerprint() == fingerprint
        assert len(rec.catalog) == n_listed

    # -- what holds --------------------------------------------------------------------

    @invariant()
    def lists_are_those_of_the_scores(self):
        rec, items, rng = self.rec, self.items, self.rng
        assert set(rec.user_index_) == set(self.seen)
        users = [*rng.permutation(rec.user_index_.to_numpy())[:3], STRANGER]
        k, excluded = int(rng.integers(1, len(items) + 2)), bool(rng.integers(2))
        some = rng.permutation(items)[: rng.integers(1, len(items) + 1)]
        table = rec.recommend(users, k, items=some, exclude_seen=excluded)
        for user in users:
            scores = self.scores(user)
            allowed = set(some.tolist())
            if excluded:
                allowed -= self.seen.get(int(user), set())
            best = sorted(allowed, key=lambda i: (-scores[i], items.index(i)))[:k]
            own = table[table.user_id == user].reset_index(drop=True)
            assert own.item_id.tolist() == best
            assert own["rank"].tolist() == list(range(1, len(best) + 1))
            assert own.score.tolist() == [scores[item] for item in best]
            alone = rec.recommend([user], k, items=some, exclude_seen=excluded)
            pd.testing.assert_frame_equal(alone, own, check_exact=True)
        self.check_fresh(users, k, some, excluded, table)
        self.check_parts(table)

    def scores(self, user):
        pairs = pd.DataFrame({"user_id": user, "item_id": self.items})
        scores = self.rec.predict(pairs)
        first = scores if scores.ndim == 1 else scores[:, 0]
        assert np.isfinite(scores).all()
        return dict(zip(self.items, first.tolist(), strict=True))

    def check_fresh(self, users, k, some, excluded, plain):
        met, places = int(self.rng.integers(3)), fresh_places(0.5, k)
        options = {"items": some, "exclude_seen": excluded}
        table = self.rec.recommend(users, k, fresh=0.5, fresh_met=met, **options)
        counts = dict(zip(self.items, self.rec.seen_.popularity, strict=True))
        for user in users:
            own = table[table.user_id == user].item_id.tolist()
            assert len(own) == len(set(own)) == (plain.user_id == user).sum()
            left = set(some.tolist())
            if excluded:
                left -= self.seen.get(int(user), set())
            assert set(own) <= left
            n_new = sum(counts[item] <= met for item in left)
            is_new = [counts[item] <= met for item in own]
            for number, place in enumerate(places, start=1):
                if place < len(own):
                    assert sum(is_new[: place + 1]) >= min(number, n_new)

    def check_parts(self, table):
        """Explanations add up to the score, or to its log-odds."""
        if not len(table):
            return
        pairs = table.user_id.tolist(), table.item_id.tolist()
        by_modality = modality_contributions(self.rec, *pairs)
        sums = by_modality.drop(columns=["user_id", "item_id"]).sum(axis=1)
        long = history_contributions(self.rec, *pairs)
        is_last = long.met.isna().to_numpy()
        number = np.cumsum(is_last) - is_last
        met = np.bincount(number, long.contribution)
        for total in (sums.to_numpy(), met):
            if self.variant.get("objective") == "bce":
                total = 1 / (1 + np.exp(-total))
            np.testing.assert_allclose(total, table.score, rtol=1e-4, atol=1e-5)


# Fourteen runs reach each variant and each pair of operations; 20 s on one core.
TestOperations = pytest.mark.filterwarnings("ignore::UserWarning")(Operations.TestCase)
TestOperations.settings = settings(
    max_examples=14,
    stateful_step_count=8,
    database=None,
    suppress_health_check=list(HealthCheck),
)
