"""Content-kNN against cosines of means."""

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog
from skmmrec.recommender import ContentKNNRecommender


def unit(rows):
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)


def expected_scores(items, X, y):
    """Mean cosine of profile and item over the modalities that the item has."""
    table = items.set_index("item_id")
    scores, n_present = 0, 0
    for modality in ("text", "image", "audio"):
        block = table.filter(regex=f"^{modality}__").to_numpy()
        present = ~np.isnan(block).any(axis=1)
        centred = np.where(
            present[:, None], unit(block - block[present].mean(axis=0)), 0
        )
        liked = pd.crosstab(X[y > 0].user_id, X[y > 0].item_id)
        liked = liked.reindex(columns=table.index, fill_value=0)
        scores = scores + unit(liked.to_numpy() @ centred) @ centred.T
        n_present = n_present + present
    return pd.DataFrame(scores / n_present, liked.index, table.index)


def test_scores_are_mean_cosines(items, X, y):
    recommender = ContentKNNRecommender(ItemCatalog(items)).fit(X, y)
    expected = expected_scores(items, X, y)
    users = expected.index
    table = recommender.recommend(users, k=99, exclude_seen=False)
    assert len(table) == expected.size
    for row in table.itertuples():
        value = expected.loc[row.user_id, row.item_id]
        assert row.score == pytest.approx(value, abs=1e-6)


def test_items_that_nobody_met_are_ranked(items, X, y):
    cold = ["i03", "i07", "i10"]
    warm = ~X.item_id.isin(cold)
    recommender = ContentKNNRecommender(ItemCatalog(items)).fit(X[warm], y[warm])
    users = X.user_id[warm & (y > 0)].unique()
    table = recommender.recommend(users, items=cold, k=3)
    assert len(table) == 3 * len(users)
    assert set(table.item_id) == set(cold)
    assert table.score.abs().gt(1e-3).all()


def test_flat_and_catalogue_forms_agree(items, X, y, flat):
    options = {"k": 99, "exclude_seen": False}
    one = ContentKNNRecommender(ItemCatalog(items)).fit(X, y).recommend(**options)
    other = ContentKNNRecommender().fit(flat, y).recommend(**options)
    pd.testing.assert_frame_equal(one, other)


def test_modalities_of_the_flat_form(flat, y):
    recommender = ContentKNNRecommender(modalities={"a": ["image__0", "image__1"]})
    assert recommender.fit(flat, y).content_.shape[1] == 2


def test_components_reduce_the_content(items, X):
    recommender = ContentKNNRecommender(ItemCatalog(items), n_components=2).fit(X)
    assert recommender.content_.shape == (len(items), 6)
    lengths = np.linalg.norm(recommender.content_.reshape(-1, 3, 2), axis=2)
    text = items.text__0.notna().to_numpy()
    np.testing.assert_allclose(lengths[:, 1:], 1, rtol=1e-5)
    np.testing.assert_allclose(lengths[:, 0], text, rtol=1e-5)


def test_an_item_that_the_catalogue_lacks(items, X):
    with pytest.raises(ValueError, match=r"item 'i03' .* not in the catalogue"):
        ContentKNNRecommender(ItemCatalog(items[items.item_id != "i03"])).fit(X)


def test_columns_besides_a_catalogue(items, flat):
    with pytest.raises(ValueError, match="unknown columns"):
        ContentKNNRecommender(ItemCatalog(items)).fit(flat)
