"""The space in which content enters the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from skmmrec.catalog import Blocks, NumberSpace
from skmmrec.retrieval import unit_vectors


@dataclass(frozen=True)
class ContentSpace:
    """Centre, scale to length 1 and reduce each modality, as learned from a catalogue.

    Numbers become vectors of length 1 first, which are not centred: on a line, what is
    left of a number and its mean is a sign.

    Attributes
    ----------
    means : dict of str to ndarray of shape (d_m,)
        Mean of the items that have the modality; 0 for numbers.
    axes : dict of str to ndarray of shape (r_m, d_m)
        Principal axes; absent for a modality that is not reduced.
    muted : tuple of str
        Modalities that are left behind.
    numbers : NumberSpace
        What makes vectors of numbers.
    """

    means: dict[str, NDArray[np.float32]]
    axes: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    muted: tuple[str, ...] = ()
    numbers: NumberSpace = field(default_factory=NumberSpace)

    @classmethod
    def fit(cls, blocks: Blocks, n_components: int | None) -> ContentSpace:
        """Learn the means, and the axes of modalities wider than `n_components`."""
        numbers = NumberSpace.fit(blocks)
        blocks = numbers.transform(blocks)
        means = {
            name: _mean(block[present]) for name, block, present in _modalities(blocks)
        }
        means |= {name: np.zeros_like(means[name]) for name in numbers.centres}
        space = cls(means, numbers=numbers)
        for name, block, present in _modalities(blocks):
            if n_components is None or n_components >= min(block[present].shape):
                continue
            centred = space.centre(name, block[present])
            is_number = name in numbers.centres
            if not centred[:, : -1 if is_number else None].any():
                continue
            reduce = _axes_of_numbers if is_number else _axes
            space.axes[name] = reduce(centred, n_components)
        return space

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities in this space, in order."""
        return [name for name in self.means if name not in self.muted]

    @property
    def widths(self) -> list[int]:
        """Width of each modality in this space."""
        return [len(self.axes.get(n, self.means[n])) for n in self.modalities]

    @property
    def raw_widths(self) -> dict[str, int]:
        """Width of each modality as content brings it, the muted ones too."""
        return self.numbers.raw_widths({n: len(mean) for n, mean in self.means.items()})

    def centre(self, name: str, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Centre one modality's vectors and scale them to length 1."""
        return unit_vectors(block - self.means[name])

    def transform(self, blocks: Blocks) -> Blocks:
        """Bring content into this space; a modality that `blocks` lacks is missing."""
        self._check_widths(blocks)
        blocks = self.numbers.transform(blocks)
        values, masks = {}, []
        for name, width in zip(self.modalities, self.widths, strict=True):
            present = _mask_of(blocks, name)
            values[name] = np.zeros((len(blocks), width), np.float32)
            masks.append(present)
            if present.any():
                centred = self.centre(name, blocks.values[name][present])
                values[name][present] = self._rotate(name, centred)
        mask = np.column_stack(masks) if masks else np.empty((len(blocks), 0), bool)
        return Blocks(values, mask)

    def _rotate(self, name: str, centred: NDArray) -> NDArray:
        """In float64, so that a row's result does not depend on its neighbours."""
        if name not in self.axes:
            return centred
        return centred.astype(np.float64) @ self.axes[name].T.astype(np.float64)

    def _check_widths(self, blocks: Blocks) -> None:
        for name, width in blocks.widths.items():
            if name not in self.means:
                raise ValueError(
                    f"content has the modality {name!r}, which was not there in fit: "
                    f"{list(self.means)}"
                )
            if width != self.raw_widths[name]:
                raise ValueError(
                    f"modality {name!r} has {width} columns, but "
                    f"{self.raw_widths[name]} were there in fit"
                )


def check_speaks(content: Blocks, index: Sequence[Any]) -> None:
    """Refuse queries of which nothing is known; `index` names them.

    Raises
    ------
    ValueError
        It names the first.
    """
    empty = np.flatnonzero(~content.mask.any(axis=1))
    if len(empty):
        raise ValueError(
            f"row {empty[0]} of content (index {index[empty[0]]!r}) has nothing in any "
            f"modality that is compared, which are {content.modalities} "
            f"({len(empty)} such rows)"
        )


def _modalities(blocks: Blocks) -> Sequence[tuple[str, NDArray, NDArray]]:
    return [
        (name, block, blocks.mask[:, m])
        for m, (name, block) in enumerate(blocks.values.items())
    ]


def _axes(vectors: NDArray, n_components: int) -> NDArray[np.float32]:
    pca = PCA(n_components, random_state=0).fit(vectors)
    return pca.components_.astype(np.float32)


def _axes_of_numbers(lifted: NDArray, n_components: int) -> NDArray[np.float32]:
    """Reduce the numbers and keep the last column, which tells their size."""
    width = lifted.shape[1]
    axes = np.zeros((max(n_components, 2), width), np.float32)
    axes[:-1, :-1] = _axes(lifted[:, :-1], len(axes) - 1)
    axes[-1, -1] = 1.0
    return axes


def _mean(block: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(block) < 2:
        return np.zeros(block.shape[1], np.float32)
    return block.mean(axis=0, dtype=np.float64).astype(np.float32)


def _mask_of(blocks: Blocks, name: str) -> NDArray[np.bool_]:
    if name not in blocks.values:
        return np.zeros(len(blocks), bool)
    return blocks.mask[:, blocks.modalities.index(name)]
