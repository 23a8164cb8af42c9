"""What modalities owe each other in training."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from skmmrec.catalog import Blocks
from tests.recommender.two_tastes import fit, share_of_own_side


def own_rank(rec, X, modality):
    """NDCG of ranking with everything but one modality taken away from the items."""

    model = deepcopy(rec)
    number = rec.model_.content.modalities.index(modality)
    mask = np.zeros_like(rec.model_.content.mask)
    mask[:, number] = rec.model_.content.mask[:, number]
    model.model_.content = Blocks(rec.model_.content.values, mask)
    with torch.no_grad():
        model.model_.networks[0].item_embedding.zero_()
    model.model_.update_items()
    model.model_.update_users()
    table = model.recommend(k=5, exclude_seen=False)
    return share_of_own_side(table)


def cosine_between_modalities(rec):
    """Mean cosine of the projected modalities of an item, less that of other items."""
    content = rec.model_.content
    blocks = [torch.from_numpy(block) for block in content.values.values()]
    with torch.no_grad():
        fusion = rec.model_.networks[0].fusion
        tokens = fusion.project(blocks, torch.from_numpy(content.mask))
    one, two = torch.nn.functional.normalize(tokens, dim=2).unbind(1)
    cosines = one @ two.T
    n = len(cosines)
    others = (cosines.sum() - cosines.trace()) / (n * n - n)
    return float(cosines.trace() / n - others)


def test_alignment_brings_modalities_together(tastes):
    items, X = tastes
    plain = cosine_between_modalities(fit(items, X))
    aligned = cosine_between_modalities(fit(items, X, regularization__alignment=1.0))
    assert aligned > 2 * plain


def test_balance_teaches_the_starved_modality(tastes):
    """One modality gives the taste away at once; the other, ten times fainter, learns.

    Its vectors tell the halves apart in one of many noisy directions.
    """
    items, X = tastes
    rng = np.random.default_rng(5)
    side = items.item_id.to_numpy() % 2
    faint = rng.normal(size=(len(items), 6))
    faint[:, 0] += 2.0 * (2 * side - 1)
    table = items[["item_id", "image__0", "image__1"]].copy()
    table[[f"audio__{c}" for c in range(6)]] = faint
    params = {
        "training__max_epochs": 6,
        "regularization__modality_dropout": 0.0,
        "fusion": "concat",
    }
    starved = fit(table, X, **params)
    balanced = fit(table, X, regularization__modality_balance=1.0, **params)
    assert own_rank(balanced, X, "audio") > own_rank(starved, X, "audio")
    assert own_rank(balanced, X, "audio") > 0.85


def test_a_single_modality_has_nobody_to_align_with(tastes):
    items, X = tastes
    table = items[["item_id", "text__0", "text__1"]]
    with pytest.raises(ValueError, match=r"alignment has no effect .* there are 1"):
        fit(table, X, regularization__alignment=0.5)
    rec = fit(table, X, regularization__modality_balance=0.5)
    assert np.isfinite(rec.loss_curve_).all()
