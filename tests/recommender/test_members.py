"""Several networks in one recommender: their scores are averaged."""

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender.training import _loop
from tests.recommender.test_fit import assert_same_model

IDS = ["user_id", "item_id"]


@pytest.fixture(scope="module", params=["mean", "attention"])
def pair(request, make, catalog, X):
    return make(catalog, n_members=2, user_tower=request.param).fit(X)


def of_one(make, pair, number, X):
    """The recommender whose only network is one of the pair."""
    rec = make(pair.catalog, user_tower=pair.user_tower, training__max_epochs=0).fit(X)
    rec.model_.networks = [pair.model_.networks[number]]
    rec.model_.update_items()
    rec.model_.update_users()
    return rec


def test_scores_are_means(make, pair, X, all_pairs):
    singles = [of_one(make, pair, number, X) for number in (0, 1)]
    expected = np.mean([rec.predict(all_pairs) for rec in singles], axis=0)
    np.testing.assert_allclose(pair.predict(all_pairs), expected, rtol=1e-5, atol=1e-5)
    assert not np.allclose(singles[0].predict(all_pairs), expected, atol=1e-5)
    assert pair.item_vectors_.shape[1] == 12
    assert len(pair.get_feature_names_out()) == 12


def test_the_first_network_is_that_of_a_single_fit(make, pair, catalog, X):
    single = make(catalog, user_tower=pair.user_tower).fit(X)
    np.testing.assert_allclose(
        of_one(make, pair, 0, X).item_vectors_,
        single.item_vectors_,
        rtol=1e-6,
        atol=1e-6,
    )


def test_a_pair_is_saved(pair, tmp_path):
    pair.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.recommend(), pair.recommend())
    pd.testing.assert_frame_equal(loaded.item_vectors_, pair.item_vectors_)


def test_served_vectors_score_as_predict_does(pair, all_pairs):
    vectors = pair.serving_vectors()
    known = all_pairs[all_pairs.user_id.isin(pair.user_index_)]
    scores = (
        vectors.users.loc[known.user_id].to_numpy()
        * vectors.items.loc[known.item_id].to_numpy()
    ).sum(axis=1)
    np.testing.assert_allclose(scores, pair.predict(known), rtol=1e-4, atol=1e-5)


def test_feedback_and_new_items(make, items, X):
    rec = make(ItemCatalog(items), n_members=2).fit(X[IDS])
    rec.add_items(items.head(2).assign(item_id=["n1", "n2"]))
    rec.partial_fit(pd.DataFrame({"user_id": [7, 7], "item_id": ["n1", "i05"]}))
    expected = rec.item_vectors_.loc[["n1", "i05"]].mean()
    np.testing.assert_allclose(rec.user_vectors_.loc[7], expected, atol=1e-6)


def test_several_tasks(make, catalog, X, y):
    both = np.column_stack([y > 0, y])
    rec = make(catalog, n_members=2, objective=["bce", "mse"]).fit(X, both)
    singles = []
    for network in rec.model_.networks:
        one = make(catalog, objective=["bce", "mse"], training__max_epochs=0).fit(
            X, both
        )
        one.model_.networks = [network]
        one.model_.update_items()
        one.model_.update_users()
        singles.append(one.predict(X)[:, 1])
    np.testing.assert_allclose(
        rec.predict(X)[:, 1], np.mean(singles, axis=0), rtol=1e-4, atol=1e-4
    )


def test_a_kill_between_the_networks(make, catalog, X, tmp_path, monkeypatch):
    """What the first has learned is not learned again."""
    epochs = []
    epoch = _loop.Trainer._epoch

    def count(self, *args):
        epochs.append(1)
        if len(epochs) == 5:
            raise KeyboardInterrupt
        return epoch(self, *args)

    straight = make(catalog, n_members=2).fit(X)
    monkeypatch.setattr(_loop.Trainer, "_epoch", count)
    with pytest.raises(KeyboardInterrupt):
        make(catalog, n_members=2, training__checkpoint_dir=tmp_path).fit(X)
    assert len(list(tmp_path.iterdir())) == 2
    resumed = make(catalog, n_members=2, training__checkpoint_dir=tmp_path).fit(X)
    assert len(epochs) == 5 + 2
    assert_same_model(straight, resumed)
    assert not list(tmp_path.iterdir())


def test_a_pair_starts_from_a_pair(make, catalog, X):
    source = make(catalog, n_members=2).fit(X)
    rec = make(
        catalog, n_members=2, training__max_epochs=0, pretrained=FrozenEstimator(source)
    ).fit(X)
    for one, other in zip(rec.model_.networks, source.model_.networks, strict=True):
        for ours, theirs in zip(
            one.fusion.parameters(), other.fusion.parameters(), strict=True
        ):
            np.testing.assert_array_equal(ours.detach(), theirs.detach())
