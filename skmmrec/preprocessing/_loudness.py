"""Loudness of one channel by ITU-R BS.1770-4."""

from __future__ import annotations

import math

import numpy as np

# Blocks of 400 ms that overlap by 75 %, as in BS.1770-4.
_BLOCK_SECONDS, _STEP_SECONDS = 0.4, 0.1
# Gates in LUFS and in LU below the mean of what passes the first, as in BS.1770-4.
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0
# Makes a sine of 997 Hz at full scale read -3.01 LUFS, as in BS.1770-4.
_OFFSET = -0.691


def integrated_loudness(waveform: np.ndarray, rate: int) -> float:
    """Return the gated loudness of a mono waveform.

    Full scale is 1, and a sound shorter than 0.4 s is one block. Returns LUFS, minus
    infinity if no block is above -70 LUFS.
    """
    powers = _block_powers(_k_weighted(waveform, rate), rate)
    loud = powers[_lufs(powers) > _ABSOLUTE_GATE]
    if loud.size == 0:
        return -math.inf
    gate = _lufs(loud.mean()) + _RELATIVE_GATE
    return float(_lufs(loud[_lufs(loud) > gate].mean()))


def _lufs(power: np.ndarray | np.floating) -> np.ndarray:
    return _OFFSET + 10 * np.log10(np.maximum(power, 1e-20))


def _block_powers(weighted: np.ndarray, rate: int) -> np.ndarray:
    size = min(max(round(_BLOCK_SECONDS * rate), 1), len(weighted))
    step = max(round(_STEP_SECONDS * rate), 1)
    total = np.concatenate([[0.0], np.cumsum(weighted**2)])
    starts = np.arange(0, len(weighted) - size + 1, step)
    return (total[starts + size] - total[starts]) / size


def _k_weighted(waveform: np.ndarray, rate: int) -> np.ndarray:
    """Apply K-weighting: a high shelf for the head, then a high pass."""
    from scipy.signal import sosfilt

    return sosfilt([_shelf(rate), _high_pass(rate)], waveform.astype(np.float64))


def _shelf(rate: int) -> list[float]:
    """Return the high shelf, from the analogue parameters of the standard."""
    k = _warped(1681.974450955533, rate)
    q, gain = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    middle = gain**0.4996667741545416 / q
    return _section(
        [gain + middle * k + k * k, 2 * (k * k - gain), gain - middle * k + k * k], k, q
    )


def _high_pass(rate: int) -> list[float]:
    k = _warped(38.13547087602444, rate)
    q = 0.5003270373238773
    scale = 1 + k / q + k * k
    return _section([scale, -2 * scale, scale], k, q)


def _warped(frequency: float, rate: int) -> float:
    # At rates below 3.7 kHz the shelf would be almost at half the rate or above.
    return math.tan(math.pi * min(frequency / rate, 0.45))


def _section(numerator: list[float], k: float, q: float) -> list[float]:
    scale = 1 + k / q + k * k
    denominator = [scale, 2 * (k * k - 1), 1 - k / q + k * k]
    return [value / scale for value in (*numerator, *denominator)]
