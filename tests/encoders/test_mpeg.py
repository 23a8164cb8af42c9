"""MP3 and layer II: counts, tags, and files that are joined."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.encoders import (
    ContentError,
    _mpeg,
    _mpeg_tags,
    _plain_mp3,
    _sound_files,
    read_sound,
)

from .sound_files import (
    ID3V1,
    MP3_FRAME,
    RATE,
    SOUND,
    assert_joined,
    assert_same,
    encoded,
    encoded_by_av,
    id3,
    lag,
    put,
    sweep,
)


def without_count(data):
    """Return an MP3 without its first frame, which counts the others."""
    start = data.index(b"\xff", 4)
    while data[start + 1] & 0xE0 != 0xE0 or data[start : start + 2] != data[:2]:
        start = data.index(b"\xff", start + 1)
    return data[start:]


def id3_of(frames, footer):
    """Return an ID3v2.4 tag of some bytes, with or without a footer."""
    sevens = bytes(len(frames) >> shift & 127 for shift in (21, 14, 7, 0))
    tag = b"ID3\4\0" + (b"\x10" if footer else b"\0") + sevens + frames
    return tag + (footer + sevens if footer else b"")


def uneven():
    """A sound whose start is all but silent: a VBR estimates its length badly."""
    samples = sweep(3.0)
    samples[:RATE] *= 1e-3
    return samples


class TestMp3:
    @pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE", "AVERAGE"])
    @pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
    @pytest.mark.parametrize("n_channels", [1, 2])
    def test_modes_with_and_without_a_count(self, mode, rate, n_channels):
        samples = sweep(0.5, rate)
        channels = np.column_stack([samples] * n_channels)
        data = encoded(
            channels, "MP3", rate=rate, bitrate_mode=mode, compression_level=0.5
        )
        assert_same(data, samples, 1, rate)
        assert_same(without_count(data), samples, MP3_FRAME, rate)

    @pytest.mark.parametrize("count", ["0", "1"])
    @pytest.mark.parametrize("quiet_end", [False, True])
    def test_a_variable_rate(self, count, quiet_end):
        pytest.importorskip("av")
        samples = uneven()[::-1] if quiet_end else uneven()
        data = encoded_by_av(
            samples, "libmp3lame", "mp3", vbr=True, write_xing=count, id3v2_version="0"
        )
        assert (b"Xing" in data[:64]) == (count == "1")
        assert_same(data, samples, MP3_FRAME)
        assert_joined(data + data, [samples, samples], MP3_FRAME)

    def test_tags_around_and_between(self):
        data = encoded(SOUND, "MP3")
        assert_same(id3() + data + ID3V1, SOUND, MP3_FRAME)
        assert_same(id3(400_000) + data, SOUND, MP3_FRAME)
        assert_same(bytes(500) + data, SOUND, MP3_FRAME)

    @pytest.mark.parametrize("has_footer", [False, True])
    def test_a_sound_in_a_tag_is_not_heard(self, has_footer):
        data, other = encoded(SOUND, "MP3"), encoded(sweep(0.7, seed=1), "MP3")
        footer = b"3DI\4\0\x10" if has_footer else b""
        tag = id3_of(b"PRIV" + bytes(6) + other, footer)
        assert_same(tag + data, SOUND, 1)
        assert_same(tag + tag + without_count(data), SOUND, MP3_FRAME)
        assert_same(tag + data + tag + data, np.concatenate([SOUND, SOUND]), 1)

    def test_joined(self):
        other = sweep(0.7, seed=1)
        pair = [encoded(SOUND, "MP3"), encoded(other, "MP3")]
        both = np.concatenate([SOUND, other])
        assert_same(b"".join(pair), both, 1)
        assert_same(b"".join(id3() + data + ID3V1 for data in pair), both, 1)
        plain = [without_count(data) for data in pair]
        for between in (b"", id3(3000), ID3V1, bytes(1000)):
            assert_joined(between.join(plain), [SOUND, other], MP3_FRAME)

    @pytest.mark.parametrize("declared", [0, 5, 290, 311, 5000, 2**28 - 1])
    def test_a_tag_of_a_wrong_size(self, declared):
        assert_same(id3(300, declared) + encoded(SOUND, "MP3"), SOUND, MP3_FRAME)

    @pytest.mark.parametrize("n_frames", [0, 1, 10, 1000, 2**32 - 1])
    def test_a_wrong_count(self, n_frames):
        data = encoded(SOUND, "MP3")
        place = data.index(b"Xing") + 8
        assert_same(put(data, place, struct.pack(">I", n_frames)), SOUND, MP3_FRAME)

    @pytest.mark.parametrize(
        "text", [b"Info", b"Xing", b"VBRI", b"TAG", b"ID3", b"OggS"]
    )
    @pytest.mark.parametrize("rest", [b"", b"rmation", b"\xff" * 9, b"\0\0\1\xff" * 3])
    def test_a_text_that_names_what_is_looked_for(self, text, rest):
        tag = put(id3(), 40, text + rest)
        assert_same(tag + encoded(SOUND, "MP3"), SOUND, 1)
        plain = without_count(encoded(SOUND, "MP3"))
        assert_same(tag + plain + tag, SOUND, MP3_FRAME)

    def test_joined_where_the_first_is_cut_off(self):
        plain = without_count(encoded(SOUND, "MP3"))
        found = read_sound(plain[:-100] + id3() + encoded(SOUND, "MP3"), RATE, 600)
        assert lag(found[-len(SOUND) :], SOUND) == 0

    def test_a_damaged_tag_is_believed_where_that_is_usual(self):
        data = encoded(SOUND, "MP3")
        place = data.index(b"LAME")
        assert len(read_sound(put(data, place, b"l"), RATE, 600)) == len(SOUND)
        delays = b"\xff\xff\xff"  # 4095 samples before and after
        assert_same(put(data, place + 21, delays), SOUND, MP3_FRAME)

    def test_frames_that_are_damaged(self):
        data = encoded(sweep(2.0), "MP3")
        (recording,), _ = _mpeg._recordings(data, 600)
        header = put(data, recording.frames[5][0], b"\0\0")
        with pytest.raises(ContentError, match=r"is damaged: \d+ of \d+ frames"):
            read_sound(header, RATE, 600)
        uncounted = read_sound(without_count(header), RATE, 600)
        assert len(uncounted) == pytest.approx(2 * RATE, abs=3 * MP3_FRAME)

    def test_a_count_of_another_maker(self):
        data = without_count(encoded(SOUND, "MP3", bitrate_mode="CONSTANT"))
        n_frame = data.index(data[:2], 4)
        for n_frames in (1, 28, 10**6):
            fields = struct.pack(">HHHII", 1, 576, 75, n_frame + len(data), n_frames)
            count = (data[:4] + bytes(32) + b"VBRI" + fields).ljust(n_frame, b"\0")
            assert_same(count + data, SOUND, MP3_FRAME)

    def test_less_than_counted(self):
        with pytest.raises(ContentError, match=r"cut off: \d+ of \d+ frames"):
            read_sound(encoded(SOUND, "MP3")[:-1000], RATE, 600)

    def test_joined_at_two_rates(self):
        other = sweep(1.0, 44_100)
        data = encoded(SOUND, "MP3") + encoded(other, "MP3", rate=44_100)
        assert_same(data, np.tile(SOUND, 2), MP3_FRAME)

    def test_joined_mono_and_stereo(self):
        data = encoded(SOUND, "MP3") + encoded(np.column_stack([SOUND] * 2), "MP3")
        assert_same(data, np.tile(SOUND, 2), MP3_FRAME)

    def test_a_stream_that_starts_amid_a_frame(self):
        data = without_count(encoded(sweep(2.0), "MP3"))
        found = read_sound(data[100:-100], RATE, 600)
        assert len(found) == pytest.approx(2 * RATE, abs=4 * MP3_FRAME)

    def test_layer_two(self):
        pytest.importorskip("av")
        data = encoded_by_av(sweep(1.0, 44_100), "mp2", "mp2", 44_100)
        assert_same(data, sweep(1.0, 44_100), MP3_FRAME, 44_100)
        other = encoded_by_av(
            sweep(1.0, 44_100), "mp2", "mp2", 44_100, bit_rate=192_000
        )
        for joined in (data + other, other + data):
            assert_joined(joined, [sweep(1.0, 44_100)] * 2, MP3_FRAME, 44_100)


def test_checksums_of_tags():
    assert _mpeg_tags._checksum(b"123456789") == 0xBB3D  # the check value of CRC-16/ARC
    assert _mpeg_tags._checksum(b"") == 0


class TestFramesInARow:
    DATA = encoded(sweep(2.0), "MP3")
    OTHER = encoded(sweep(0.5, 44_100), "MP3", rate=44_100)

    @settings(max_examples=150, database=None)
    @given(
        st.lists(st.sampled_from(["data", "other", "cut", "tag", "id3"]), max_size=5),
        st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=3),
        st.sampled_from([0.05, 0.3, 2.0, 600, np.inf]),
        st.integers(2, 9),
    )
    def test_they_are_what_they_are_one_by_one(self, names, changes, seconds, n):
        kinds = {
            "data": self.DATA,
            "other": self.OTHER,
            "cut": self.DATA[50:-31],
            "tag": ID3V1,
            "id3": id3(),
        }
        data = b"".join(kinds[name] for name in ["data", *names])
        for place, byte in changes:
            data = put(data, int(place * (len(data) - 1)), bytes([byte]))
        found = []
        for n_in_a_row in (1, n, 256):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(_mpeg, "_IN_A_ROW", n_in_a_row)
                found.append(_mpeg._recordings(data, seconds))
        assert found[0] == found[1] == found[2]

    @settings(max_examples=200, database=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(_mpeg_tags.COUNT_NAMES), st.integers(0, 100)),
            max_size=4,
        )
    )
    def test_counts_are_found_in_the_first_bytes_of_each(self, counts):
        size, n_frames = 60, 5
        data = bytearray(size * n_frames)
        for number, (name, shift) in enumerate(counts):
            start = min(number * size + shift, len(data) - len(name))
            data[start : start + len(name)] = name
        frame = _mpeg.Frame(size, 1152, RATE, (1, 3, 0, 0))
        frames = [(number * size, frame) for number in range(n_frames)]
        expected = [
            number
            for number, (start, _) in enumerate(frames)
            if _mpeg_tags._COUNT.search(bytes(data), start, start + _mpeg._COUNT_WITHIN)
        ]
        assert _mpeg._places_of_counts(bytes(data), frames) == expected
        groups = list(_mpeg._apart_from_counts(bytes(data), frames))
        assert [frame for _, group in groups for frame in group] == frames
        counting = [group for counts, group in groups if counts]
        assert counting == [[frames[number]] for number in expected]


def read_by_frames(data, monkeypatch):
    """Read an MP3 frame by frame, whatever its first frame counts."""
    with monkeypatch.context() as patch:
        patch.setattr(_sound_files, "plain_mp3", lambda file: None)
        return read_or_error(data)


def read_or_error(data):
    try:
        return read_sound(data, RATE)
    except ContentError as error:
        return str(error)


def assert_equal(found, expected):
    if isinstance(expected, str):
        assert found == expected
    else:
        np.testing.assert_array_equal(found, expected)


class TestPlainMp3:
    """What counts all its frames is decoded as it is, to the same samples."""

    @pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
    @pytest.mark.parametrize("rate", [8000, 22_050, 44_100])
    @pytest.mark.parametrize("n_channels", [1, 2])
    @pytest.mark.parametrize("tags", [(b"", b""), (id3(), ID3V1)])
    def test_samples(self, mode, rate, n_channels, tags, monkeypatch):
        samples = np.column_stack([sweep(0.5, rate)] * n_channels)
        data = encoded(samples, "MP3", rate=rate, bitrate_mode=mode)
        data = tags[0] + data + tags[1]
        part = _plain_mp3.plain_mp3(io.BytesIO(data))
        assert part is not None
        assert part.n_declared == len(samples)
        assert_equal(read_or_error(data), read_by_frames(data, monkeypatch))

    def test_a_gain_that_a_tag_asks_for_is_not_given(self, monkeypatch):
        data = encoded(SOUND, "MP3")
        place = data.index(b"LAME")
        loud = put(data, place + 11, b"\x3f\x80\0\0\x2c\x64\x4c\x64")
        checksum = _mpeg_tags._checksum(loud[: place + 34])
        loud = put(loud, place + 34, checksum.to_bytes(2, "big"))
        assert _plain_mp3.plain_mp3(io.BytesIO(loud)) is not None
        assert_equal(read_or_error(loud), read_by_frames(data, monkeypatch))

    @pytest.mark.parametrize("where", ["anywhere", "a header", "the count", "cut out"])
    def test_damage_is_found_as_before(self, where, monkeypatch):
        rng, data = np.random.default_rng(0), encoded(SOUND, "MP3")
        (recording,) = _mpeg._recordings(data, 1e9)[0]
        starts = [start for start, _ in recording.frames]
        n_errors = 0
        for _ in range(40):
            place = int(rng.integers(len(data)))
            if where == "a header":
                place = int(rng.choice(starts)) + int(rng.integers(4))
            elif where == "the count":
                place = int(rng.integers(starts[0]))
            changed = bytes([data[place] ^ 1 << int(rng.integers(8))])
            damaged = put(data, place, changed)
            if where == "cut out":
                damaged = data[:place] + data[place + int(rng.integers(1, 600)) :]
            expected = read_by_frames(damaged, monkeypatch)
            assert_equal(read_or_error(damaged), expected)
            n_errors += isinstance(expected, str)
        assert n_errors or where in ("anywhere", "the count")

    def test_what_is_cut_short_is_walked_through(self, monkeypatch):
        data = encoded(SOUND, "MP3")
        expected = read_sound(data, RATE)[: RATE // 10]
        assert len(expected) == RATE // 10
        found = read_sound(data, RATE, 0.1)
        np.testing.assert_array_equal(found, expected)

    def test_other_files_are_none(self):
        for kind in ("FLAC", "WAV", "OGG"):
            assert _plain_mp3.plain_mp3(io.BytesIO(encoded(SOUND, kind))) is None
        assert _plain_mp3.plain_mp3(io.BytesIO(b"")) is None
        data = encoded(SOUND, "MP3")
        for other in (without_count(data), data + data, data[:-1], data + b"\0"):
            assert _plain_mp3.plain_mp3(io.BytesIO(other)) is None
