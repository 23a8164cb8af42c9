"""What every kind of fusion must keep."""

import pytest
import torch

from skmmrec.fusion import (
    Fusion,
    LateMeanFusion,
    get_fusion,
    get_fusion_names,
    register_fusion,
)

WIDTHS, DIM, N = (5, 3, 4), 12, 7


@pytest.fixture(params=get_fusion_names())
def fusion(request):
    """A module away from its initial state, where gates and attention do work."""
    torch.manual_seed(0)
    module = get_fusion(request.param)(WIDTHS, DIM).double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
    return module


@pytest.fixture
def blocks():
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(N, w, generator=generator).double() for w in WIDTHS]


@pytest.fixture
def mask():
    """All present, one missing each, two missing each; the last item has none."""
    rows = ["111", "011", "101", "110", "100", "010", "000"]
    return torch.tensor([[c == "1" for c in row] for row in rows])


def test_shape_and_dtype(fusion, blocks, mask):
    fused = fusion(blocks, mask)
    assert fused.shape == (N, DIM)
    assert fused.dtype == torch.float64
    assert fused.isfinite().all()


@pytest.mark.parametrize("garbage", [1e6, float("nan"), float("inf")])
def test_a_masked_block_has_no_influence(fusion, blocks, mask, garbage):
    spoilt = [
        block.masked_fill(~mask[:, [m]], garbage) for m, block in enumerate(blocks)
    ]
    assert torch.equal(fusion(spoilt, mask), fusion(blocks, mask))
    assert torch.equal(fusion.weights(spoilt, mask), fusion.weights(blocks, mask))


def test_a_present_block_has_influence(fusion, blocks, mask):
    before = fusion(blocks, mask)
    for m in range(len(WIDTHS)):
        changed = [b + 1 if n == m else b for n, b in enumerate(blocks)]
        differs = (fusion(changed, mask) != before).any(dim=1)
        assert torch.equal(differs, mask[:, m])


def test_an_item_without_any_modality_is_zero(fusion, blocks, mask):
    assert not fusion(blocks, mask)[-1].any()
    assert fusion(blocks, mask)[:-1].any(dim=1).all()


def test_missing_is_not_zero_content(fusion, blocks):
    """An item that lacks a modality differs from one whose block is zero."""
    zeroed = [blocks[0] * 0, *blocks[1:]]
    present = torch.ones(N, len(WIDTHS), dtype=torch.bool)
    weights = fusion.weights(zeroed, present)
    assert (weights[:, 0] > 0).all()


def test_weights_are_zero_where_missing(fusion, blocks, mask):
    weights = fusion.weights(blocks, mask)
    assert weights.shape == mask.shape
    assert torch.equal(weights != 0, mask)


def test_weights_average_one_over_the_present(fusion, blocks, mask):
    sums = fusion.weights(blocks, mask).sum(dim=1)
    torch.testing.assert_close(sums, mask.sum(dim=1).double())


def test_the_weights_explain_the_vector(fusion, blocks, mask):
    """Of a kind that only weighs; the others add something to the sum."""
    tokens = fusion.project(blocks, mask)
    weighed = tokens * fusion.weights(blocks, mask).unsqueeze(-1)
    if isinstance(fusion, LateMeanFusion):
        norms = fusion(blocks, mask).square().sum(dim=1) / fusion.log_scale.exp()
        share = mask.sum(dim=1).clamp(min=1) / len(WIDTHS)
        torch.testing.assert_close(norms * share, (weighed * tokens).sum(dim=(1, 2)))
        return
    expected = weighed.sum(dim=1)
    explained = torch.allclose(fusion(blocks, mask), expected)
    assert explained == (type(fusion).combine is Fusion.combine)


@pytest.mark.parametrize(
    "kind", ["weighted", "gated", "bilinear", "transformer", "cross_attention"]
)
def test_training_starts_from_the_sum(kind, blocks, mask):
    fresh = get_fusion(kind)(WIDTHS, DIM).double()
    torch.testing.assert_close(fresh(blocks, mask), fresh.project(blocks, mask).sum(1))


def test_items_do_not_see_their_batch(fusion, blocks, mask):
    fused = fusion(blocks, mask)
    for row in range(N):
        alone = fusion([b[row : row + 1] for b in blocks], mask[row : row + 1])
        torch.testing.assert_close(alone[0], fused[row], rtol=1e-12, atol=1e-12)


def test_permuted_rows_give_permuted_vectors(fusion, blocks, mask):
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    fused = fusion([b[order] for b in blocks], mask[order])
    torch.testing.assert_close(
        fused, fusion(blocks, mask)[order], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("garbage", [None, float("nan")])
def test_gradients_are_finite(fusion, blocks, mask, garbage):
    if garbage is not None:
        blocks = [b.masked_fill(~mask[:, [m]], garbage) for m, b in enumerate(blocks)]
    tokens = fusion.project(blocks, mask)
    alone = fusion.alone(tokens).sum(dim=2).square().sum()
    fused = fusion.combine(tokens, mask).square()
    (alone + (fused * torch.arange(DIM)).sum()).backward()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_one_modality(fusion, blocks):
    """It is projected; at decision level also scaled, in a segment of its own."""
    module = type(fusion)(WIDTHS[:1], DIM).double()
    present = torch.ones(N, 1, dtype=torch.bool)
    expected = blocks[0] @ module.projections[0].weight.T
    if isinstance(fusion, LateMeanFusion):
        scale = module.log_scale.exp().sqrt()
        expected = torch.nn.functional.normalize(expected, dim=1) * scale
    torch.testing.assert_close(module(blocks[:1], present), expected)


def test_the_wrong_number_of_blocks_is_refused(fusion, blocks, mask):
    with pytest.raises(ValueError, match=r"zip|block"):
        fusion(blocks[:2], mask)


def test_gated_starts_as_concat(blocks, mask):
    gated, concat = (
        get_fusion(name)(WIDTHS, DIM).double() for name in ("gated", "concat")
    )
    concat.projections.load_state_dict(gated.projections.state_dict())
    torch.testing.assert_close(gated(blocks, mask), concat(blocks, mask))


def test_gates_depend_on_the_item():
    module = get_fusion("gated")(WIDTHS, DIM)
    torch.nn.init.normal_(module.gate.weight)
    mask = torch.ones(N, len(WIDTHS), dtype=torch.bool)
    weights = module.weights([torch.randn(N, w) for w in WIDTHS], mask)
    assert (weights.std(dim=0) > 0.01).all()


def test_names_and_classes():
    assert get_fusion_names() == sorted(get_fusion_names())
    assert {"attention", "concat", "gated"} <= set(get_fusion_names())
    for name in get_fusion_names():
        assert issubclass(get_fusion(name), Fusion)
        assert get_fusion(get_fusion(name)) is get_fusion(name)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"fusion must be one of .*'gated'.*'mix'"):
        get_fusion("mix")


@pytest.mark.parametrize("cls", [torch.nn.Linear, "gated", len])
def test_only_fusion_classes_are_registered(cls):
    with pytest.raises(TypeError, match="subclass of Fusion"):
        register_fusion("mix", cls)
    assert "mix" not in get_fusion_names()


def test_the_base_class_does_not_weigh(blocks, mask):
    with pytest.raises(NotImplementedError):
        Fusion(WIDTHS, DIM).double()(blocks, mask)
