"""Mix channels into one that lets every channel be heard."""

from __future__ import annotations

import numpy as np

from skmmrec.runtime import ContentError

# Full scale is 1. Recorders of floats and hot mixes exceed it, by 24 dB at the most;
# 16-bit integers that are taken for floats stay below 16 only if they are all but
# silent (-66 dB).
_LOUDEST = 16
# A mean whose energy is this share of what it would be for channels without anything
# in common has lost what they share: for stereo, 9 dB less than in its channels.
_CANCELLED = 0.25
# Channels of nearly the same energy are equally loud; the first of them is taken.
_AS_LOUD = 0.9
# Frames that are mixed alike: 0.17 s at 48 kHz, 1 s at 8 kHz. Shorter than a phrase
# whose channels may cancel, and long enough for the lowest tones. Not tuned.
BLOCK = 8192


class Mixer:
    """Mixes one part of a sound after the other.

    The result is the same for a sound at once, if parts are of whole blocks.
    """

    def __init__(self) -> None:
        self._lost = np.zeros(1)  # energies of channels where they cancel

    def mix(self, samples: np.ndarray) -> np.ndarray:
        """Mix the channels of the next part; see `to_mono`."""
        _require_full_scale(samples)
        mixed = samples.mean(axis=1, dtype=np.float32)
        if samples.shape[1] > 1 and len(samples):
            self._restore_cancelled(mixed, samples)
        return mixed

    def _restore_cancelled(self, mixed: np.ndarray, samples: np.ndarray) -> None:
        """Put the loudest channel where the mean has lost what the channels hold."""
        products = _products(samples)
        energies = np.einsum("bii->bi", products)
        left = products.sum(axis=(1, 2))  # the energy of the sum of all channels
        is_lost = left < _CANCELLED * energies.sum(axis=1)
        for row in np.flatnonzero(is_lost):
            self._lost = self._lost + energies[row]
            loudest = np.argmax(self._lost >= _AS_LOUD * self._lost.max())
            block = slice(BLOCK * row, BLOCK * (row + 1))
            mixed[block] = samples[block, loudest]


def to_mono(samples: np.ndarray) -> np.ndarray:
    """Mix channels into one.

    The result is the mean of the channels. Where the channels cancel one another, as
    if one of them is inverted, it is the one that is the loudest in such places.

    Parameters
    ----------
    samples : ndarray of shape (n, n_channels), float
        Full scale is 1.

    Returns
    -------
    waveform : ndarray of shape (n,), float32

    Raises
    ------
    ContentError
        If samples are not finite or far beyond full scale.
    """
    return Mixer().mix(samples)


def _require_full_scale(samples: np.ndarray) -> None:
    peak = np.maximum(samples.max(initial=0), -samples.min(initial=0))
    if not np.isfinite(peak):
        raise ContentError("holds samples that are NaN or infinite")
    if peak > _LOUDEST:
        raise ContentError(
            f"holds floats up to {peak:.4g}, but full scale is 1: divide them, by "
            "32768 if they were 16-bit integers"
        )


def _products(samples: np.ndarray) -> np.ndarray:
    """Return the inner products of all channels in each block."""
    starts = range(0, len(samples), BLOCK)
    blocks = [samples[start : start + BLOCK] for start in starts]
    return np.stack([block.T @ block for block in blocks])
