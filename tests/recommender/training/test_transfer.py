"""What is learned in one domain helps in another that is small."""

import numpy as np
import pandas as pd
import pytest
from sklearn.frozen import FrozenEstimator

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender.training import _training

N_TASTE, N_NOISE = 3, 30


def domain(name, n_users, n_items, n_likes, seed):
    """Users like items by three directions of the content, hidden among thirty."""
    rng = np.random.default_rng(seed)
    content = rng.normal(size=(n_items, N_TASTE + N_NOISE))
    taste = rng.normal(size=(n_users, N_TASTE))
    affinity = 3 * taste @ content[:, :N_TASTE].T + rng.gumbel(size=(n_users, n_items))
    liked = (-affinity).argsort(axis=1)[:, :n_likes]
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(33, 33)))[0]
    items = pd.DataFrame(content @ turn).add_prefix("text__")
    items.insert(0, "item_id", [f"{name}{n}" for n in range(n_items)])
    order = rng.permuted(liked, axis=1)
    X = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(n_users), n_likes),
            "item_id": items.item_id.to_numpy()[order.ravel()],
        }
    )
    return ItemCatalog(items), X, np.tile(np.arange(n_likes) < n_likes - 2, n_users)


@pytest.fixture(scope="module")
def source():
    """Books, say: many users with many likes."""
    catalog, X, _ = domain("book", 400, 300, 20, seed=1)
    return MultimodalFusionRecommender(catalog, n_factors=16, random_state=0).fit(X)


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_a_small_domain_learns_from_a_large_one(source, seed):
    """Films, say: forty users with four likes each, two more held out."""
    catalog, X, is_train = domain("film", 40, 300, 6, seed)
    scores = [
        MultimodalFusionRecommender(
            catalog, n_factors=16, pretrained=pretrained, random_state=0
        )
        .fit(X[is_train])
        .score(X[~is_train])
        for pretrained in (None, FrozenEstimator(source))
    ]
    assert scores[1] > 1.1 * scores[0]


def test_few_rows_do_not_undo_what_was_learned_elsewhere(source, monkeypatch):
    """The projections change less than at the full learning rate."""
    catalog, X, _ = domain("film", 40, 300, 6, seed=2)
    moved = []
    for rate in (_training.TRANSFER_RATE, 1.0):
        monkeypatch.setattr(_training, "TRANSFER_RATE", rate)
        rec = MultimodalFusionRecommender(
            catalog, n_factors=16, pretrained=FrozenEstimator(source), random_state=0
        )
        moved.append(np.linalg.norm(projection(rec.fit(X)) - projection(source)))
    assert 0 < moved[0] < 0.5 * moved[1]


def projection(rec):
    (network,) = rec.model_.networks
    return network.fusion.projections[0].weight.detach().numpy()
