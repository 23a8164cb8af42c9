"""Compose, play and hum the songs of generated clips."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skmmrec.datasets._files import to_wav

ATTRIBUTES = {
    "instrument": ("piano", "flute", "strings", "organ", "guitar", "bells"),
    "tempo": ("slow", "medium", "fast"),
    "beat": ("none", "steady", "offbeat"),
}

SECONDS_A_CLIP = 8.0
SECONDS_A_HUM = 4.0
SAMPLE_RATE = 16_000

_BPM = {"slow": (66, 84), "medium": (100, 118), "fast": (140, 164)}
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
# Lengths of notes in beats, and how often each comes.
_LENGTHS, _OFTEN = (0.5, 1.0, 1.5, 2.0), (0.4, 0.4, 0.1, 0.1)
# MIDI numbers: melodies go from middle C to two octaves above, basses lie below.
_LOWEST, _HIGHEST, _BASS = 60, 84, 36


class Timbre(NamedTuple):
    """How an instrument sounds."""

    partials: tuple[tuple[float, float], ...]  # ratio, a multiple of 1/4; amplitude
    attack: float
    decay: float  # a second; 0 sustains
    vibrato: float  # in semitones


_TIMBRES = {
    "piano": Timbre(tuple((n, 0.9**n / n) for n in range(1, 7)), 0.005, 3.0, 0.0),
    "flute": Timbre(((1, 1.0), (2, 0.15), (3, 0.05)), 0.06, 0.0, 0.15),
    "strings": Timbre(tuple((n, 1 / n) for n in range(1, 11)), 0.12, 0.0, 0.25),
    "organ": Timbre(((1, 1.0), (2, 0.7), (3, 0.5), (4, 0.4), (8, 0.3)), 0.01, 0.0, 0.0),
    "guitar": Timbre(tuple((n, 1 / n**0.7) for n in range(1, 9)), 0.002, 7.0, 0.0),
    "bells": Timbre(((1, 1.0), (2.75, 0.6), (5.5, 0.4), (9, 0.2)), 0.001, 2.0, 0.0),
}
_BASS_TIMBRE = Timbre(((1, 1.0), (2, 0.2)), 0.01, 2.0, 0.0)
_VOICE = Timbre(((1, 1.0), (2, 0.35), (3, 0.12)), 0.04, 0.0, 0.2)


class Song(NamedTuple):
    """A melody, in beats, and the bass below it.

    Parameters
    ----------
    pitches, starts, lengths : ndarray of shape (n_notes,)
        MIDI number, first beat and beats of each note.
    bass : ndarray of shape (n_bars,)
        MIDI number of the bass in each bar of four beats.
    bpm : float
        Beats a minute.
    """

    pitches: NDArray
    starts: NDArray
    lengths: NDArray
    bass: NDArray
    bpm: float


def compose(tempo: str, scale: str, rng: np.random.Generator) -> Song:
    """Compose a song that is longer than a clip.

    `tempo` is "slow", "medium" or "fast", `scale` is "major" or "minor"; chance chooses
    all else.
    """
    bpm = rng.uniform(*_BPM[tempo])
    n_beats = int(np.ceil(SECONDS_A_CLIP * bpm / 60)) + 1
    lengths = rng.choice(_LENGTHS, size=2 * n_beats, p=_OFTEN)
    starts = np.cumsum(lengths) - lengths
    kept = starts < n_beats
    key = _LOWEST + int(rng.integers(12))
    bass = _BASS + (key + rng.choice([0, 5, 7, 9], size=n_beats // 4 + 1)) % 12
    return Song(
        _walk(kept.sum(), key, _SCALES[scale], rng),
        starts[kept],
        lengths[kept],
        bass.astype(float),
        bpm,
    )


def _walk(
    n: int, key: int, scale: tuple[int, ...], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Walk over the notes of a scale in steps and small leaps, and stay in range."""
    notes = np.array([key + 12 * octave + s for octave in (-1, 0, 1) for s in scale])
    notes = notes[(notes >= _LOWEST) & (notes <= _HIGHEST)]
    steps = rng.choice([-4, -2, -1, 1, 2, 3, 4], size=n)
    place, places = len(notes) // 2, []
    for step in steps:
        turned = not 0 <= place + step < len(notes)
        place += -step if turned else step
        places.append(place)
    return notes[places].astype(float)


def play(song: Song, attributes: Mapping[str, str], rng: np.random.Generator) -> bytes:
    """Play the beginning of a song.

    `attributes` has a value for each name in `ATTRIBUTES`; chance chooses how loud each
    note is. Returns a WAV file (mono, 16 bit) of `SECONDS_A_CLIP`.
    """
    n, beat = round(SECONDS_A_CLIP * SAMPLE_RATE), 60 / song.bpm
    mix = _notes(song, _TIMBRES[attributes["instrument"]], beat, n, rng)
    bars = np.arange(len(song.bass))
    bass = Song(song.bass, 4.0 * bars, np.full(len(bars), 4.0), song.bass, song.bpm)
    mix += 0.5 * _notes(bass, _BASS_TIMBRE, beat, n, rng)
    mix += _drums(attributes["beat"], beat, n, rng)
    mix += 0.003 * rng.standard_normal(n, dtype=np.float32)
    return to_wav(rng.uniform(0.5, 0.9) * mix / np.abs(mix).max(), SAMPLE_RATE)


def _notes(
    song: Song, timbre: Timbre, beat: float, n: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Play notes one after the other into a signal of n samples."""
    signal = np.zeros(n)
    for pitch, start, length in zip(
        song.pitches, song.starts, song.lengths, strict=True
    ):
        first = round(start * beat * SAMPLE_RATE)
        room = min(n - first, round(length * beat * SAMPLE_RATE))
        if room > 0:
            tone = _tone(np.full(room, pitch), timbre)
            signal[first : first + room] += rng.uniform(0.7, 1.0) * tone
    return signal


def _tone(pitches: NDArray[np.float64], timbre: Timbre) -> NDArray:
    """Play one tone, given its MIDI number at each sample."""
    time = np.arange(len(pitches), dtype=np.float32) / SAMPLE_RATE
    bent = pitches + timbre.vibrato * np.sin(2 * np.pi * 5.5 * time)
    hertz = 440 * 2 ** ((bent - 69) / 12)
    # Ratios are quarters, so four turns are a period; float32 is three times as fast.
    turns = (np.cumsum(hertz) / SAMPLE_RATE % 4).astype(np.float32)
    audible = [(r, a) for r, a in timbre.partials if r * hertz.max() < SAMPLE_RATE / 2]
    tone = np.zeros_like(time)
    for ratio, amplitude in audible:
        tone += amplitude * _partial(turns, time, ratio, timbre.decay)
    ends = np.minimum(time / timbre.attack, (time[-1] - time) / 0.02)
    return np.minimum(1, ends) * tone / sum(a for _, a in audible)


def _partial(turns: NDArray, time: NDArray, ratio: float, decay: float) -> NDArray:
    """Play one partial; of struck and plucked tones, higher ones die sooner."""
    wave = np.sin(np.float32(2 * np.pi * ratio) * turns)
    return wave * np.exp(np.float32(-decay * ratio**0.5) * time) if decay else wave


def _drums(beat: str, seconds: float, n: int, rng: np.random.Generator) -> NDArray:
    """Hit a drum on each beat, or between the beats."""
    if beat == "none":
        return np.zeros(n)
    time = np.arange(n, dtype=np.float32) / SAMPLE_RATE
    since = (time + (seconds / 2 if beat == "offbeat" else 0)) % seconds
    thump = np.sin(2 * np.pi * 55 * since) * np.exp(-18 * since)
    hiss = rng.standard_normal(n, dtype=np.float32) * np.exp(-40 * since)
    return 0.8 * thump + 0.25 * hiss if beat == "steady" else 0.5 * hiss


def hum(song: Song, rng: np.random.Generator) -> bytes:
    """Hum a cut of a clip, as somebody does who remembers it.

    Another timbre, in another key, faster or slower by up to a tenth, not quite in
    tune, with slides from note to note, and without bass and drums.

    Chance chooses the cut, the key, the tempo and the mistakes. Returns a WAV file
    (mono, 16 bit) of `SECONDS_A_HUM`.
    """
    speed = rng.uniform(0.9, 1.1)
    beat, n = speed * 60 / song.bpm, round(SECONDS_A_HUM * SAMPLE_RATE)
    begin = rng.uniform(0, SECONDS_A_CLIP * speed - SECONDS_A_HUM) / beat
    first = int(np.searchsorted(song.starts, begin, side="right")) - 1
    # A fifth of a semitone: one step in thirteen is then off by more than half of one.
    off = rng.uniform(-7, 2) + rng.normal(0, 0.2, len(song.pitches))
    time = np.arange(n) / SAMPLE_RATE / beat + song.starts[first]
    now = np.searchsorted(song.starts, time, side="right") - 1
    slid = _smooth((song.pitches + off)[now], round(0.05 * SAMPLE_RATE))
    since = (time - song.starts[now]) * beat
    tone = _tone(slid, _VOICE) * np.minimum(1, 0.3 + since / 0.08)
    tone += 0.01 * rng.standard_normal(n, dtype=np.float32)
    return to_wav(0.7 * tone / np.abs(tone).max(), SAMPLE_RATE)


def _smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the means over windows of a width."""
    padded = np.pad(values, (width // 2, width - 1 - width // 2), mode="edge")
    sums = np.cumsum(np.concatenate([[0.0], padded]))
    return (sums[width:] - sums[:-width]) / width
