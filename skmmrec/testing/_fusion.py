"""What every kind of fusion must keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from skmmrec.fusion import Fusion
from skmmrec.recommender import MultimodalFusionRecommender, Training
from skmmrec.runtime import Generators
from skmmrec.testing._data import make_interactions

# Float64 holds 16 digits, and no fusion adds up more than some thousand numbers.
EXACT = 1e-12
# All present, one missing each, all but one missing, none present.
PRESENT = ["111", "011", "101", "110", "100", "010", "000"]


class FusionTests:
    """Tests of a `Fusion`, away from its initial state and in float64.

    A modality that is missing must have no influence, one that is present must have
    some, an item without any must be zero, an item's vector must not depend on its
    batch, every parameter must be trained, and a recommender must rank by it. The
    weights, which `weigh` tells also where `combine` does without them, must average 1
    over the modalities that an item has.

    Override the fixture `fusion_class`.

    Attributes
    ----------
    widths : sequence of 3 int
        Widths of the blocks.
    dim : int
        Width of the fused vector.

    Examples
    --------
    >>> import pytest
    >>> from skmmrec.fusion import Fusion
    >>> from skmmrec.testing import FusionTests
    >>> class HalfFusion(Fusion):
    ...     def weigh(self, tokens, mask):
    ...         return mask.to(tokens.dtype)
    >>> class TestHalfFusion(FusionTests):
    ...     @pytest.fixture
    ...     def fusion_class(self):
    ...         return HalfFusion
    """

    widths: ClassVar[Sequence[int]] = (5, 3, 4)
    dim: ClassVar[int] = 12

    @pytest.fixture
    def fusion_class(self) -> type[Fusion]:
        """Return the class to be tested."""
        raise NotImplementedError("override the fixture fusion_class")

    @pytest.fixture
    def fusion(self, fusion_class: type[Fusion]) -> Fusion:
        """Return a module whose gates, attention and so on do some work."""
        with Generators(0).lent():
            module = fusion_class(self.widths, self.dim).double().eval()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.add_(torch.randn_like(parameter) * 0.5)
        return module

    @pytest.fixture
    def blocks(self) -> list[Tensor]:
        """Return the content of seven items."""
        generator = torch.Generator().manual_seed(1)
        shapes = [(len(PRESENT), width) for width in self.widths]
        return [torch.randn(shape, generator=generator).double() for shape in shapes]

    @pytest.fixture
    def mask(self) -> Tensor:
        """Return which modalities are present; the last item has none."""
        return torch.tensor([[c == "1" for c in row] for row in PRESENT])

    def test_shape_and_dtype(
        self, fusion: Fusion, blocks: list[Tensor], mask: Tensor
    ) -> None:
        fused = fusion(blocks, mask)
        assert fused.shape == (len(mask), self.dim)
        assert fused.dtype == torch.float64
        _assert_none(~fused.isfinite(), "the fused vector is not finite")

    @pytest.mark.parametrize("garbage", [1e6, float("nan"), float("inf")])
    def test_a_missing_modality_has_no_influence(
        self, fusion: Fusion, blocks: list[Tensor], mask: Tensor, garbage: float
    ) -> None:
        spoilt = _spoil(blocks, mask, garbage)
        what = "what stands in the block of a missing modality has influence on the"
        differ = ~_same(fusion(spoilt, mask), fusion(blocks, mask))
        _assert_none(differ, f"{what} fused vector")
        differ = ~_same(fusion.weights(spoilt, mask), fusion.weights(blocks, mask))
        _assert_none(differ, f"{what} weights")

    def test_a_present_modality_has_influence(
        self, fusion: Fusion, blocks: list[Tensor], mask: Tensor
    ) -> None:
        before = fusion(blocks, mask)
        for m in range(len(blocks)):
            changed = [b + 1 if n == m else b for n, b in enumerate(blocks)]
            same = _same(fusion(changed, mask), before).all(dim=1)
            _assert_none(same & mask[:, m], f"modality {m} has no influence")

    def test_an_item_without_any_modality_is_zero(
        self, fusion: Fusion, blocks: list[Tensor], mask: Tensor
    ) -> None:
        empty = ~mask.any(dim=1)
        is_zero = (fusion(blocks, mask) == 0).all(dim=1)
        _assert_none(empty & ~is_zero, "the fused vector of nothing is not zero")
        _assert_none(is_zero & ~empty, "the fused vector is zero")

    def test_weights_are_those_of_the_present(
        self, fusion: Fusion, blocks: list[Tensor], mask: Tensor
    ) -> None:
        weights = fusion.weights(blocks, mask)
        assert weights.shape == mask.shape
        _assert_none((weights != 0) & ~mask, "a missing modality has a weight")
        _assert_none((weights == 0) & mask, "a modality that is present has weight 0")

    def test_weights_average_one_over_the_present(
        self, fusion: Fusion, blocks: list[Tensor], mask: Tensor
    ) -> None:
        sums = fusion.weights(blocks, mask).sum(dim=1)
        off = (sums - mask.sum(dim=1)).abs() > 1e-9
        _assert_none(off, "the weights do not add up to the number of the present")

    def test_items_do_not_see_their_batch(
        self, fusion: Fusion, blocks: list[Tensor], mask: Tensor
    ) -> None:
        fused = fusion(blocks, mask)
        for row in range(len(mask)):
            own = slice(row, row + 1)
            alone = fusion([block[own] for block in blocks], mask[own])
            torch.testing.assert_close(
                alone,
                fused[own],
                rtol=EXACT,
                atol=EXACT,
                msg=lambda m: f"an item alone is not what it is in a batch: {m}",
            )

    def test_permuted_rows_give_permuted_vectors(
        self, fusion: Fusion, blocks: list[Tensor], mask: Tensor
    ) -> None:
        order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
        permuted = fusion([block[order] for block in blocks], mask[order])
        expected = fusion(blocks, mask)[order]
        torch.testing.assert_close(permuted, expected, rtol=EXACT, atol=EXACT)

    @pytest.mark.parametrize("garbage", [0.0, float("nan")])
    def test_every_parameter_has_a_finite_gradient(
        self, fusion: Fusion, blocks: list[Tensor], mask: Tensor, garbage: float
    ) -> None:
        tokens = fusion.project(_spoil(blocks, mask, garbage), mask)
        alone = fusion.alone(tokens).sum(dim=2).square().sum()
        fused = fusion.combine(tokens, mask).square()
        (alone + (fused * torch.arange(self.dim)).sum()).backward()
        for name, parameter in fusion.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name

    def test_a_single_modality(
        self, fusion_class: type[Fusion], blocks: list[Tensor]
    ) -> None:
        module = fusion_class(self.widths[:1], self.dim).double()
        present = torch.ones(len(blocks[0]), 1, dtype=torch.bool)
        fused = module(blocks[:1], present)
        assert fused.shape == (len(present), self.dim)
        assert fused.any(dim=1).all()
        weights = module.weights(blocks[:1], present)
        torch.testing.assert_close(weights, torch.ones_like(weights))

    def test_the_wrong_number_of_blocks_is_refused(
        self, fusion: Fusion, blocks: list[Tensor], mask: Tensor
    ) -> None:
        with pytest.raises(ValueError, match=r"zip|block"):
            fusion(blocks[:2], mask)

    def test_a_recommender_ranks_by_it(self, fusion_class: type[Fusion]) -> None:
        X, _ = make_interactions()
        rec = MultimodalFusionRecommender(
            fusion=fusion_class,
            n_factors=self.dim,
            training=Training(max_epochs=2),
            random_state=0,
        ).fit(X)
        ranked = rec.recommend(k=3)
        assert (ranked.groupby("user_id").size() == 3).all()
        assert np.isfinite(ranked["score"]).all()
        new = rec.transform(X.assign(item_id="new")[:1])
        assert new.shape == (1, self.dim)
        assert np.isfinite(new).all()


def _spoil(blocks: list[Tensor], mask: Tensor, garbage: float) -> list[Tensor]:
    """Put something else where modalities are missing."""
    return [
        block.masked_fill(~there.unsqueeze(1), garbage)
        for block, there in zip(blocks, mask.T, strict=True)
    ]


def _same(one: Tensor, other: Tensor) -> Tensor:
    """Tell which numbers are equal, as what is not finite is, too."""
    return (one == other) | (one.isnan() & other.isnan())


def _assert_none(wrong: Tensor, what: str) -> None:
    """Name the items of which something is wrong in any column."""
    rows = wrong.reshape(len(wrong), -1).any(dim=1).nonzero().flatten().tolist()
    items = ", ".join(f"{row} ({PRESENT[row]})" for row in rows)
    assert not rows, f"{what}, for item {items}; 1 is a modality that is present"
