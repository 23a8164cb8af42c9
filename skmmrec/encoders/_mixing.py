"""Mix channels into one that lets every channel be heard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from skmmrec.runtime import ContentError

# Full scale is 1. Recorders of floats and hot mixes exceed it, by 24 dB at the most;
# 16-bit integers that are taken for floats stay below 16 only if they are all but
# silent (-66 dB).
_LOUDEST = 16
# Channels cancel one another if the energy of their mean is below this share of what it
# would be for uncorrelated channels: for stereo, 9 dB below that of the channels.
_CANCELLED = 0.25
# Channels of nearly the same energy are equally loud; the first of them is taken.
_AS_LOUD = 0.9
# Frames that are mixed alike: 0.17 s at 48 kHz, 1 s at 8 kHz. Shorter than a phrase
# whose channels may cancel, and long enough for the lowest tones. Not tuned.
BLOCK = 8192
# Frames of all channels that are kept until they are mixed: whole blocks.
_KEPT = 16 * BLOCK
# Values whose squares are summed at once: few enough that the sum tells of most music
# that no value is beyond full scale, and enough that NumPy does it at full speed.
_ROW = 1024
# No value is above `_LOUDEST` if a sum of squares is not; sums are rounded.
_SURELY_WITHIN = 0.99 * _LOUDEST**2


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
        """Mix the channels of the next part into an array; see `to_mono`.

        A single channel may be that array.
        """
        is_mono = samples.shape[1] == 1
        energies = None if is_mono and self._is_bounded else _energies(samples)
        if energies is not None and not self._is_bounded:
            _require_full_scale(samples, energies)
        _average(samples, mixed)
        if energies is not None and not is_mono and len(samples):
            self._restore_cancelled(mixed, samples, energies)

    def _restore_cancelled(
        self, mixed: np.ndarray, samples: np.ndarray, energies: np.ndarray
    ) -> None:
        """Put the loudest channel where the mean has lost what the channels hold."""
        n_channels = samples.shape[1]
        before = _by_block(energies, n_channels)
        # The energy of the channels' sum.
        left = n_channels**2 * _by_block(_energies(mixed), 1)
        for row in np.flatnonzero(left < _CANCELLED * before):
            block = slice(BLOCK * row, BLOCK * (row + 1))
            self._lost = self._lost + np.square(samples[block]).sum(axis=0)
            loudest = np.argmax(self._lost >= _AS_LOUD * self._lost.max())
            mixed[block] = samples[block, loudest]


class PlacedSound:
    """A mono sound whose parts come one by one, each with its place.

    Channels are mixed as they come, so that memory does not grow with their number.

    Parameters
    ----------
    n_samples : int
        Its length; it is silent where no part comes.
    n_channels : int
        Of each part.
    """

    def __init__(self, n_samples: int, n_channels: int) -> None:
        self._mono = np.zeros(n_samples, np.float32)
        self._mixer = Mixer()
        # Frames that wait to be mixed: where they start, a whole number of blocks, and
        # which of them there are.
        self._waiting = np.zeros((_KEPT, n_channels), np.float32)
        self._start, self._first, self._last = 0, _KEPT, 0

    def __len__(self) -> int:
        return len(self._mono)

    def write(self, position: int, part: np.ndarray) -> int:
        """Write a part at a position, perhaps partly outside; return where it ends."""
        end = position + len(part)
        first, last = max(position, 0), min(end, len(self))
        while first < last:
            if not 0 <= first - self._start < _KEPT:
                self._mix()
                self._start = first // BLOCK * BLOCK
            row = first - self._start
            n_rows = min(last - first, _KEPT - row)
            place = first - position
            self._waiting[row : row + n_rows] = part[place : place + n_rows]
            self._first = min(self._first, row)
            self._last = max(self._last, row + n_rows)
            first += n_rows
        return end

    def _mix(self) -> None:
        """Mix what waits."""
        if self._first < self._last:
            mixed = np.empty(self._last, np.float32)
            self._mixer.mix(self._waiting[: self._last], mixed)
            end = self._start + self._last
            self._mono[self._start + self._first : end] = mixed[self._first :]
            self._waiting[: self._last] = 0
        self._first, self._last = _KEPT, 0

    def finished(self) -> np.ndarray:
        """Return the sound; nothing more may be written."""
        self._mix()
        return self._mono


def mixed_parts(parts: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Mix a sound that comes in parts of any lengths as `to_mono` mixes the whole.

    Parameters
    ----------
    parts : iterable of ndarray of shape (n, n_channels), float32
        All of as many channels.

    Yields
    ------
    ndarray of shape (m,), float32
    """
    mixer, n_waiting = Mixer(), 0
    waiting: list[np.ndarray] = []
    for part in parts:
        waiting.append(part)
        n_waiting += len(part)
        if n_waiting >= _KEPT:
            samples = np.concatenate(waiting)
            n_whole = n_waiting // BLOCK * BLOCK
            yield _mixed_by(mixer, samples[:n_whole])
            waiting, n_waiting = [samples[n_whole:]], n_waiting - n_whole
    if waiting:
        yield _mixed_by(mixer, np.concatenate(waiting))


def _mixed_by(mixer: Mixer, samples: np.ndarray) -> np.ndarray:
    mixed = np.empty(len(samples), np.float32)
    mixer.mix(samples, mixed)
    return mixed


def to_mono(samples: np.ndarray) -> np.ndarray:
    """Mix channels into one.

    The result is the mean of the channels. Where the channels cancel one another, as
    if one of them is inverted, it is the one that is the loudest in such places.

    `samples` have shape (n, n_channels), and full scale is 1. Returns n numbers,
    float32. A ContentError says that samples are not finite or far beyond full scale.
    """
    return _mixed_by(Mixer(), samples)


def _require_full_scale(samples: np.ndarray, energies: np.ndarray) -> None:
    if energies.max(initial=0) <= _SURELY_WITHIN:
        return
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
        if not np.may_share_memory(samples, mean):
            mean[:] = samples[:, 0]
        return
    np.add(samples[:, 0], samples[:, 1], out=mean)
    for channel in range(2, n_channels):
        mean += samples[:, channel]
    mean /= n_channels


def _energies(samples: np.ndarray) -> np.ndarray:
    """Return the sums of squares of `_ROW` values each, and of the rest."""
    values = samples.reshape(-1)
    n_whole = len(values) // _ROW
    # In short rows: for more than 10,000 values BLAS starts threads.
    rows = values[: n_whole * _ROW].reshape(n_whole, _ROW)
    rest = values[n_whole * _ROW :]
    energies = np.empty(n_whole + (len(rest) > 0), values.dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # checked afterwards
        np.vecdot(rows, rows, out=energies[:n_whole])
        energies[n_whole:] = np.vecdot(rest, rest)
    return energies


def _by_block(energies: np.ndarray, n_channels: int) -> np.ndarray:
    """Return the energy of each block of frames."""
    starts = np.arange(0, len(energies), BLOCK * n_channels // _ROW)
    return np.add.reduceat(energies, starts)
