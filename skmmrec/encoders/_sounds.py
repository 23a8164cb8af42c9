"""Read sounds: turn any file or array into a mono waveform, or raise clearly."""

from __future__ import annotations

import os
from collections.abc import Hashable
from os import PathLike
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from skmmrec.encoders._mixing import to_mono
from skmmrec.runtime import (
    ContentError,
    RawBytes,
    digest,
    how_to_give,
    is_missing,
    refuse_mask,
)

# The most channels that an array may have: those of ambisonics of the 7th order. More
# are frames of a spectrogram, or samples.
_MOST_CHANNELS = 64
# In Hz. Files cannot declare more, and resampling from far more does not end.
_HIGHEST_RATE = 2**32 - 1
# Rates in common use, in kHz, which somebody may give in place of Hz. Nothing is
# sampled at so few Hz.
_IN_KHZ = {8, 11.025, 12, 16, 22.05, 24, 32, 44.1, 48, 88.2, 96, 176.4, 192}
# Channels of the layouts in common use, up to 7.1.
_FEW_CHANNELS = 8


def sound_key(item: Any) -> Hashable:
    """Return a key that is equal for equal sounds; a path is its own key."""
    if isinstance(item, str | os.PathLike):
        return os.fspath(item)
    if isinstance(item, RawBytes):
        return digest(bytes(item))
    if isinstance(item, tuple) and len(item) == 2:
        samples = _checked_samples(item[0])
        rate = _checked_rate(item[1])
        return (samples.shape, samples.dtype.str, rate, digest(samples))
    raise _no_sound(item)


def _no_sound(item: Any) -> ContentError:
    return ContentError(
        "expected a path, bytes or a tuple (samples, rate), got "
        f"{type(item).__name__}{_how_to_give(item)}"
    )


def _how_to_give(item: Any) -> str:
    if hasattr(item, "__array__"):
        return ": give a tuple of it and its sample rate in Hz"
    if isinstance(item, list | tuple):
        return ": give a tuple of two, or one sound in each row"
    return how_to_give(item)


# The default of `AudioEncoder`'s max_duration: what is longer is rarely worth its time.
def read_sound(
    item: str | PathLike[str] | bytes | tuple[ArrayLike, float],
    sample_rate: int,
    max_duration: float = 300.0,
) -> np.ndarray:
    """Read a sound in any form that `AudioEncoder` takes, for features of your own.

    Parameters
    ----------
    item : str, path, bytes or tuple (samples, rate)
        A file, its bytes, or samples of shape (n,), (n, channels) or (channels, n):
        floats whose full scale is 1, or integers of their type's full range.
    sample_rate : int
        Of the result, in Hz.
    max_duration : float, default=300.0
        How much is read from the start.

    Returns
    -------
    waveform : ndarray of shape (n,), float32
        n is at least 1: what is shorter than one sample becomes its mean.

    Raises
    ------
    ContentError
        If the item is missing, damaged, without samples or not a sound; names the
        file, if it is one.
    ValueError
        If `sample_rate` or `max_duration` is no number above 0.

    Notes
    -----
    Channels are averaged; where they cancel one another, the loudest is taken.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.encoders import read_sound
    >>> stereo = np.zeros((44_100, 2), dtype=np.int16)
    >>> read_sound((stereo, 44_100), sample_rate=16_000).shape
    (16000,)
    """
    _check_wanted(sample_rate, max_duration)
    if is_missing(item):
        raise ContentError(f"the sound is missing: it is {item!r}")
    try:
        return resampled_sound(item, sample_rate, max_duration)
    except ContentError as error:
        if not isinstance(item, str | os.PathLike):
            raise
        raise ContentError(f"{os.fspath(item)!r}: {error}") from error


def _check_wanted(rate: object, max_duration: object) -> None:
    """Refuse, by their names, a rate and a length that no sound has."""
    if not _is_rate(rate):
        raise ValueError(
            f"sample_rate must be from 1 to {_HIGHEST_RATE} Hz, got {rate!r}"
        )
    if not _is_number(max_duration) or not max_duration > 0:
        raise ValueError(f"max_duration must be seconds above 0, got {max_duration!r}")


def _is_rate(value: object) -> bool:
    return _is_number(value) and 1 <= value <= _HIGHEST_RATE


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def resampled_sound(item: Any, rate: int, max_duration: float) -> np.ndarray:
    """Return an item as `read_sound` does; errors leave its name to the caller."""
    from skmmrec.encoders._sound_files import resample

    waveform, own_rate = decode_sound(item, max_duration)
    resampled = resample(waveform, own_rate, rate)
    if not len(resampled):  # what is shorter than one sample of the result
        return waveform.mean(keepdims=True)
    return resampled


def decode_sound(item: Any, max_duration: float) -> tuple[np.ndarray, int]:
    """Return an item as a mono waveform at its own rate.

    Parameters
    ----------
    item : str, path, bytes or tuple (samples, rate)
        The sound. Samples have shape (n,), (n, channels) as soundfile gives them, or
        (channels, n) as librosa and torchaudio do. They are floats whose full scale is
        1, or integers of their type's full range; a PyTorch tensor is read as well.
    max_duration : float
        How much is read from the start.

    Returns
    -------
    waveform : ndarray of shape (n,), float32
        The mean of the channels; where they cancel one another, the loudest.
    rate : int
        In Hz.

    Raises
    ------
    ContentError
        If the item is missing, damaged, without samples or not a sound.
    """
    if isinstance(item, tuple):
        return _from_tuple(item, max_duration)
    if not isinstance(item, str | os.PathLike | RawBytes):
        raise _no_sound(item)
    from skmmrec.encoders._sound_files import read_file

    return read_file(item, max_duration)


def _from_tuple(item: Any, max_duration: float) -> tuple[np.ndarray, int]:
    from skmmrec.encoders._sound_files import n_samples

    samples, rate = _checked_samples(item[0]), _checked_rate(item[1])
    _require_full_range(samples)
    samples = samples[: n_samples(max_duration, rate)]
    if not len(samples):
        raise ContentError("holds no samples")
    return to_mono(_to_unit_range(samples)), rate


def _checked_samples(samples: Any) -> np.ndarray:
    """Return samples of shape (n, n_channels)."""
    array = _as_array(samples)
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu" or array.size == 0:
        raise ContentError(
            "expected samples of shape (n,) or (n, channels), then their rate, "
            f"got {array.dtype} of shape {array.shape}"
        )
    columns = array[:, None] if array.ndim == 1 else _channels_last(array)
    return np.ascontiguousarray(columns)


def _as_array(samples: Any) -> np.ndarray:
    refuse_mask(samples, "samples")
    try:
        if hasattr(samples, "detach"):  # a tensor
            samples = samples.detach().cpu()
            samples = samples.float() if samples.is_floating_point() else samples
        return np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ContentError(f"samples are not an array: {error}") from error


def _channels_last(samples: np.ndarray) -> np.ndarray:
    """Return samples of two axes as (n, n_channels), by what can be channels."""
    n_rows, n_columns = samples.shape
    if n_columns <= _FEW_CHANNELS or n_rows >= n_columns <= _MOST_CHANNELS:
        return samples
    if n_rows <= _MOST_CHANNELS < n_columns:
        return samples.T
    raise ContentError(
        f"it is not clear which axis of shape {samples.shape} is that of the channels: "
        "expected samples of shape (n,) or (n, channels)"
    )


def _checked_rate(rate: Any) -> int:
    if getattr(rate, "ndim", None) == 0 and hasattr(rate, "item"):
        rate = rate.item()  # of an .npz file, or a tensor
    if not _is_rate(rate):
        raise ContentError(
            f"the sample rate must be from 1 to {_HIGHEST_RATE} Hz, got {rate!r}"
        )
    if round(float(rate), 3) in _IN_KHZ:
        raise ContentError(
            f"the sample rate must be in Hz, got {rate!r}, which looks like kHz"
        )
    return int(rate)


def _require_full_range(samples: np.ndarray) -> None:
    """Raise if wide integers hold samples of 16 bits, which would all but vanish.

    Samples of 24 bits are multiples of 256 in 32; those of a recording of silence are
    below 2**15 as well.
    """
    n_bytes = samples.dtype.itemsize
    if samples.dtype.kind == "f" or n_bytes < 4:
        return
    middle = _middle(samples.dtype)
    lowest, highest = int(samples.min()) - middle, int(samples.max()) - middle
    peak = max(-lowest, highest)
    # No format has samples of 64 bits: values up to 2**32 come from 32 bits or fewer.
    limit = 2**15 if n_bytes == 4 else 2**32
    if 0 < peak <= limit and (n_bytes == 8 or (samples % 256).any()):
        raise ContentError(
            f"holds integers of {8 * n_bytes} bits up to {peak}, next to nothing of "
            "their full range: convert samples of 16 bits by samples.astype('int16')"
        )


def _middle(dtype: np.dtype) -> int:
    return 0 if dtype.kind == "i" else 2 ** (8 * dtype.itemsize - 1)


def _to_unit_range(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind == "f":
        with np.errstate(over="ignore"):  # infinite floats are refused by name
            return samples.astype(np.float32)
    middle = _middle(samples.dtype)
    highest = np.iinfo(samples.dtype).max - middle
    return ((samples.astype(np.float64) - middle) / highest).astype(np.float32)
