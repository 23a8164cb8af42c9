"""Shapley values against all orders of three modalities, by public methods only."""

from itertools import permutations

import numpy as np
import pandas as pd
import pytest

from skmmrec import MultimodalFusionRecommender
from skmmrec.fusion import get_fusion_names
from skmmrec.inspection import modality_contributions, modality_shares
from skmmrec.recommender import Training

MODALITIES = ["text", "image", "audio"]


@pytest.fixture(params=get_fusion_names())
def recommender(request, flat):
    return MultimodalFusionRecommender(
        fusion=request.param,
        n_factors=12,
        random_state=0,
        training=Training(max_epochs=4),
    ).fit(flat)


@pytest.fixture
def pairs(flat):
    """Every item, for a user who met it, and for one who need not have."""
    rows = flat.drop_duplicates("item_id")
    return pd.concat([rows, rows.assign(user_id=100)])


def worth(recommender, pairs, kept):
    """Score of each pair when its item keeps only some modalities."""
    hidden = [c for c in pairs if "__" in c and c.partition("__")[0] not in kept]
    return recommender.predict(pairs.assign(**dict.fromkeys(hidden, np.nan)))


def brute_force(recommender, pairs):
    orders = list(permutations(MODALITIES))
    values = dict.fromkeys(MODALITIES, 0.0)
    for order in orders:
        for place, modality in enumerate(order):
            joined = worth(recommender, pairs, order[: place + 1])
            before = worth(recommender, pairs, order[:place])
            values[modality] += (joined - before) / len(orders)
    return pd.DataFrame(values)


def test_equals_the_mean_over_all_orders(recommender, pairs):
    table = modality_contributions(recommender, pairs.user_id, pairs.item_id)
    assert list(table) == ["user_id", "item_id", "interactions", *MODALITIES]
    expected = brute_force(recommender, pairs)
    np.testing.assert_allclose(table[MODALITIES], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        table.interactions, worth(recommender, pairs, ()), rtol=1e-5, atol=1e-6
    )


def test_adds_up_to_the_score(recommender, pairs):
    table = modality_contributions(recommender, pairs.user_id, pairs.item_id)
    total = table[["interactions", *MODALITIES]].sum(axis=1)
    np.testing.assert_allclose(total, recommender.predict(pairs), rtol=1e-5, atol=1e-5)


def test_new_users(recommender, pairs):
    pairs = pairs.assign(user_id=1)
    table = modality_contributions(recommender, pairs.user_id, pairs.item_id)
    total = table[["interactions", *MODALITIES]].sum(axis=1)
    np.testing.assert_allclose(total, recommender.predict(pairs), rtol=1e-5, atol=1e-5)


def test_a_missing_modality_is_zero(recommender, pairs):
    """The item i01 has no text."""
    table = modality_contributions(recommender, pairs.user_id, pairs.item_id)
    silent = table.item_id == "i01"
    assert silent.any()
    assert table.text[silent].eq(0).all()
    assert table.text[~silent].ne(0).all()
    assert table[["image", "audio"]].ne(0).all(axis=None)


def test_shares_sum_to_one(recommender, pairs):
    table = modality_contributions(recommender, pairs.user_id, pairs.item_id)
    shares = modality_shares(table)
    assert list(shares) == MODALITIES
    speaks_for = table[MODALITIES].gt(0)
    np.testing.assert_allclose(shares.sum(axis=1), speaks_for.any(axis=1), atol=1e-9)
    assert shares.gt(0).equals(speaks_for)


def test_pairs_do_not_see_each_other(recommender, pairs):
    table = modality_contributions(recommender, pairs.user_id, pairs.item_id)
    for row in (0, 7, 20):
        alone = modality_contributions(
            recommender, pairs.user_id.iloc[[row]], pairs.item_id.iloc[[row]]
        )
        np.testing.assert_allclose(
            alone[MODALITIES], table[MODALITIES].iloc[[row]], rtol=1e-9, atol=1e-9
        )


def test_bad_pairs_are_refused(recommender):
    with pytest.raises(ValueError, match=r"'zz' \(row 1\)"):
        modality_contributions(recommender, [100, 100], ["i00", "zz"])
    with pytest.raises(ValueError, match="users has 1 entries, items 2"):
        modality_contributions(recommender, [100], ["i00", "i01"])
