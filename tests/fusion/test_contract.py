"""What every kind of fusion must keep, and what some kinds are."""

import pytest
import torch
from torch.nn import functional as F

from skmmrec.fusion import (
    Fusion,
    LateMeanFusion,
    get_fusion,
    get_fusion_names,
    make_fusion,
    register_fusion,
)
from skmmrec.testing import FusionTests

WIDTHS, DIM, N = (5, 3, 4), 12, 7


class TestContract(FusionTests):
    widths, dim = WIDTHS, DIM

    @pytest.fixture(params=get_fusion_names())
    def fusion_class(self, request):
        return get_fusion(request.param)

    def test_the_weights_explain_the_vector(self, fusion, blocks, mask):
        """Of a kind that only weighs; the others add something to the sum."""
        tokens = fusion.project(blocks, mask)
        weighed = tokens * fusion.weights(blocks, mask).unsqueeze(-1)
        if isinstance(fusion, LateMeanFusion):
            norms = fusion(blocks, mask).square().sum(dim=1) / fusion.log_scale.exp()
            scores = (weighed * tokens).sum(dim=(1, 2))
            torch.testing.assert_close(norms, scores, rtol=1e-9, atol=1e-9)
            return
        explained = torch.allclose(fusion(blocks, mask), weighed.sum(dim=1), atol=1e-9)
        assert explained == (type(fusion).combine is Fusion.combine)

    def test_a_zero_block_is_not_a_missing_one(self, fusion, blocks, mask):
        zeroed = [torch.zeros_like(blocks[0]), *blocks[1:]]
        weights = fusion.weights(zeroed, torch.ones_like(mask))
        assert (weights[:, 0] > 0).all()

    def test_a_single_modality_is_projected(self, fusion_class, blocks):
        """At decision level it is also scaled, in a segment of its own."""
        module = fusion_class(WIDTHS[:1], DIM).double()
        present = torch.ones(N, 1, dtype=torch.bool)
        expected = blocks[0] @ module.projections[0].weight.T
        if isinstance(module, LateMeanFusion):
            scale = module.log_scale.exp().sqrt()
            expected = F.normalize(expected, dim=1) * scale
        torch.testing.assert_close(
            module(blocks[:1], present), expected, rtol=1e-9, atol=1e-9
        )


@pytest.fixture
def blocks():
    return [torch.randn(N, width).double() for width in WIDTHS]


@pytest.fixture
def mask():
    """Everything is there but for one modality of the first item."""
    mask = torch.ones(N, len(WIDTHS), dtype=torch.bool)
    mask[0, 1] = False
    return mask


@pytest.mark.parametrize(
    "kind", ["weighted", "gated", "bilinear", "transformer", "cross_attention"]
)
def test_training_starts_from_the_sum(kind, blocks, mask):
    fresh = get_fusion(kind)(WIDTHS, DIM).double()
    torch.testing.assert_close(
        fresh(blocks, mask), fresh.project(blocks, mask).sum(1), rtol=1e-9, atol=1e-9
    )


def test_gated_starts_as_concat(blocks, mask):
    gated, concat = (
        get_fusion(name)(WIDTHS, DIM).double() for name in ("gated", "concat")
    )
    concat.projections.load_state_dict(gated.projections.state_dict())
    torch.testing.assert_close(
        gated(blocks, mask), concat(blocks, mask), rtol=1e-9, atol=1e-9
    )


def test_gates_depend_on_the_item(blocks, mask):
    module = get_fusion("gated")(WIDTHS, DIM).double()
    torch.nn.init.normal_(module.gate.weight)
    weights = module.weights(blocks, mask)
    assert (weights[1:].std(dim=0) > 0.01).all()


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


def test_what_this_package_brings_is_not_replaced():
    with pytest.raises(ValueError, match="'gated' is a kind that there is"):
        register_fusion("gated", get_fusion("concat"))
    with pytest.raises(TypeError, match="name must be a str, got 3"):
        register_fusion(3, get_fusion("concat"))
    assert get_fusion("gated").__name__ == "GatedFusion"


@pytest.mark.parametrize(
    ("weigh", "combine", "error", "message"),
    [
        (lambda m: m[:, :1], torch.ones, ValueError, r"weigh .*\(4, 3\), got \(4, 1\)"),
        (lambda m: m.T, torch.ones, ValueError, r"weigh .*\(4, 3\), got \(3, 4\)"),
        (torch.Tensor.numpy, torch.ones, TypeError, "weigh must return a tensor, got"),
        (lambda m: m, lambda n, d: torch.ones(n), ValueError, r"forward .*got \(4,\)"),
        (lambda m: m, lambda n, d: None, TypeError, "forward must return a tensor"),
        (
            lambda m: m,
            lambda n, d: torch.ones(n, d).double(),
            TypeError,
            "forward must return float32, got torch.float64",
        ),
    ],
)
def test_a_fusion_that_breaks_the_contract_is_named(weigh, combine, error, message):
    class Wrong(Fusion):
        def weigh(self, tokens, mask):
            return weigh(mask)

        def combine(self, tokens, mask):
            return combine(len(mask), self.dim)

    with pytest.raises(error, match=rf"Wrong\.{message}"):
        make_fusion(Wrong, WIDTHS, DIM)


def test_a_fusion_whose_state_is_not_of_tensors_is_named():
    class Counts(get_fusion("concat")):
        def get_extra_state(self):
            return {"n": 1}

    with pytest.raises(TypeError, match="Counts must be of tensors, and _extra_state"):
        make_fusion(Counts, WIDTHS, DIM)


def test_the_base_class_does_not_weigh(blocks, mask):
    with pytest.raises(NotImplementedError, match="Fusion must say by `weigh`"):
        Fusion(WIDTHS, DIM).double()(blocks, mask)
