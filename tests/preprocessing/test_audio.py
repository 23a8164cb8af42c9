"""Sounds are trimmed, levelled and denoised, whatever holds them."""

import numpy as np
import pytest
import soundfile

from skmmrec.preprocessing import AudioDenoiser, AudioTrimmer, LoudnessNormalizer
from skmmrec.preprocessing._loudness import integrated_loudness

RATE = 16_000


def tone(amplitude=0.5, seconds=1.0, frequency=997, rate=RATE):
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def padded(before=0.5, after=0.25):
    silence = [np.zeros(round(s * RATE), np.float32) for s in (before, after)]
    return np.concatenate([silence[0], tone(), silence[1]])


def test_silence_at_the_ends_is_cut_off(tmp_path):
    sound = padded()
    path = tmp_path / "a.wav"
    soundfile.write(path, sound, RATE)
    holders = [
        (sound, RATE),
        path,
        str(path),
        path.read_bytes(),
        (np.column_stack([sound, sound]), RATE),
    ]
    for samples, rate in AudioTrimmer().fit_transform(holders):
        assert rate == RATE
        assert samples.dtype == np.float32
        assert len(samples) / rate == pytest.approx(1, abs=0.05)
        assert np.abs(samples).max() == pytest.approx(0.5, abs=0.01)


def test_silence_within_stays():
    sound = np.concatenate([tone(seconds=0.2), padded(0.5, 0.5)])
    ((samples, _),) = AudioTrimmer().fit_transform([(sound, RATE)])
    assert len(samples) / RATE == pytest.approx(1.7, abs=0.05)


def test_the_threshold_decides_what_is_silence():
    sound = np.concatenate([tone(0.01), tone(0.5)])  # 34 dB apart
    lengths = [
        len(AudioTrimmer(top_db=top_db).fit_transform([(sound, RATE)])[0][0]) / RATE
        for top_db in (40, 20)
    ]
    assert lengths == pytest.approx([2, 1], abs=0.05)


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
@pytest.mark.parametrize("amplitude", [1.0, 0.1])
def test_loudness_is_that_of_the_standard(rate, amplitude):
    """A full-scale tone of 997 Hz in one channel has -3.01 LUFS."""
    expected = -3.01 + 20 * np.log10(amplitude)
    loudness = integrated_loudness(tone(amplitude, 2, rate=rate), rate)
    assert loudness == pytest.approx(expected, abs=0.1 if rate > 8000 else 0.5)


def test_the_weighting_has_the_coefficients_of_the_standard():
    """ITU-R BS.1770-4, tables 1 and 2, at 48 kHz."""
    from skmmrec.preprocessing._loudness import _high_pass, _shelf

    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285]
    np.testing.assert_allclose(_shelf(48_000)[:3], shelf, rtol=1e-6, atol=1e-6)
    poles = [1.0, -1.69065929318241, 0.73248077421585]
    np.testing.assert_allclose(_shelf(48_000)[3:], poles, rtol=1e-6, atol=1e-6)
    high_pass = [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621]
    np.testing.assert_allclose(_high_pass(48_000), high_pass, rtol=1e-6, atol=1e-6)


def test_silence_does_not_count_in_the_loudness():
    with_silence = np.concatenate([tone(seconds=2), np.zeros(5 * RATE)])
    loudness = integrated_loudness(with_silence, RATE)
    assert loudness == pytest.approx(integrated_loudness(tone(), RATE), abs=0.5)


def test_sounds_become_equally_loud():
    sounds = [(tone(a, 2, f), RATE) for a, f in ((0.01, 997), (0.9, 200), (0.3, 4000))]
    for samples, rate in LoudnessNormalizer(target=-20).fit_transform(sounds):
        assert integrated_loudness(samples, rate) == pytest.approx(-20, abs=0.05)


def test_peaks_stay_within_full_scale_and_silence_stays():
    clicks = np.zeros(RATE, np.float32)
    clicks[::4000] = 0.1
    (loud, _), (silent, _) = LoudnessNormalizer(target=0).fit_transform(
        [(clicks, RATE), (np.zeros(RATE), RATE)]
    )
    assert np.abs(loud).max() == pytest.approx(1, abs=1e-6)
    assert not silent.any()


def test_noise_is_turned_down_and_sound_is_kept():
    rng = np.random.default_rng(0)
    clean = padded(0.5, 0.5)
    noisy = clean + rng.normal(0, 0.02, len(clean)).astype(np.float32)
    ((samples, _),) = AudioDenoiser(reduction=20).fit_transform([(noisy, RATE)])
    assert len(samples) == len(noisy)
    pause = slice(0, 7000)
    assert samples[pause].std() < noisy[pause].std() / 4
    before, after = (np.square(x - clean).mean() for x in (noisy, samples))
    assert after < before / 4
    during = slice(9000, 23_000)
    assert samples[during].std() == pytest.approx(
        clean[during].std(), rel=0.05, abs=1e-6
    )


@pytest.mark.parametrize(
    "transformer", [AudioTrimmer(), LoudnessNormalizer(), AudioDenoiser()]
)
class TestEvery:
    def test_odd_sounds_pass(self, transformer):
        sounds = [(np.ones(1), 8000), (np.zeros(9), 48_000), (tone(0.1, 0.01), RATE)]
        sounds += [(np.ones(30), 1), (tone(), RATE)]
        for samples, _ in transformer.fit_transform(sounds):
            assert len(samples)
            assert np.isfinite(samples).all()

    def test_a_broken_sound_names_its_row_and_file(self, transformer, tmp_path):
        (tmp_path / "bad.wav").write_text("no sound")
        with pytest.raises(ValueError, match=r"row 1 \('.*bad\.wav'\): is not a read"):
            transformer.fit_transform([(tone(), RATE), tmp_path / "bad.wav"])
        with pytest.raises(ValueError, match="row 0: the sample rate must be"):
            transformer.fit_transform([(tone(), 0)])

    def test_only_the_first_seconds_are_read(self, transformer):
        transformer = type(transformer)(max_duration=0.5)
        ((samples, _),) = transformer.fit_transform([(tone(), RATE)])
        assert len(samples) == RATE // 2
