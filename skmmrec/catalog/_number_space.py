"""Numbers as vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skmmrec.catalog._blocks import Blocks

# Its square is still a number in float64.
FARTHEST = 1e150
# Of a number relative to its size, after a few operations in float64.
ROUNDING = 8 * np.finfo(np.float64).eps


@dataclass(frozen=True)
class NumberSpace:
    """Vectors of length 1 whose angles tell how far apart numbers are.

    A column is taken relative to its median, in units of its mean distance from it,
    which an outlier moves less than a standard deviation. A 1 is appended, and the
    whole scaled to length 1: the gnomonic projection of a plane onto a sphere. Distinct
    numbers have distinct vectors, near ones near vectors, and however far away an
    outlier is, its angle stays below 90 degrees. One unit is 45 degrees.

    Attributes
    ----------
    centres, scales : dict of str to ndarray of shape (d_m,), float64
        Of each modality of numbers. A column that is constant has the scale 0, and
        says nothing.
    """

    centres: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    scales: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @classmethod
    def fit(cls, blocks: Blocks) -> Self:
        """Learn centres and scales from the items that have the numbers."""
        space = cls()
        for name in filter(blocks.numbers.__contains__, blocks.modalities):
            present = blocks.mask[:, blocks.modalities.index(name)]
            block = blocks.values[name][present].astype(np.float64)
            centre = np.zeros(block.shape[1])
            if len(block):
                centre = np.median(block, axis=0)
            distances = np.abs(block - centre)
            space.centres[name] = centre
            # What is left of equal numbers after arithmetic is no difference.
            size = np.abs(block).max(axis=0, initial=0.0)
            distances[:, distances.max(axis=0, initial=0.0) <= ROUNDING * size] = 0.0
            space.scales[name] = distances.sum(axis=0) / max(1, len(block))
        return space

    def transform(self, blocks: Blocks) -> Blocks:
        """Turn the numbers into vectors of one column more; leave the rest as it is."""
        values = dict(blocks.values)
        for name in self.centres:
            if name in values:
                present = blocks.mask[:, blocks.modalities.index(name)]
                lifted = np.zeros((len(blocks), len(self.centres[name]) + 1))
                lifted[present] = self._lift(name, values[name][present])
                values[name] = lifted.astype(np.float32)
        return replace(
            blocks, values=values, numbers=blocks.numbers - set(self.centres)
        )

    def raw_widths(self, widths: Mapping[str, int]) -> dict[str, int]:
        """Return the width of each modality before `transform`, from those after it."""
        return {
            n: len(self.centres.get(n, range(width))) for n, width in widths.items()
        }

    def _lift(self, name: str, block: NDArray) -> NDArray[np.float64]:
        """Divide by sqrt(d), so that a typical item is at 45 degrees whatever d is."""
        centre, scale = self.centres[name], self.scales[name]
        known = scale > 0
        units = np.zeros(block.shape)
        with np.errstate(over="ignore"):
            units[:, known] = (block[:, known] - centre[known]) / scale[known]
        units = np.clip(units, -FARTHEST, FARTHEST)
        lifted = np.pad(units / np.sqrt(max(1, len(centre))), [(0, 0), (0, 1)])
        lifted[:, -1] = 1.0
        return lifted / np.linalg.norm(lifted, axis=1, keepdims=True)

    def to_record(self) -> dict[str, Any]:
        """Write in terms of JSON, which keeps every bit of a float64."""
        return {
            name: [self.centres[name].tolist(), self.scales[name].tolist()]
            for name in self.centres
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Read what `to_record` wrote."""
        return cls(
            {name: np.array(parts[0], np.float64) for name, parts in record.items()},
            {name: np.array(parts[1], np.float64) for name, parts in record.items()},
        )
