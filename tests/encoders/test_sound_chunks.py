"""WAV, AIFF, Wave64, CAF and AU, whatever sizes they declare."""

import struct

import numpy as np
import pytest

from skmmrec.encoders import (
    ContentError,
    read_sound,
)

from .sound_files import (
    ID3V1,
    MP3_FRAME,
    QUANTIZED,
    RATE,
    SOUND,
    assert_same,
    chunk,
    encoded,
    encoded_by_av,
    pcm,
    pcm_format,
    put,
    riff,
    wav,
)

# Bytes of a LIST chunk: a title, of odd length.
TITLE = chunk(b"INFO", b"INAM" + struct.pack("<I", 5) + b"title")
LIST = chunk(b"LIST", TITLE)
BEXT = chunk(b"bext", bytes(602))
FACT = chunk(b"fact", struct.pack("<I", len(SOUND)))


OPEN = [0, 2**32 - 1, 2**31, 2**31 - 1, 0x7FFFF000, 0x7FFFF024, 2**32 - 2**12]


class TestWav:
    @pytest.mark.parametrize("size", [*OPEN, 36, None])
    @pytest.mark.parametrize("data_size", OPEN)
    def test_sizes_that_declare_nothing(self, size, data_size):
        assert_same(wav(size, data_size), QUANTIZED)
        assert_same(wav(size, data_size, before=LIST), QUANTIZED)
        assert_same(wav(size, data_size, after=LIST + BEXT), QUANTIZED)

    @pytest.mark.parametrize("before", [b"", LIST, FACT, BEXT + LIST])
    @pytest.mark.parametrize("after", [b"", LIST, FACT + BEXT, chunk(b"myId", b"abc")])
    @pytest.mark.parametrize("size", [*OPEN, 1, 3000, 10**6, None])
    def test_the_size_of_everything_does_not_count(self, size, before, after):
        assert_same(wav(size, None, before, after), QUANTIZED)

    @pytest.mark.parametrize("data_size", [2, 1000, 31_998, 32_002, 32_044, 10**6])
    @pytest.mark.parametrize("after", [b"", LIST])
    def test_a_size_that_everything_contradicts(self, data_size, after):
        data = wav(None, data_size, after=after)
        if data_size > 32_000 + len(after):
            assert_same(data, QUANTIZED)
            return
        found = read_sound(data, RATE, 600)
        np.testing.assert_allclose(found, QUANTIZED, atol=2e-4, rtol=1e-3)

    @pytest.mark.parametrize("missing", [2, 100, 20_000])
    def test_a_true_size_with_less_behind_it(self, missing):
        with pytest.raises(ContentError, match="cut off"):
            read_sound(wav()[:-missing], RATE, 600)
        with pytest.raises(ContentError, match="cut off"):
            read_sound(wav(after=LIST)[: -missing - len(LIST)], RATE, 600)

    def test_what_is_cut_off_behind_the_sound_does_not_count(self):
        assert_same(wav(after=LIST + BEXT)[:-300], QUANTIZED)

    @pytest.mark.parametrize("junk", [ID3V1, bytes(100), b"\xff" * 33])
    def test_what_follows_everything_is_not_sound(self, junk):
        assert_same(wav() + junk, QUANTIZED)
        assert_same(wav(after=LIST) + junk, QUANTIZED)

    def test_odd_chunks_with_and_without_padding(self):
        unpadded = b"note" + struct.pack("<I", 3) + b"abc"
        assert_same(wav(before=unpadded), QUANTIZED)
        assert_same(wav(before=chunk(b"note", b"abc")), QUANTIZED)

    @pytest.mark.parametrize("title", [b"title", b"a much longer title"])
    def test_an_odd_sound_without_padding(self, title):
        after = chunk(b"LIST", chunk(b"INFO", b"INAM" + title))
        data = chunk(b"data", bytes(range(128, 195)))[: 8 + 67]
        whole = riff(chunk(b"fmt ", pcm_format(n_bytes=1)), data, after)
        assert_same(whole, np.arange(67) / 128)

    def test_several_chunks_of_sound(self):
        halves = [chunk(b"data", half) for half in (pcm(SOUND)[:20], pcm(SOUND)[20:])]
        head = chunk(b"fmt ", pcm_format())
        assert_same(riff(head, LIST.join(halves)), QUANTIZED)
        assert_same(riff(head, chunk(b"LIST", b"wavl" + b"".join(halves))), QUANTIZED)
        with pytest.raises(ContentError, match="cut off"):
            read_sound(riff(head, *halves)[:-2000], RATE, 600)

    def test_joined_files(self):
        aiff = encoded(SOUND, "AIFF", "PCM_16")
        for files in ([wav(), wav()], [wav(after=LIST), aiff, wav(before=LIST)]):
            both = np.concatenate([QUANTIZED] * len(files))
            assert_same(b"".join(files), both)
        with pytest.raises(ContentError, match="cut off"):
            read_sound(wav() + wav()[:-100], RATE, 600)
        assert len(read_sound(wav() * 3, RATE, 1.5)) == 1.5 * RATE

    @pytest.mark.parametrize("size", [0, 3, 17, 5000, 10**8, 2**32 - 1])
    def test_a_chunk_whose_size_leads_nowhere(self, size):
        broken = chunk(b"LIST", b"INFOIART" + bytes(40), size)
        assert_same(wav(before=broken), QUANTIZED)
        assert_same(wav(before=BEXT + broken), QUANTIZED)

    def test_a_format_behind_the_sound(self):
        data = riff(chunk(b"data", pcm(SOUND)), chunk(b"fmt ", pcm_format()))
        assert_same(data, QUANTIZED)

    @pytest.mark.parametrize("size", [0, 2, 17, 18, 40, 10**6])
    def test_a_format_of_a_wrong_size(self, size):
        body = chunk(b"fmt ", pcm_format(), size)
        assert_same(riff(body, chunk(b"data", pcm(SOUND))), QUANTIZED)

    def test_an_empty_sound(self):
        for after in (b"", LIST):
            with pytest.raises(ContentError, match="no samples"):
                read_sound(
                    riff(chunk(b"fmt ", pcm_format()), chunk(b"data", b""), after),
                    RATE,
                    600,
                )

    @pytest.mark.parametrize("name", [b"RF64", b"BW64"])
    @pytest.mark.parametrize(
        ("total", "size"), [(None, None), (0, 0), (2**64 - 1, 2**64 - 1), (None, 0)]
    )
    def test_long_sizes(self, name, total, size):
        data = pcm(SOUND)
        total = len(data) + 80 - 8 if total is None else total
        size = len(data) if size is None else size
        sizes = chunk(b"ds64", struct.pack("<QQQI", total, size, 0, 0))
        sound = chunk(b"data", data, 2**32 - 1)
        item = riff(
            sizes, chunk(b"fmt ", pcm_format()), sound, size=2**32 - 1, name=name
        )
        assert_same(item, QUANTIZED)

    def test_long_sizes_with_less_behind_them(self):
        with pytest.raises(ContentError, match="cut off"):
            read_sound(encoded(SOUND, "RF64")[:-1000], RATE, 600)

    def test_the_rest_of_a_size_above_4_gb(self, tmp_path):
        """Four bytes hold what is left of it: the sound seems to end early."""
        head = wav(size=2036, data_size=2000)
        with (tmp_path / "long.wav").open("wb") as file:
            file.write(head)
            file.truncate(2**32 + 2044)
        assert_same(tmp_path / "long.wav", QUANTIZED, max_duration=1)

    def test_an_extended_format(self):
        guid = bytes.fromhex("0100000000001000800000aa00389b71")
        body = pcm_format(tag=0xFFFE) + struct.pack("<HHI", 22, 16, 4) + guid
        for data_size in (None, 0, 2**32 - 1):
            data = chunk(b"data", pcm(SOUND), data_size)
            assert_same(riff(chunk(b"fmt ", body), LIST, data), QUANTIZED)

    def test_formats_that_contradict_themselves(self):
        rate = put(pcm_format(), 4, struct.pack("<I", RATE + 1))
        channels = put(pcm_format(), 2, struct.pack("<H", 3))
        for body in (rate, channels):
            with pytest.raises(ContentError, match="is damaged: it declares"):
                read_sound(
                    riff(chunk(b"fmt ", body), chunk(b"data", pcm(SOUND))), RATE, 600
                )
        careless = put(pcm_format(), 8, bytes(4))  # no bytes per second
        assert_same(
            riff(chunk(b"fmt ", careless), chunk(b"data", pcm(SOUND))), QUANTIZED
        )

    @pytest.mark.parametrize("n_bytes", [2**21, 2**21 + 5])
    def test_chunks_without_end_do_not_take_long(self, n_bytes):
        """Each of the chunks might be the first that follows the sound."""
        rest = (b"LIST" + bytes(4)) * (n_bytes // 8) + b"LIST\xff"
        assert len(read_sound(wav(0, 0, after=rest), RATE, 600)) >= len(SOUND)
        assert_same(wav(after=rest), QUANTIZED)

    def test_24_bits_in_4_bytes(self):
        """Read right where it is said in an extension; else it is not clear which."""
        data = chunk(b"data", (SOUND * (2**31 - 1)).astype("<i4").tobytes())
        guid = bytes.fromhex("0100000000001000800000aa00389b71")
        body = pcm_format(n_bytes=4, tag=0xFFFE)
        extended = body + struct.pack("<HHI", 22, 24, 4) + guid
        assert_same(riff(chunk(b"fmt ", extended), data), SOUND)
        plain = put(pcm_format(n_bytes=4), 14, struct.pack("<H", 24))
        with pytest.raises(ContentError, match="1 channels of 24 bits, and 4 bytes"):
            read_sound(riff(chunk(b"fmt ", plain), data), RATE, 600)

    def test_an_mp3_inside(self):
        mp3 = encoded(SOUND, "MP3")
        body = pcm_format(tag=0x55) + struct.pack("<HHIHHH", 12, 1, 0, 0, 1, 0)
        assert_same(riff(chunk(b"fmt ", body), chunk(b"data", mp3)), SOUND, MP3_FRAME)

    def test_no_sound_at_all(self):
        for data in (b"RIFF\x04\0\0\0WAVE", riff(chunk(b"fmt ", pcm_format()), LIST)):
            with pytest.raises(ContentError, match="no chunk of samples"):
                read_sound(data, RATE, 600)
        with pytest.raises(ContentError, match="format is not declared"):
            read_sound(riff(chunk(b"data", pcm(SOUND))), RATE, 600)


class TestOtherChunks:
    @pytest.mark.parametrize("size", [0, 2**32 - 1, 2**31 - 1, 5000, 10**6])
    @pytest.mark.parametrize("where", ["FORM", "COMM", "SSND"])
    def test_aiff(self, where, size):
        data = encoded(SOUND, "AIFF", "PCM_16")
        place = data.index(where.encode()) + (10 if where == "COMM" else 4)
        assert_same(put(data, place, struct.pack(">I", size)), QUANTIZED)

    def test_aiff_that_declares_nothing(self):
        data = encoded(SOUND, "AIFF", "PCM_16")
        for size in (0, 2**32 - 1):
            for name, place in (("FORM", 4), ("COMM", 10), ("SSND", 4)):
                place += data.index(name.encode())
                data = put(data, place, struct.pack(">I", size))
            assert_same(data, QUANTIZED)

    @pytest.mark.parametrize("size", [0, 2**32 - 1, 2**31 - 1, 500])
    @pytest.mark.parametrize("order", ["LITTLE", "BIG"])
    def test_au(self, size, order):
        data = encoded(SOUND, "AU", "PCM_16", endian=order)
        code = "<I" if order == "LITTLE" else ">I"
        assert_same(put(data, 8, struct.pack(code, size)), QUANTIZED)

    @pytest.mark.parametrize("size", [-1, 0, 5000])
    def test_caf(self, size):
        data = encoded(SOUND, "CAF", "PCM_16")
        place = data.index(b"data") + 4
        assert_same(put(data, place, struct.pack(">q", size)), QUANTIZED)

    def test_caf_whose_packets_are_listed_behind_the_sound(self):
        pytest.importorskip("av")
        data = encoded_by_av(SOUND, "alac", "caf")
        assert 0 < data.index(b"data") < data.index(b"pakt")
        found = read_sound(data, RATE, 600)
        assert len(found) > len(SOUND) - 4096  # FFmpeg leaves the last packet out
        expected = SOUND[: len(found)]
        np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-3)

    @pytest.mark.parametrize("size", [-1, 0, 5000])
    @pytest.mark.parametrize("total", [-1, 0, None])
    def test_wave64(self, total, size):
        data = encoded(SOUND, "W64", "PCM_16")
        data = put(data, data.index(b"data") + 16, struct.pack("<q", size))
        if total is not None:
            data = put(data, 16, struct.pack("<q", total))
        assert_same(data, QUANTIZED)

    @pytest.mark.parametrize("name", ["AIFF", "AU", "W64", "RF64", "WAV"])
    def test_less_than_declared(self, name):
        with pytest.raises(ContentError, match="cut off"):
            read_sound(encoded(SOUND, name)[:-1000], RATE, 600)
