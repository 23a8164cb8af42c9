"""Synthesised sounds of generated items."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from skmmrec.datasets._files import to_wav

ATTRIBUTES = {
    "timbre": ("flute", "reed", "organ", "bell", "wind"),
    "register": ("low", "middle", "high"),
    "rhythm": ("drone", "pulse", "flutter", "fade"),
}

_BASE_HZ = {"low": 98.0, "middle": 392.0, "high": 1568.0}
# Semitones of the major pentatonic scale: no two of them clash.
_PENTATONIC = (0, 2, 4, 7, 9)
# Relative frequency and amplitude of the partials.
_PARTIALS = {
    "flute": ((1, 1.0), (2, 0.12)),
    "reed": tuple((n, 1.0 / n**0.6) for n in range(1, 25)),
    "organ": ((0.5, 0.8), (1, 1.0), (3, 0.5), (5, 0.35), (7, 0.25)),
    "bell": ((1, 1.0), (2.76, 0.7), (4.07, 0.6), (5.4, 0.5), (8.93, 0.4)),
}


def play_sound(
    attributes: Mapping[str, str],
    rng: np.random.Generator,
    seconds: float,
    sample_rate: int,
) -> bytes:
    """Synthesise the sound of one item as a file.

    As `synthesise` does; the file is a WAV: mono, 16 bit.
    """
    return to_wav(synthesise(attributes, rng, seconds, sample_rate), sample_rate)


def synthesise(
    attributes: Mapping[str, str],
    rng: np.random.Generator,
    seconds: float,
    sample_rate: int,
) -> NDArray:
    """Synthesise the sound of one item.

    `attributes` has a value for each name in `ATTRIBUTES`; chance decides what taste
    does not depend on: key, interval, tempo, loudness. Returns ``seconds *
    sample_rate`` numbers between -1 and 1.
    """
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    pitch = _BASE_HZ[attributes["register"]] * 2 ** (rng.choice(_PENTATONIC) / 12)
    if attributes["timbre"] == "wind":
        tone = _band_noise(len(time), sample_rate, pitch, rng)
    else:
        tone = _chord(time, attributes["timbre"], pitch, sample_rate, rng)
    samples = tone * _envelope(time, attributes["rhythm"], seconds, rng)
    loudness = rng.uniform(0.5, 0.9)
    return loudness * samples / np.abs(samples).max()


def _chord(
    time: NDArray, timbre: str, pitch: float, sample_rate: int, rng: np.random.Generator
) -> NDArray:
    """Two notes of one timbre, the upper one a fifth or an octave away, and softer."""
    upper = pitch * rng.choice([1.5, 2.0])
    return _note(time, timbre, pitch, sample_rate) + 0.4 * _note(
        time, timbre, upper, sample_rate
    )


def _note(time: NDArray, timbre: str, pitch: float, sample_rate: int) -> NDArray:
    audible = [(r, a) for r, a in _PARTIALS[timbre] if r * pitch < 0.45 * sample_rate]
    vibrato = 0.004 * np.sin(2 * np.pi * 5.5 * time) if timbre == "flute" else 0.0
    phase = 2 * np.pi * pitch * (time + vibrato / 5.5)
    return sum((a * np.sin(r * phase) for r, a in audible), np.zeros_like(time))


def _band_noise(
    n: int, sample_rate: int, centre: float, rng: np.random.Generator
) -> NDArray:
    """White noise through a band of one octave and a half around `centre`."""
    spectrum = np.fft.rfft(rng.standard_normal(n))
    octaves = np.log2(np.fft.rfftfreq(n, 1 / sample_rate)[1:] / centre)
    spectrum[0] = 0
    spectrum[1:] *= np.exp(-0.5 * (octaves / 0.6) ** 2)
    return np.fft.irfft(spectrum, n)


def _envelope(
    time: NDArray, rhythm: str, seconds: float, rng: np.random.Generator
) -> NDArray:
    edges = np.minimum(1, np.minimum(time, seconds - time) / 0.02)
    match rhythm:
        case "pulse":
            beats = rng.uniform(2.5, 3.5) * time % 1
            return edges * np.exp(-5 * beats)
        case "flutter":
            return (
                edges
                * (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(11, 14) * time)) ** 2
            )
        case "fade":
            return edges * np.exp(-rng.uniform(3.5, 4.5) * time / seconds * 1.5)
        case _:
            return edges
