"""Fusion at decision level: one score per modality."""

import pytest
import torch

from skmmrec.fusion import get_fusion

WIDTHS, DIM, N = (5, 3), 13, 6
SEGMENT = 6


@pytest.fixture
def blocks():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(N, w, generator=generator).double() for w in WIDTHS]


@pytest.fixture
def mask():
    return torch.tensor([[True, True]] * 4 + [[True, False], [False, True]])


@pytest.mark.parametrize("kind", ["late", "late_mean", "late_stacking"])
def test_the_score_is_the_weighted_sum_of_the_modalities_cosines(kind, blocks, mask):
    module = get_fusion(kind)(WIDTHS, DIM).double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name == "logits":
                parameter.copy_(torch.tensor([1.0, -1.0]))
    vectors = module(blocks, mask)
    cosines = [
        torch.nn.functional.normalize(b @ p.weight.T, dim=1)
        for b, p in zip(blocks, module.projections, strict=True)
    ]
    roots = module.weights(blocks, mask).sqrt()  # 0 where missing
    expected = module.log_scale.exp() * sum(
        torch.outer(root, root) * (c @ c.T)
        for root, c in zip(roots.T, cosines, strict=True)
    )
    torch.testing.assert_close(vectors @ vectors.T, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["late", "late_mean", "late_stacking"])
def test_modalities_keep_to_their_segments(kind, blocks, mask):
    module = get_fusion(kind)(WIDTHS, DIM).double()
    alone = torch.tensor([[True, False], [False, True]]).repeat(3, 1)
    first, second = module(blocks, alone).split([SEGMENT, DIM - SEGMENT], dim=1)
    assert first[::2].any(dim=1).all()
    assert not first[1::2].any()
    assert not second[::2].any()
    assert second[1::2].any(dim=1).all()


def test_stacked_projections_learn_alone(blocks, mask):
    module = get_fusion("late_stacking")(WIDTHS, DIM).double()
    assert module.learns_alone
    vectors = module(blocks, mask)
    (vectors @ vectors[0]).sum().backward()
    assert all(p.weight.grad is None for p in module.projections)
    assert module.logits.grad.any()
    module.alone(module.project(blocks, mask)).sum().backward()
    assert all(p.weight.grad.any() for p in module.projections)


def test_too_few_factors():
    with pytest.raises(ValueError, match="n_factors=1 is too small"):
        get_fusion("late")(WIDTHS, 1)
