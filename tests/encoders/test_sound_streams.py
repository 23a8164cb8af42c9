"""FLAC and Ogg: lengths, metadata, and files that are joined."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.encoders import (
    ContentError,
    _sound_files,
    _sound_streams,
    read_sound,
)

from .sound_files import (
    ID3V1,
    QUANTIZED,
    RATE,
    SOUND,
    assert_same,
    encoded,
    encoded_by_av,
    id3,
    put,
    sweep,
)


class TestFlac:
    DATA = encoded(SOUND, "FLAC", "PCM_16")

    @pytest.mark.parametrize("n_samples", [0, 1, 5000, 15_999, 16_000])
    def test_any_length_up_to_the_true_one(self, n_samples):
        assert_same(put(self.DATA, 22, struct.pack(">I", n_samples)), QUANTIZED)

    def test_less_than_declared(self):
        more = put(self.DATA, 22, struct.pack(">I", 20_000))
        for data in (more, self.DATA[:-2000]):
            with pytest.raises(ContentError, match=r"cut off|damaged"):
                read_sound(data, RATE, 600)

    def test_the_frames_say_what_the_format_is(self):
        wrong = put(self.DATA, 18, struct.pack(">I", 0x0BB80FF0))
        assert_same(wrong, QUANTIZED)

    @pytest.mark.parametrize("size", [0, 9, 5000, 2**24 - 1])
    def test_metadata_of_a_wrong_size(self, size):
        marked = put(self.DATA, 43, size.to_bytes(3, "big"))
        assert_same(marked, QUANTIZED)

    def test_a_picture_in_front(self):
        picture = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8)
        block = b"\x06" + len(picture).to_bytes(3, "big") + picture.tobytes()
        data = self.DATA[:42] + block + self.DATA[42:]
        assert_same(data, QUANTIZED)

    def test_tags_around(self):
        assert_same(id3() + self.DATA + ID3V1, QUANTIZED)
        unknown = put(self.DATA, 22, bytes(4))
        assert_same(unknown + ID3V1, QUANTIZED)
        assert_same(self.DATA + b"something else", QUANTIZED)

    def test_joined(self):
        other = encoded(-SOUND[:8000], "FLAC", "PCM_16")
        both = np.concatenate([QUANTIZED, -QUANTIZED[:8000]])
        assert_same(self.DATA + other, both)
        unknown = put(self.DATA, 22, bytes(4))
        assert_same(unknown + other, both)


def read_or_error(data, max_duration=600):
    try:
        return read_sound(data, RATE, max_duration).tolist()
    except ContentError as error:
        return str(error)


def read_part_by_part(data, max_duration=600):
    """Read a file as if no FLAC was what its header says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_sound_files, "plain_flac", lambda file: None)
        return read_or_error(data, max_duration)


class TestPlainFlac:
    DATA = TestFlac.DATA
    NOISE = np.random.default_rng(0).normal(0, 0.1, (60_000, 2))

    @pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
    @pytest.mark.parametrize("n_channels", [1, 2])
    @pytest.mark.parametrize("n_samples", [1, 192, 4095, 4096, 4097, 60_000])
    @pytest.mark.parametrize("rate", [8000, 12_345, 44_100, 655_350])
    def test_files_of_encoders_are(self, subtype, n_channels, n_samples, rate):
        samples = self.NOISE[:n_samples, :n_channels]
        part = _sound_streams.plain_flac(
            io.BytesIO(encoded(samples, "FLAC", subtype, rate))
        )
        assert part is not None
        assert part.n_declared == part.n_most == n_samples
        assert part.seconds == n_samples / rate

    def test_those_of_another_encoder_are(self):
        pytest.importorskip("av")
        data = encoded_by_av(sweep(1.0, 44_100), "flac", "flac", 44_100)
        part = _sound_streams.plain_flac(io.BytesIO(data))
        assert part is not None
        assert part.n_declared == 44_100
        assert_same(data, sweep(1.0, 44_100), rate=44_100)

    @pytest.mark.parametrize("size", [0, 1, 20_000])
    def test_others_are_not(self, size):
        other = encoded(SOUND[:size], "FLAC", "PCM_16") if size else b"fLaC"
        declared = put(self.DATA, 22, struct.pack(">I", size))
        for data in (self.DATA + other, declared, id3() + self.DATA):
            assert _sound_streams.plain_flac(io.BytesIO(data)) is None

    def test_a_long_one_that_follows_is_heard(self):
        """It starts further from the end than where another start is looked for."""
        loud = encoded(self.NOISE, "FLAC", "PCM_16")
        assert len(loud) > 2 * _sound_streams._TAIL
        assert _sound_streams.plain_flac(io.BytesIO(loud + loud)) is not None
        assert len(read_sound(loud + loud, RATE, 600)) == 2 * len(self.NOISE)

    def test_nothing_is_decoded_twice(self, monkeypatch):
        starts = []
        read = _sound_files._read
        monkeypatch.setattr(
            _sound_files,
            "_read",
            lambda stream, *args: starts.append(0) or read(stream, *args),
        )
        read_sound(self.DATA, RATE, 600)
        assert len(starts) == 1

    @settings(max_examples=150, database=None)
    @given(
        st.sampled_from(["tones", "noise"]),
        st.sampled_from(["", "tones", "noise"]),
        st.integers(0, 400),
        st.tuples(st.floats(0, 1), st.integers(0, 255)) | st.none(),
        st.sampled_from([0, 0, 1, 4096, 15_999, 16_000, 60_000]),
        st.sampled_from([0.1, 0.7, 1.0, 600]),
    )
    def test_damaged_ones_are_read_part_by_part(
        self, first, second, n_cut, change, declared, max_duration
    ):
        kinds = {"tones": self.DATA, "noise": encoded(self.NOISE, "FLAC"), "": b""}
        data = kinds[first]
        if declared:
            data = put(data, 22, struct.pack(">I", declared))
        data = data[: len(data) - n_cut * 7] + kinds[second]
        if change is not None:
            position = int(change[0] * (len(data) - 1))
            data = put(data, position, bytes([change[1]]))
        expected = read_part_by_part(data, max_duration)
        assert read_or_error(data, max_duration) == expected


class TestOgg:
    @pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
    def test_joined(self, subtype):
        parts = [sweep(0.7), sweep(0.5, seed=1)]
        data = b"".join(encoded(part, "OGG", subtype) for part in parts)
        assert_same(data, np.concatenate(parts), 1024)

    def test_joined_at_two_rates(self):
        data = encoded(SOUND, "OGG") + encoded(sweep(1.0, 44_100), "OGG", rate=44_100)
        assert_same(data, np.tile(SOUND, 2), 1024)

    @pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
    def test_what_is_there_of_a_cut_one(self, subtype):
        samples = np.random.default_rng(0).normal(0, 0.2, 20 * RATE)
        data = encoded(samples, "OGG", subtype)
        found = read_sound(data[: len(data) // 2], RATE, 600)
        assert 7 < len(found) / RATE < 13
        np.testing.assert_allclose(np.std(found), 0.2, atol=0.05, rtol=0.2)


@settings(max_examples=100)
@given(st.lists(st.sampled_from([b"f", b"L", b"fL", b"x", b"Lf"])))
def test_pairs_are_found_at_even_and_odd_places(pieces):
    data = b"".join(pieces)
    expected = [i for i in range(len(data)) if data[i : i + 2] == b"fL"]
    assert _sound_streams._pairs(data, b"fL") == expected
