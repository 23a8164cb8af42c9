"""Read sounds: turn any file or array into a mono waveform, or raise clearly."""

from __future__ import annotations

import io
import os
from collections.abc import Hashable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from skmmrec.runtime import ContentError, digest, readable_file


def sound_key(item: Any) -> Hashable:
    """Return a key that is equal for equal sounds; a path is its own key."""
    if isinstance(item, str | os.PathLike):
        return os.fspath(item)
    if isinstance(item, bytes):
        return digest(item)
    if isinstance(item, tuple) and len(item) == 2:
        samples = _checked_samples(item[0])
        rate = _checked_rate(item[1])
        return (samples.shape, samples.dtype.str, rate, digest(samples))
    raise ContentError(
        f"expected a path, bytes or a tuple (samples, rate), got {type(item).__name__}"
    )


def read_sound(item: Any, rate: int, max_seconds: float) -> np.ndarray:
    """Return an item as a mono waveform.

    Parameters
    ----------
    item : str, path, bytes or tuple (samples, rate)
        The sound. Samples have shape (n,) or (n, channels), as soundfile gives them:
        floats in [-1, 1], or integers of their type's full range.
    rate : int
        The sample rate of the result, in Hz.
    max_seconds : float
        How much is read from the start.

    Returns
    -------
    waveform : ndarray of shape (n,), float32

    Raises
    ------
    ContentError
        If the item is missing, damaged, without samples or not a sound.
    """
    read = _from_tuple if isinstance(item, tuple) else _from_file
    samples, own_rate = read(item, max_seconds)
    if samples.size == 0:
        raise ContentError("holds no samples")
    if not np.isfinite(samples).all():
        raise ContentError("holds samples that are NaN or infinite")
    return _resample(samples.mean(axis=1, dtype=np.float32), own_rate, rate)


def _from_file(item: Any, max_seconds: float) -> tuple[np.ndarray, int]:
    import soundfile

    source = io.BytesIO(item) if isinstance(item, bytes) else readable_file(item)
    _require_whole_riff(source)
    try:
        with soundfile.SoundFile(source) as file:
            n_frames = min(int(max_seconds * file.samplerate), file.frames)
            samples = file.read(n_frames, dtype="float32", always_2d=True)
            rate = file.samplerate
    except Exception as error:
        raise ContentError(f"is not a readable sound: {error}") from error
    if len(samples) < n_frames:
        raise ContentError(f"is cut off: it holds {len(samples) / rate:.1f} s")
    return samples, rate


def _require_whole_riff(source: Path | io.BytesIO) -> None:
    """Raise if a wav file is shorter than it declares; its decoder does not.

    Recorders that do not know the length in advance declare 0 or the maximum.
    """
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as file:
        head = file.read(12)
        n_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
    declared = int.from_bytes(head[4:8], "little") + 8
    is_wav = head[:4] == b"RIFF" and head[8:] == b"WAVE"
    if is_wav and n_bytes < declared - 1 and 8 < declared < 2**32 - 2**16:
        raise ContentError(f"is cut off: {n_bytes} of {declared} bytes are there")


def _from_tuple(item: Any, max_seconds: float) -> tuple[np.ndarray, int]:
    samples, rate = _checked_samples(item[0]), _checked_rate(item[1])
    samples = samples[: int(max_seconds * rate)]
    return _to_unit_range(samples.reshape(len(samples), -1)), rate


def _checked_samples(samples: Any) -> np.ndarray:
    try:
        array = np.asarray(samples)
    except ValueError as error:
        raise ContentError(f"samples are not an array: {error}") from error
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu" or array.size == 0:
        raise ContentError(
            "expected samples of shape (n,) or (n, channels), "
            f"got {array.dtype} of shape {array.shape}"
        )
    return np.ascontiguousarray(array)


def _checked_rate(rate: Any) -> int:
    if not isinstance(rate, int | float | np.number) or not 1 <= rate < np.inf:
        raise ContentError(f"the sample rate must be at least 1 Hz, got {rate!r}")
    return int(rate)


def _to_unit_range(samples: np.ndarray) -> np.ndarray:
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    info = np.iinfo(samples.dtype)
    middle = 0 if samples.dtype.kind == "i" else (info.max + 1) // 2
    return ((samples.astype(np.float64) - middle) / (info.max - middle)).astype(
        np.float32
    )


def _resample(waveform: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    if own_rate == rate:
        return waveform
    import soxr

    return soxr.resample(waveform, own_rate, rate)
