"""The space in which content enters the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skmmrec.catalog import Blocks, NumberSpace
from skmmrec.recommender._principal_axes import (
    PresentRows,
    host_axes,
    principal_axes,
)
from skmmrec.recommender.network import as_float64, place, to_host
from skmmrec.runtime import progress

# The last component of numbers is their size, which stays beside their direction.
_LEAST_OF_NUMBERS = 2


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
    def fit(
        cls,
        blocks: Blocks,
        n_components: int | None,
        where: torch.device | None = None,
    ) -> ContentSpace:
        """Learn the means, and the axes of modalities wider than `n_components`.

        `where` is an accelerator to compute on, here and below; None: the CPU.
        """
        numbers = NumberSpace.fit(blocks)
        blocks = numbers.transform(blocks)
        present = dict(_present_rows(blocks, where))
        means = {name: rows.mean() for name, rows in present.items()}
        means |= {name: np.zeros_like(means[name]) for name in numbers.centres}
        space = cls(means, numbers=numbers)
        for name, rows in present.items():
            if n_components is None or n_components >= min(rows.shape):
                continue
            centred = rows.minus(means[name])
            if name in numbers.centres:
                axes = _axes_of_numbers(centred.whole(), n_components)
            else:
                axes = principal_axes(centred, n_components)
            if axes is not None:
                space.axes[name] = axes
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

    def check_n_components(self, n_components: int | None) -> None:
        """Refuse a number of components that this space, once fitted, does not have."""
        for name, axes in self.axes.items():
            least = _LEAST_OF_NUMBERS if name in self.numbers.centres else 1
            if n_components is None or len(axes) != max(n_components, least):
                raise ValueError(
                    f"n_components={n_components}, but the earlier fit reduced the "
                    f"modality {name!r} to {len(axes)} components, which this one goes "
                    "on with: n_components must be the same"
                )

    def check_mute_noise(self, mute_noise: bool) -> None:
        """Refuse to keep all modalities where this space, once fitted, mutes some."""
        if self.muted and not mute_noise:
            raise ValueError(
                f"mute_noise=False, but the earlier fit left out {list(self.muted)}, "
                "and this one goes on with it: mute_noise must be True, or the fit "
                "start anew"
            )

    def transform(self, blocks: Blocks, where: torch.device | None = None) -> Blocks:
        """Bring content into this space; a modality that `blocks` lacks is missing."""
        self._check_widths(blocks)
        blocks = self.numbers.transform(blocks)
        values, masks = {}, []
        there = dict(_present_rows(blocks, where))
        for name, width in zip(self.modalities, self.widths, strict=True):
            masks.append(_mask_of(blocks, name))
            values[name] = np.zeros((len(blocks), width), np.float32)
            if name in there and there[name].shape[0]:
                self._bring(name, there[name], values[name])
        mask = np.column_stack(masks) if masks else np.empty((len(blocks), 0), bool)
        return Blocks(values, mask)

    def _bring(self, name: str, rows: PresentRows, out: NDArray[np.float32]) -> None:
        """In float64, so that a row's result does not depend on its neighbours."""
        centred, turn = rows.minus(self.means[name]), None
        if name in self.axes:
            turn = as_float64(place(self.axes[name].T, rows.where))
        parts, what = centred.parts, f"bring {name} into space"
        pieces = zip(parts, centred, strict=True)
        for part, piece in progress(pieces, what, unit="part", total=len(parts)):
            brought = piece if turn is None else as_float64(piece) @ turn
            out[rows.rows[part]] = to_host(brought)

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


def refuse_empty_rows(content: Blocks, index: Sequence[Any]) -> None:
    """Refuse queries of which nothing is known; `index` names them.

    The ValueError names the first.
    """
    empty = np.flatnonzero(~content.mask.any(axis=1))
    if len(empty):
        raise ValueError(
            f"row {empty[0]} of content (index {index[empty[0]]!r}) has nothing in any "
            f"modality that is compared, which are {content.modalities} "
            f"({len(empty)} such rows): fill a column that the catalogue reads"
        )


def _present_rows(
    blocks: Blocks, where: torch.device | None
) -> Iterator[tuple[str, PresentRows]]:
    for number, (name, block) in enumerate(blocks.values.items()):
        rows = np.flatnonzero(blocks.mask[:, number])
        yield name, PresentRows(block, rows, where)


def _axes_of_numbers(lifted: NDArray, n_components: int) -> NDArray[np.float32] | None:
    """Reduce the numbers and keep the last column, which tells their size."""
    if not lifted[:, :-1].any():
        return None
    width = lifted.shape[1]
    axes = np.zeros((max(n_components, _LEAST_OF_NUMBERS), width), np.float32)
    axes[:-1, :-1] = host_axes(lifted[:, :-1], len(axes) - 1)
    axes[-1, -1] = 1.0
    return axes


def _mask_of(blocks: Blocks, name: str) -> NDArray[np.bool_]:
    if name not in blocks.values:
        return np.zeros(len(blocks), bool)
    return blocks.mask[:, blocks.modalities.index(name)]
