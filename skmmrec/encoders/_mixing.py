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

    Parameters
    ----------
    is_bounded : bool, default=False
        Whether samples were integers, which are finite and within full scale.
    """

    def __init__(self, is_bounded: bool = False) -> None:
        self._is_bounded = is_bounded
        self._lost = np.zeros(1)  # energies of channels where they cancel

    def mix(self, samples: np.ndarray, mixed: np.ndarray) -> None:
        """Mix the channels of the next part into an array; see `to_mono`."""
        if not self._is_bounded:
            _require_full_scale(samples)
        _average(samples, mixed)
        if samples.shape[1] > 1 and len(samples):
            self._restore_cancelled(mixed, samples)

    def _restore_cancelled(self, mixed: np.ndarray, samples: np.ndarray) -> None:
        """Put the loudest channel where the mean has lost what the channels hold."""
        n_channels = samples.shape[1]
        energies = _energies(samples)
        left = n_channels**2 * _energies(mixed[:, None])  # that of the channels' sum
        for row in np.flatnonzero(left < _CANCELLED * energies):
            block = slice(BLOCK * row, BLOCK * (row + 1))
            self._lost = self._lost + np.square(samples[block]).sum(axis=0)
            loudest = np.argmax(self._lost >= _AS_LOUD * self._lost.max())
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
    mixed = np.empty(len(samples), np.float32)
    Mixer().mix(samples, mixed)
    return mixed


def _require_full_scale(samples: np.ndarray) -> None:
    peak = np.maximum(samples.max(initial=0), -samples.min(initial=0))
    if not np.isfinite(peak):
        raise ContentError("holds samples that are NaN or infinite")
    if peak > _LOUDEST:
        raise ContentError(
            f"holds floats up to {peak:.4g}, but full scale is 1: divide them, by "
            "32768 if they were 16-bit integers"
        )


def _average(samples: np.ndarray, mean: np.ndarray) -> None:
    """Put the mean of the channels into an array.

    Channel by channel, this takes a fortieth of the time of `ndarray.mean`, which
    starts anew for each row. A product with a vector is as fast, but BLAS would start
    threads of its own in each of the threads that decode.
    """
    n_channels = samples.shape[1]
    if n_channels == 1:
        mean[:] = samples[:, 0]
        return
    np.add(samples[:, 0], samples[:, 1], out=mean)
    for channel in range(2, n_channels):
        mean += samples[:, channel]
    mean /= n_channels


def _energies(samples: np.ndarray) -> np.ndarray:
    """Return the sum of squares in each block, of all channels."""
    n_whole = len(samples) // BLOCK
    # In rows of a block's length: for more than 10,000 values BLAS starts threads.
    rows = samples[: n_whole * BLOCK].reshape(n_whole, samples.shape[1], BLOCK)
    whole = np.vecdot(rows, rows).sum(axis=1)
    rest = samples[n_whole * BLOCK :]
    return np.append(whole, np.einsum("ij,ij->", rest, rest)) if len(rest) else whole
