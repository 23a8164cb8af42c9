"""libsndfile reads files by a descriptor, and not by Python, where it can."""

import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from skmmrec.encoders import _sound_files, _sound_memory
from skmmrec.encoders._sound_memory import descriptor
from skmmrec.encoders._sound_parts import bytes_at
from skmmrec.encoders._sounds import read_sound

RATE = 44_100
needs_memory_files = pytest.mark.skipif(
    not hasattr(os, "memfd_create"), reason="no files in memory on this system"
)
FORMATS = ["WAV", "FLAC", "OGG", "MP3", "AIFF"]


def encoded(file_format, seconds=1.0, seed=0):
    samples = np.random.default_rng(seed).normal(0, 0.1, (int(seconds * RATE), 2))
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format=file_format)
    return file.getvalue()


def content(number):
    return os.read(number, 2**24)


@needs_memory_files
@pytest.mark.parametrize("sizes", [(10, 3, 0, 200_000), (3_000_000, 5, 1_100_000)])
def test_a_copy_holds_the_content_whatever_was_there_before(sizes):
    for size in sizes:
        data = os.urandom(size)
        file = io.BytesIO(data)
        file.seek(size // 2)
        with descriptor(file, may_copy=True) as number:
            assert os.lseek(number, 0, os.SEEK_CUR) == 0
            assert content(number) == data
        kept = _sound_memory._unused[-1]
        assert os.fstat(kept).st_size <= _sound_memory._MOST_KEPT


def test_what_is_too_large_or_not_needed_is_not_copied(monkeypatch):
    with descriptor(io.BytesIO(b"abc"), may_copy=False) as number:
        assert number is None
    monkeypatch.setattr(_sound_memory, "_MOST_COPIED", 2)
    with descriptor(io.BytesIO(b"abc"), may_copy=True) as number:
        assert number is None


@pytest.mark.skipif(os.name != "posix", reason="descriptors belong to one library")
def test_a_file_on_a_disk_is_read_as_it_is_and_python_reads_on(tmp_path):
    data = os.urandom(100_000)
    (tmp_path / "file").write_bytes(data)
    with (tmp_path / "file").open("rb") as file:
        assert bytes_at(file, 10, 20) == data[10:30]
        with descriptor(file, may_copy=False) as number:
            assert number == file.fileno()
            assert content(number) == data
        assert file.read() == data[30:]
        assert bytes_at(file, 50_000, 9) == data[50_000:50_009]


@needs_memory_files
def test_two_copies_at_a_time_are_two_files():
    with (
        descriptor(io.BytesIO(b"first"), may_copy=True) as one,
        descriptor(io.BytesIO(b"second"), may_copy=True) as other,
    ):
        assert (content(one), content(other)) == (b"first", b"second")


@needs_memory_files
def test_a_copy_that_fails_is_kept_for_the_next():
    class Broken(io.BytesIO):
        def readinto(self, buffer):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"), descriptor(Broken(b"a"), True):
        pass
    before = len(_sound_memory._unused)
    with descriptor(io.BytesIO(b"next"), may_copy=True) as number:
        assert len(_sound_memory._unused) == before - 1
        assert content(number) == b"next"


@needs_memory_files
def test_a_forked_child_leaves_the_copies_to_its_parent():
    with descriptor(io.BytesIO(b"parent"), may_copy=True):
        pass
    known = list(_sound_memory._unused)
    assert known
    _sound_memory._forget_copies()  # what runs in the child
    assert _sound_memory._unused == []
    for number in known:
        with pytest.raises(OSError, match="descriptor"):
            os.fstat(number)


@needs_memory_files
@pytest.mark.parametrize("file_format", ["WAV", "FLAC", "MP3"])
def test_the_decoder_asks_python_for_nothing(file_format, monkeypatch):
    def refuse(self, file):
        raise AssertionError("read by callbacks")

    expected = read_sound(encoded(file_format), 32_000, 10)
    monkeypatch.setattr(_sound_files._forward_reader(), "_init_virtual_io", refuse)
    np.testing.assert_array_equal(
        read_sound(encoded(file_format), 32_000, 10), expected
    )


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("is_path", [True, False])
def test_sounds_are_the_same_by_callbacks(file_format, is_path, monkeypatch, tmp_path):
    data = encoded(file_format)
    path = tmp_path / "sound"
    path.write_bytes(data)
    item = path if is_path else data
    expected = read_sound(item, 32_000, 10)
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(os, "name", "other")
    np.testing.assert_array_equal(read_sound(item, 32_000, 10), expected)


def test_threads_do_not_mix_sounds_up():
    sounds = [encoded("FLAC", 0.3 + 0.02 * i, seed=i) for i in range(12)]
    expected = [read_sound(sound, 32_000, 10) for sound in sounds]
    with ThreadPoolExecutor(6) as pool:
        given = list(pool.map(lambda sound: read_sound(sound, 32_000, 10), 3 * sounds))
    for one, other in zip(given, 3 * expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_plain_wav_is_handed_over_as_it_is():
    file = io.BytesIO(encoded("WAV"))
    (part,) = _sound_files._parts(file, 10)
    assert part.file is file
    assert part.seconds == pytest.approx(1, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("n_expected", [0, 7, 100, 10_000])
def test_a_waveform_grows_beyond_what_was_expected(n_expected):
    waveform = _sound_files._Waveform(n_expected)
    expected = np.arange(60, dtype=np.float32)
    for piece in np.split(expected, [1, 8, 8, 50]):
        waveform.room(len(piece) + 3)[: len(piece)] = piece  # not all of it is filled
        waveform.length += len(piece)
    np.testing.assert_array_equal(waveform.values, expected)
    base = waveform.values.base
    assert base is None or len(base) <= 2 * len(expected) + 6
