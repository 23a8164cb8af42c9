"""FLAC and Ogg: lengths, metadata, and files that are joined."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.encoders import (
    ContentError,
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


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.lists(st.sampled_from([b"f", b"L", b"fL", b"x", b"Lf"])))
def test_pairs_are_found_at_even_and_odd_places(pieces):
    data = b"".join(pieces)
    expected = [i for i in range(len(data)) if data[i : i + 2] == b"fL"]
    assert _sound_streams._pairs(data, b"fL") == expected
