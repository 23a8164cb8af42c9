"""It learns: on generated data whose truth is known."""

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.datasets import make_multimodal_interactions
from skmmrec.fusion import get_fusion_names
from skmmrec.metrics import ndcg_at_k
from skmmrec.recommender import ItemKNNRecommender, PopularityRecommender, Training

N_COLD = 30


@pytest.fixture(scope="module")
def truth():
    return make_multimodal_interactions(
        100,
        120,
        n_interactions_per_user=14,
        modalities=["text"],
        n_cold_items=N_COLD,
        popularity_strength=0.5,
        taste_strength=4.0,
        random_state=0,
    )


@pytest.fixture(scope="module")
def catalog(truth):
    """The true item factors as ready vectors of two modalities."""
    factors = truth.item_factors["text"]
    names = [f"{'image' if c % 2 else 'text'}__{c}" for c in range(factors.shape[1])]
    noise = np.random.default_rng(0).normal(scale=0.1, size=factors.shape)
    table = pd.DataFrame(factors + noise, columns=names)
    return ItemCatalog(table.assign(item_id=truth.item_table.item_id))


@pytest.fixture(scope="module")
def split(truth):
    """Each user's last fifth is held out."""
    rows = truth.interactions.sort_values(["user_id", "timestamp"])
    place = rows.groupby("user_id").cumcount() / rows.groupby("user_id").transform(
        "size"
    )
    rows = rows[["user_id", "item_id", "timestamp"]]
    return rows[place < 0.8], rows[place >= 0.8]


@pytest.fixture(scope="module")
def popularity(split):
    return PopularityRecommender().fit(split[0]).score(split[1])


@pytest.fixture(scope="module", params=get_fusion_names())
def learned(request, catalog, split):
    return MultimodalFusionRecommender(
        catalog, fusion=request.param, n_factors=16, random_state=0
    ).fit(split[0])


def test_it_beats_popularity_by_far(learned, split, popularity):
    assert learned.score(split[1]) > 1.3 * popularity


def test_it_beats_neighbours(learned, split):
    assert learned.score(split[1]) > ItemKNNRecommender().fit(split[0]).score(split[1])


def test_it_ranks_new_items_by_content(learned, truth, split):
    """NDCG@10 against the ten that each user would truly like best; random ~ 0.25."""
    users = split[0].user_id.unique()
    table = learned.recommend(users, k=N_COLD, items=truth.cold_items)
    ranks = table.pivot(index="user_id", columns="item_id", values="rank").loc[users]
    affinity = truth.affinity(users, ranks.columns)
    best = (-affinity).argsort(axis=1)[:, :10]
    relevant = np.zeros(affinity.shape)
    np.put_along_axis(relevant, best, 1, axis=1)

    def ndcg(order):
        hits = np.take_along_axis(relevant, order, axis=1)
        return ndcg_at_k(hits, np.full(len(users), 10)).mean()

    rng = np.random.default_rng(0)
    random = np.mean(
        [ndcg(rng.random(relevant.shape).argsort(axis=1)) for _ in range(5)]
    )
    assert ndcg(ranks.to_numpy().argsort(axis=1)) > 1.5 * random


def test_content_is_what_ranks_them(split, catalog, truth):
    """Vectors dealt to the wrong items teach nothing about new ones."""
    table = catalog.items.copy()
    columns = table.columns.drop("item_id")
    shuffled = np.random.default_rng(0).permutation(table[columns])
    wrong = ItemCatalog(
        pd.DataFrame(shuffled, columns=columns).assign(item_id=table.item_id)
    )
    users = split[0].user_id.unique()
    correlations = []
    for content in (catalog, wrong):
        recommender = MultimodalFusionRecommender(
            content, n_factors=16, random_state=0
        ).fit(split[0])
        scores = recommender.recommend(users, k=N_COLD, items=truth.cold_items).pivot(
            index="user_id", columns="item_id", values="score"
        )
        affinity = truth.affinity(scores.index, scores.columns)
        rows = zip(scores.to_numpy(), affinity, strict=True)
        correlations.append(np.mean([np.corrcoef(s, a)[0, 1] for s, a in rows]))
    assert correlations[0] > 0.3
    assert abs(correlations[1]) < 0.15


def test_new_items_reach_the_lists(catalog, split, truth):
    """Their share of the lists grows with the users they are credited with."""
    shares = [
        MultimodalFusionRecommender(
            catalog,
            n_factors=16,
            cold_popularity=n,
            random_state=0,
            training=Training(max_epochs=5),
        )
        .fit(split[0])
        .recommend(k=10)
        .item_id.isin(truth.cold_items)
        .mean()
        for n in (0.5, 5, 50)
    ]
    assert shares[0] < shares[1] < shares[2]
    assert shares[0] < 0.1
    assert shares[2] > 0.3
