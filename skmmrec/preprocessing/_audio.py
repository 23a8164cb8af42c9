"""Trim, normalize and denoise sounds."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Hashable
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from skmmrec.encoders import decode_sound, sound_key
from skmmrec.preprocessing._base import BaseContentTransformer
from skmmrec.preprocessing._loudness import integrated_loudness

# A usual frame of speech analysis: 512 samples at 16 kHz. Not tuned.
_FRAME_SECONDS = 0.032


class _SoundTransformer(BaseContentTransformer):
    """Change sounds, as mono waveforms at their own rates."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseContentTransformer._parameter_constraints,
        "max_duration": [Interval(Real, 0, None, closed="neither")],
    }
    max_duration: float

    def _content_key(self, item: Any) -> Hashable:
        return sound_key(item)

    def _change(self, item: Any) -> tuple[np.ndarray, int]:
        waveform, rate = decode_sound(item, self.max_duration)
        changed = self._change_waveform(waveform, rate)
        return changed.astype(np.float32, copy=False), rate

    @abstractmethod
    def _change_waveform(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        """Return a changed waveform of shape (n,)."""


class AudioTrimmer(_SoundTransformer):
    """Cut silence off the beginning and the end of sounds.

    A sound is a path, the bytes of a file, or a tuple ``(samples, rate)``. The result
    is a tuple of a mono float32 waveform and its own rate.

    Parameters
    ----------
    top_db : float, default=40.0
        Parts this many decibels below the loudest part count as silence.
    max_duration : float, default=300.0
        Seconds of each sound that are read.
    on_error : {"raise", "missing"}, default="raise"
        Whether an item that cannot be read raises an error that names its row, or
        becomes None; one warning then counts these rows.

    Attributes
    ----------
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a pandas or polars column with a name.

    Notes
    -----
    Levels are those of frames of about 32 ms, by `librosa.effects.trim`. A sound that
    is silent throughout is not trimmed.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.preprocessing import AudioTrimmer
    >>> click = np.zeros(16_000)
    >>> click[8_000:8_800] = 0.5
    >>> samples, rate = AudioTrimmer().fit_transform([(click, 16_000)])[0]
    >>> len(samples) < 2_000, rate
    (True, 16000)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_SoundTransformer._parameter_constraints,
        "top_db": [Interval(Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        *,
        top_db: float = 40.0,
        max_duration: float = 300.0,
        on_error: str = "raise",
    ) -> None:
        self.top_db = top_db
        self.max_duration = max_duration
        self.on_error = on_error

    def _change_waveform(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        from librosa.effects import trim

        length = _frame_length(rate)
        trimmed, _ = trim(
            waveform, top_db=self.top_db, frame_length=length, hop_length=length // 4
        )
        return trimmed


class LoudnessNormalizer(_SoundTransformer):
    """Normalize sounds to one loudness.

    A sound is a path, the bytes of a file, or a tuple ``(samples, rate)``. The result
    is a tuple of a mono float32 waveform and its own rate.

    Parameters
    ----------
    target : float, default=-23.0
        The loudness in LUFS; EBU R 128 demands -23 of broadcasts.
    max_duration : float, default=300.0
        Seconds of each sound that are read.
    on_error : {"raise", "missing"}, default="raise"
        Whether an item that cannot be read raises an error that names its row, or
        becomes None; one warning then counts these rows.

    Attributes
    ----------
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a pandas or polars column with a name.

    Notes
    -----
    Loudness is measured as in ITU-R BS.1770-4: weighted by frequency, without nearly
    silent parts. The gain is limited so that no peak exceeds full scale. A sound below
    -70 LUFS is not changed.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.preprocessing import LoudnessNormalizer
    >>> time = np.arange(48_000) / 48_000
    >>> quiet, loud = (a * np.sin(2 * np.pi * 997 * time) for a in (0.01, 0.9))
    >>> levelled = LoudnessNormalizer().fit_transform(
    ...     [(quiet, 48_000), (loud, 48_000)]
    ... )
    >>> [round(float(np.abs(samples).max()), 2) for samples, _ in levelled]
    [0.1, 0.1]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_SoundTransformer._parameter_constraints,
        "target": [Interval(Real, -70, 0, closed="both")],
    }

    def __init__(
        self,
        *,
        target: float = -23.0,
        max_duration: float = 300.0,
        on_error: str = "raise",
    ) -> None:
        self.target = target
        self.max_duration = max_duration
        self.on_error = on_error

    def _change_waveform(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        loudness = integrated_loudness(waveform, rate)
        if math.isinf(loudness):
            return waveform
        gain = 10 ** ((self.target - loudness) / 20)
        return waveform * min(gain, 1 / np.abs(waveform).max())


class AudioDenoiser(_SoundTransformer):
    """Reduce steady noise, such as hiss or hum, by spectral gating.

    A sound is a path, the bytes of a file, or a tuple ``(samples, rate)``. The result
    is a tuple of a mono float32 waveform and its own rate.

    Parameters
    ----------
    reduction : float, default=12.0
        How many decibels to reduce noise by.
    threshold : float, default=4.0
        Magnitudes below this multiple of a frequency's noise floor are noise.
    quantile : float, default=0.2
        The noise floor of a frequency is this quantile of its magnitude over time. So
        about this share of the sound should be nothing but noise.
    max_duration : float, default=300.0
        Seconds of each sound that are read.
    on_error : {"raise", "missing"}, default="raise"
        Whether an item that cannot be read raises an error that names its row, or
        becomes None; one warning then counts these rows.

    Attributes
    ----------
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a pandas or polars column with a name.

    Notes
    -----
    The gate is that of [1]_, with the noise estimated from the sound itself. A tone
    that never stops counts as noise.

    References
    ----------
    .. [1] T. Sainburg et al., "Finding, visualizing, and quantifying latent structure
       across diverse animal vocal repertoires", PLoS Computational Biology 16(10),
       2020.

    Examples
    --------
    >>> import numpy as np
    >>> from skmmrec.preprocessing import AudioDenoiser
    >>> hiss = np.random.default_rng(0).normal(0, 0.01, 16_000)
    >>> samples, _ = AudioDenoiser().fit_transform([(hiss, 16_000)])[0]
    >>> bool(samples.std() < 0.004)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_SoundTransformer._parameter_constraints,
        "reduction": [Interval(Real, 0, None, closed="neither")],
        "threshold": [Interval(Real, 0, None, closed="neither")],
        "quantile": [Interval(Real, 0, 1, closed="neither")],
    }

    def __init__(
        self,
        *,
        reduction: float = 12.0,
        threshold: float = 4.0,
        quantile: float = 0.2,
        max_duration: float = 300.0,
        on_error: str = "raise",
    ) -> None:
        self.reduction = reduction
        self.threshold = threshold
        self.quantile = quantile
        self.max_duration = max_duration
        self.on_error = on_error

    def _change_waveform(self, waveform: np.ndarray, rate: int) -> np.ndarray:
        import librosa

        size = _frame_length(rate)
        if len(waveform) < size:  # too short to tell noise from sound
            return waveform
        spectrum = librosa.stft(waveform, n_fft=size)
        gated = spectrum * self._gains(np.abs(spectrum))
        return librosa.istft(gated, n_fft=size, length=len(waveform))

    def _gains(self, magnitude: np.ndarray) -> np.ndarray:
        """Return gains between the reduction and 1, smooth in frequency and time."""
        from scipy.ndimage import uniform_filter

        floor = np.quantile(magnitude, self.quantile, axis=1, keepdims=True)
        is_sound = (magnitude > self.threshold * floor).astype(np.float32)
        least = 10 ** (-self.reduction / 20)
        return least + (1 - least) * uniform_filter(is_sound, size=3)


def _frame_length(rate: int) -> int:
    """Return a frame's samples: a power of two of about 32 ms, at least 16."""
    return max(16, 2 ** round(math.log2(_FRAME_SECONDS * rate)))
