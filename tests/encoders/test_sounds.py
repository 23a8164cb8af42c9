"""Samples in memory: every shape, type and range is read right or refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from skmmrec.encoders import AudioEncoder, ContentError, decode_sound, read_sound
from skmmrec.encoders._sounds import sound_key
from skmmrec.preprocessing import AudioTrimmer

from .sound_files import RATE, encoded, sweep

SOUND = sweep(0.5).astype(np.float32)
INT16 = np.round(SOUND * 32767).astype(np.int16)


IN_KHZ = [8, 11.025, 12, 16, 22.05, 24, 32, 44.1, 48, 88.2, 96, 176.4, 192]


def read(samples, rate=RATE):
    return read_sound((samples, rate), rate, 600)


def assert_read(samples, expected=SOUND, tolerance=1e-4):
    found = read(samples)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=tolerance)


class TestLengths:
    @given(
        n=st.integers(1, 50),
        own=st.integers(1, 2**32 - 1).filter(lambda rate: rate not in IN_KHZ),
        rate=st.integers(1, 48000),
    )
    @settings(max_examples=50)
    def test_there_is_a_sample_at_any_rate(self, n, own, rate):
        found = read_sound((np.full(n, 0.5, np.float32), own), rate, 600)
        assert len(found)
        assert np.isfinite(found).all()

    def test_what_is_shorter_than_a_sample_becomes_its_mean(self):
        sound = np.array([0.5, 0.25, 0.0], np.float32)
        found = read_sound((sound, 10**9), RATE, 600)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, [0.25], atol=1e-6, rtol=1e-6)


class TestShapes:
    @pytest.mark.parametrize("n_channels", [1, 2, 6, 8, 16, 64])
    def test_either_axis_may_be_that_of_the_channels(self, n_channels):
        rows = np.tile(SOUND, (n_channels, 1))
        assert_read(rows)
        assert_read(rows.T)
        assert_read(np.asfortranarray(rows))

    @pytest.mark.parametrize("shape", [(1, 2), (2, 6), (3, 2), (1, 1), (2, 2), (1, 8)])
    def test_few_samples_are_those_of_few_channels(self, shape):
        assert_read(np.full(shape, 0.5), np.full(shape[0], 0.5, np.float32))

    @pytest.mark.parametrize("shape", [(2, 20), (1, 64), (128, 1000), (1000, 128)])
    def test_what_cannot_be_told_is_refused(self, shape):
        with pytest.raises(ContentError, match=r"not clear .* expected samples of"):
            read(np.full(shape, 0.1))

    @pytest.mark.parametrize("shape", [(), (0,), (0, 2), (2, 0), (1, 2, 500)])
    def test_what_is_no_sound_is_refused(self, shape):
        with pytest.raises(ContentError, match="expected samples of shape"):
            read(np.full(shape, 0.1))

    def test_a_rate_in_front_is_refused(self):
        """As `scipy.io.wavfile.read` gives them."""
        with pytest.raises(ContentError, match=r"samples .*, then their rate"):
            read_sound((RATE, INT16), RATE, 600)

    def test_all_orders_have_the_key_of_one_sound(self):
        stereo = np.column_stack([SOUND, SOUND])
        keys = {sound_key((x, RATE)) for x in (stereo, stereo.T, stereo.copy("F"))}
        assert len(keys) == 1
        assert keys != {sound_key((SOUND, RATE))}


class TestTypes:
    @pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", ">f8"])
    def test_floats(self, dtype):
        assert_read(SOUND.astype(dtype), tolerance=1e-3)

    @pytest.mark.parametrize("dtype", ["i2", ">i2", "i4", "i8", "u2", "u4", "u8"])
    def test_integers_of_the_full_range_of_their_type(self, dtype):
        info = np.iinfo(dtype)
        middle = 0 if info.min < 0 else (info.max + 1) // 2
        samples = SOUND.astype(np.float64) * (info.max - middle) * 0.999 + middle
        assert_read(samples.astype(dtype), SOUND * 0.999)

    @pytest.mark.parametrize("dtype", ["i1", "u1"])
    def test_8_bits(self, dtype):
        middle = 128 if dtype == "u1" else 0
        assert_read((SOUND * 127 + middle).round().astype(dtype), tolerance=0.01)

    @pytest.mark.parametrize("dtype", ["i4", "i8", "u8"])
    def test_16_bits_in_wider_integers_are_refused(self, dtype):
        samples = INT16.astype(dtype)
        if dtype == "u8":
            samples = INT16.astype(np.int64).astype(dtype) + np.uint64(2**63)
        with pytest.raises(ContentError, match=r"samples\.astype\('int16'\)"):
            read(samples)

    def test_24_bits_in_32(self):
        quiet = (np.random.default_rng(0).integers(-3, 4, 1000) * 256).astype(np.int32)
        assert np.abs(read(quiet)).max() < 1e-6
        assert_read((SOUND * (2**23 - 1)).astype(np.int32) * 256)

    def test_silence_is_content(self):
        for dtype in (np.int16, np.int32, np.int64, np.float16, np.float64):
            assert_read(np.zeros(100, dtype), np.zeros(100, np.float32))
        for dtype in (np.uint8, np.uint32, np.uint64):
            middle = np.full(100, np.iinfo(dtype).max // 2 + 1, dtype)
            assert_read(middle, np.zeros(100, np.float32))
        stereo = np.zeros((2, 500))
        assert_read(stereo, np.zeros(500, np.float32))

    def test_a_constant_stays(self):
        assert_read(np.full(100, 0.25), np.full(100, 0.25, np.float32))

    @pytest.mark.parametrize("dtype", [bool, complex, object, "U1"])
    def test_other_types_are_refused(self, dtype):
        with pytest.raises(ContentError, match="expected samples"):
            read(np.zeros(9).astype(dtype))

    def test_memory_maps_that_can_only_be_read(self, tmp_path):
        np.save(tmp_path / "sound.npy", INT16)
        assert_read(np.load(tmp_path / "sound.npy", mmap_mode="r"))
        stereo = np.memmap(tmp_path / "a", np.float32, "w+", shape=(2, len(SOUND)))
        stereo[:] = SOUND
        stereo.flush()
        mapped = np.memmap(tmp_path / "a", np.float32, "r", shape=stereo.shape)
        assert_read(mapped)
        frozen = SOUND.copy()
        frozen.flags.writeable = False
        assert_read(frozen)

    def test_lists(self):
        assert_read(SOUND.tolist())

    def test_tensors(self):
        tensor = torch.from_numpy(SOUND)
        assert_read(tensor)
        assert_read(tensor.repeat(2, 1))
        assert_read(tensor.clone().requires_grad_())
        assert_read(tensor.bfloat16(), tolerance=1e-2)
        assert_read(torch.from_numpy(INT16))
        with pytest.raises(ContentError, match="expected samples"):
            read(tensor[None, None])
        with pytest.raises(ContentError, match="not an array"):
            read(torch.empty(9, device="meta"))


class TestRanges:
    @pytest.mark.parametrize("factor", [1e-4, 1, 1.6, 4, 20])
    def test_hot_mixes_stay(self, factor):
        assert_read(SOUND * factor, SOUND * np.float32(factor), 1e-3)

    @pytest.mark.parametrize("factor", [127, 32_767, 2.0**31, 1e30])
    def test_floats_in_the_range_of_integers_are_refused(self, factor):
        with pytest.raises(ContentError, match="full scale is 1: divide them"):
            read(SOUND * factor)
        for subtype in ("FLOAT", "DOUBLE"):
            with pytest.raises(ContentError, match="full scale is 1: divide them"):
                read_sound(encoded(SOUND * factor, "WAV", subtype), RATE, 600)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
    def test_what_is_not_finite_is_refused(self, value):
        for n_channels in (1, 2):
            samples = np.zeros((100, n_channels))
            samples[50, -1] = value
            with pytest.raises(ContentError, match="NaN or infinite"):
                read(samples)

    def test_only_what_is_read_counts(self):
        samples = SOUND.copy()
        samples[-1] = np.nan
        assert len(read_sound((samples, RATE), RATE, 0.1)) == 1600

    def test_everything_can_be_read(self):
        assert len(read_sound((SOUND, RATE), RATE, np.inf)) == len(SOUND)


class TestMixing:
    def test_channels_are_averaged(self):
        other = sweep(0.5, seed=1)[::-1]
        assert_read(np.column_stack([SOUND, other]), (SOUND + other) / 2)
        assert_read(np.column_stack([SOUND, np.zeros_like(SOUND)]), SOUND / 2)
        surround = np.zeros((len(SOUND), 6))
        surround[:, 2] = SOUND
        assert_read(surround, SOUND / 6)

    @pytest.mark.parametrize("share", [1, 0.9, 0.7, 0.5])
    def test_an_inverted_channel_does_not_cancel_the_other(self, share):
        assert_read(np.column_stack([SOUND, -share * SOUND]))
        reverse = np.column_stack([-share * SOUND, SOUND])
        assert_read(reverse, -SOUND if share > 0.95 else SOUND)
        noise = np.random.default_rng(0).normal(0, 0.01, len(SOUND))
        found = read(np.column_stack([SOUND, noise - share * SOUND]))
        assert np.std(found) > 0.9 * np.std(SOUND)

    def test_four_channels_that_cancel(self):
        assert_read(np.column_stack([SOUND, -SOUND, 0.5 * SOUND, -0.5 * SOUND]))

    def test_a_part_that_cancels(self):
        sound = sweep(4.0).astype(np.float32)
        other = sound.copy()
        other[2 * RATE :] *= -1
        found = read(np.column_stack([sound, other]))
        np.testing.assert_allclose(
            found[: 2 * RATE - 8192], sound[: 2 * RATE - 8192], atol=1e-6, rtol=1e-6
        )
        np.testing.assert_allclose(
            found[2 * RATE + 8192 :], sound[2 * RATE + 8192 :], atol=1e-6, rtol=1e-6
        )

    def test_a_file_is_mixed_as_its_samples(self):
        """Also one that is read in several parts, where another channel gets louder."""
        left = sweep(20.0, 44_100) * np.linspace(1, 0.2, 20 * 44_100)
        right = -left[::-1]
        stereo = np.column_stack([left + right, -left - 0.9 * right]).astype(np.float32)
        data = encoded(stereo, "WAV", "FLOAT", rate=44_100)
        found = read_sound(data, 44_100, 600)
        np.testing.assert_array_equal(found, read(stereo, 44_100))
        assert np.std(found) > 0.5 * np.std(stereo)

    @pytest.mark.parametrize("n_samples", [1, 5, 8192, 8193])
    def test_any_length(self, n_samples):
        sound = np.full(n_samples, 0.5, np.float32)
        assert_read(np.column_stack([sound, -sound]).reshape(-1, 2), sound)

    @pytest.mark.parametrize("file_format", ["WAV", "FLAC"])
    def test_files(self, file_format):
        data = encoded(np.column_stack([SOUND, -SOUND]), file_format)
        found = read_sound(data, RATE, 600)
        np.testing.assert_allclose(found, SOUND, atol=1e-4, rtol=1e-4)

    @settings(max_examples=100, database=None)
    @given(
        gains=st.lists(st.floats(-1, 1), min_size=1, max_size=6),
        seed=st.integers(0, 1000),
    )
    def test_one_sound_is_heard_whatever_its_share_in_the_channels(self, gains, seed):
        sound = sweep(0.1, seed=seed)
        found = read(np.outer(sound, gains))
        loudest = np.abs(gains).max()
        energy = np.sum(np.square(gains)) / len(gains) ** 2
        assert np.std(found) >= 0.49 * np.sqrt(energy) * np.std(sound) - 1e-7
        assert np.std(found) <= loudest * np.std(sound) + 1e-6


def test_encoders_and_transformers_hear_what_cancels():
    inverted = np.column_stack([SOUND, -SOUND])
    encoder = AudioEncoder("MobileNetV1", pretrained=False).fit(["any"])
    heard, silent, alone = encoder.transform(
        [(inverted, RATE), (np.zeros(8000), RATE), (SOUND, RATE)]
    )
    np.testing.assert_allclose(heard, alone, atol=1e-5, rtol=1e-5)
    assert np.abs(heard - silent).max() > 1e-3
    ((trimmed, rate),) = AudioTrimmer().fit_transform([(inverted.T, RATE)])
    assert rate == RATE
    assert np.abs(trimmed).max() > 0.5


def test_the_own_rate_is_kept():
    waveform, rate = decode_sound((SOUND, 11_025), 600)
    assert rate == 11_025
    np.testing.assert_array_equal(waveform, SOUND)


@pytest.mark.parametrize(
    "rate", [0, -1, np.nan, np.inf, 1e300, 2**32, "16000", None, True]
)
def test_rates_that_are_none(rate):
    with pytest.raises(ContentError, match="sample rate must be from 1 to"):
        read_sound((np.zeros(100, np.float32), rate), 16_000, 600)


class TestErrorsOfReadSound:
    """Who calls it for many files needs to know which one is broken."""

    @pytest.mark.parametrize(
        ("data", "problem"),
        [
            (b"", "is an empty file"),
            (b"no sound", "is not a readable sound"),
            (None, "no such file"),
        ],
    )
    def test_name_the_file(self, tmp_path, data, problem):
        path = tmp_path / "clip.wav"
        if data is not None:
            path.write_bytes(data)
        for item in (path, str(path)):
            with pytest.raises(ContentError, match=rf"^'.*clip\.wav': {problem}"):
                read_sound(item, RATE)

    @pytest.mark.parametrize("item", [None, np.nan, " "])
    def test_say_what_is_missing(self, item):
        with pytest.raises(ContentError, match="the sound is missing"):
            read_sound(item, RATE)

    def test_say_what_is_no_sound(self):
        with pytest.raises(ContentError, match=r"expected a path, bytes or .* got int"):
            read_sound(7, RATE)

    def test_an_encoder_names_the_file_once(self, tmp_path):
        path = tmp_path / "clip.wav"
        path.write_bytes(b"")
        encoder = AudioEncoder("MobileNetV1", pretrained=False).fit([path])
        with pytest.raises(ContentError) as raised:
            encoder.transform([path])
        assert str(raised.value).count("clip.wav") == 1


@pytest.mark.parametrize("rate", [*IN_KHZ, np.float32(44.1), np.int64(48)])
def test_rates_in_khz_are_refused(rate):
    with pytest.raises(ContentError, match=r"must be in Hz, got .* looks like kHz"):
        read_sound((np.zeros(100, np.float32), rate), 16_000, 600)


def test_low_rates_in_hz_are_read():
    assert len(read_sound((np.zeros(100, np.float32), 250), 500, 600)) == 200


@pytest.mark.parametrize("convert", [np.array, torch.tensor, np.int32])
def test_rates_of_numpy_and_torch(convert):
    found = read_sound((SOUND, convert(RATE)), 8000)
    np.testing.assert_array_equal(found, read_sound((SOUND, RATE), 8000))


@pytest.mark.parametrize("rate", [0, -1, None, "8000", np.nan, np.inf, True])
def test_a_wanted_rate_that_is_none_is_named(rate):
    with pytest.raises(ValueError, match="sample_rate must be from 1 to"):
        read_sound((SOUND, RATE), rate)


@pytest.mark.parametrize("seconds", [0, -1, None, "1", np.nan, True])
def test_a_wanted_length_that_is_none_is_named(seconds):
    with pytest.raises(ValueError, match="max_duration must be seconds above 0"):
        read_sound((SOUND, RATE), 8000, seconds)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "m4a", "bin"])
@pytest.mark.parametrize("text", [b"no sound", b"no sound\n" * 1000])
def test_texts_under_the_name_of_a_sound_are_told(tmp_path, suffix, text):
    path = tmp_path / f"clip.{suffix}"
    path.write_bytes(text)
    with pytest.raises(ContentError, match="not a readable sound: it is text"):
        read_sound(path, 16_000, 600)
