"""Files of sounds: every format, and how much of them is read."""

import io
import struct
import sys
from itertools import product

import numpy as np
import pytest
import soundfile

from skmmrec.encoders import (
    AudioEncoder,
    ContentError,
    _sound_files,
    decode_sound,
    read_sound,
)
from skmmrec.encoders._mixing import to_mono
from skmmrec.preprocessing import LoudnessNormalizer

from .sound_files import (
    MP3_FRAME,
    QUANTIZED,
    RATE,
    SOUND,
    assert_same,
    encoded,
    encoded_by_av,
    id3,
    put,
    sweep,
    wav,
)


class TestWhatWasRight:
    @pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 96_000, 192_000])
    @pytest.mark.parametrize("file_format", ["WAV", "FLAC"])
    def test_rates(self, file_format, rate):
        samples = sweep(0.2, rate)
        waveform, own = decode_sound(encoded(samples, file_format, rate=rate), 600)
        assert own == rate
        np.testing.assert_allclose(waveform, samples, atol=1e-4, rtol=1e-4)
        resampled = read_sound(encoded(samples, file_format, rate=rate), RATE, 600)
        assert len(resampled) == pytest.approx(0.2 * RATE, abs=1)

    @pytest.mark.parametrize(
        ("file_format", "subtype", "tolerance"),
        [
            ("WAV", "PCM_U8", 1e-2),
            ("WAV", "PCM_24", 1e-6),
            ("WAV", "PCM_32", 1e-6),
            ("WAV", "FLOAT", 1e-6),
            ("WAV", "DOUBLE", 1e-6),
            ("WAV", "ULAW", 0.02),
            ("WAV", "ALAW", 0.02),
            ("WAVEX", "PCM_16", 1e-4),
            ("WAVEX", "PCM_24", 1e-6),
            ("WAVEX", "FLOAT", 1e-6),
            ("RF64", "PCM_16", 1e-4),
            ("RF64", "FLOAT", 1e-6),
            ("W64", "PCM_16", 1e-4),
            ("W64", "FLOAT", 1e-6),
            ("AIFF", "PCM_S8", 1e-2),
            ("AIFF", "PCM_16", 1e-4),
            ("AIFF", "PCM_24", 1e-6),
            ("AIFF", "FLOAT", 1e-6),
            ("AIFF", "ULAW", 0.02),
            ("AU", "PCM_16", 1e-4),
            ("AU", "FLOAT", 1e-6),
            ("AU", "ULAW", 0.02),
            ("CAF", "PCM_16", 1e-4),
            ("CAF", "PCM_24", 1e-6),
            ("CAF", "ALAC_16", 1e-4),
            ("FLAC", "PCM_S8", 1e-2),
            ("FLAC", "PCM_16", 1e-4),
            ("FLAC", "PCM_24", 1e-6),
            ("NIST", "PCM_16", 1e-4),
            ("VOC", "PCM_16", 1e-4),
            ("SVX", "PCM_16", 1e-4),
        ],
    )
    @pytest.mark.parametrize("n_channels", [1, 2])
    def test_formats_without_loss(self, file_format, subtype, tolerance, n_channels):
        if file_format == "SVX" and n_channels == 2:
            n_channels = 1  # it has no stereo
        samples = np.column_stack([SOUND] * n_channels)
        waveform = read_sound(encoded(samples, file_format, subtype), RATE, 600)
        assert len(waveform) == len(SOUND)
        np.testing.assert_allclose(waveform, SOUND, atol=tolerance, rtol=tolerance)

    @pytest.mark.parametrize(
        ("file_format", "subtype"),
        [
            ("WAV", "IMA_ADPCM"),
            ("WAV", "MS_ADPCM"),
            ("WAV", "G721_32"),
            ("WAV", "GSM610"),
            ("W64", "IMA_ADPCM"),
            ("AIFF", "IMA_ADPCM"),
            ("OGG", "VORBIS"),
            ("OGG", "OPUS"),
            ("MP3", "MPEG_LAYER_III"),
        ],
    )
    def test_formats_with_loss(self, file_format, subtype):
        assert_same(encoded(SOUND, file_format, subtype), SOUND, MP3_FRAME, RATE, 0.97)

    @pytest.mark.parametrize("order", ["LITTLE", "BIG"])
    @pytest.mark.parametrize("file_format", ["WAV", "AIFF", "AU", "CAF"])
    def test_byte_orders(self, file_format, order):
        data = encoded(SOUND, file_format, "PCM_16", endian=order)
        assert_same(data, QUANTIZED)

    def test_six_channels_are_averaged(self):
        channels = [sweep(seed=seed) for seed in range(6)]
        data = encoded(np.column_stack(channels), "WAVEX", "FLOAT")
        assert_same(data, np.mean(channels, axis=0))

    @pytest.mark.parametrize("name", ["ä ö.wav", "no ending", "a.mp3", "%20#?.wav"])
    def test_names(self, name, tmp_path):
        (tmp_path / name).write_bytes(wav())
        assert_same(tmp_path / name, QUANTIZED)
        assert_same(str(tmp_path / name), QUANTIZED)

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_content_in_memory(self, kind):
        assert_same(kind(wav()), QUANTIZED)


PLAIN = ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "NIST", "SDS"]
INTEGERS = ["PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32"]


@pytest.mark.parametrize(
    ("file_format", "subtype"),
    [pair for pair in product(PLAIN, INTEGERS) if soundfile.check_format(*pair)],
)
@pytest.mark.parametrize("n_channels", [1, 3])
def test_integers_are_scaled_as_by_libsndfile(file_format, subtype, n_channels):
    n_channels = 1 if file_format == "SDS" else n_channels
    samples = np.random.default_rng(0).uniform(-1, 1, (20_000, n_channels))
    samples[:2], samples[2:4] = 1, -1
    data = encoded(samples, file_format, subtype)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    waveform, _ = decode_sound(data, 600)
    np.testing.assert_array_equal(waveform, to_mono(expected)[: len(waveform)])
    assert len(waveform) == len(samples)


def test_any_kind_of_bytes_reaches_the_encoder():
    encoder = AudioEncoder("MobileNetV1", pretrained=False).fit(["any"])
    data = encoded(sweep(0.2), "WAV")
    vectors = encoder.transform([data, bytearray(data), memoryview(data)])
    np.testing.assert_allclose(vectors, vectors[[0] * 3], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("file_format", ["WAV", "AIFF", "AU", "CAF", "W64", "FLAC"])
def test_a_tag_in_front_of_any_format(file_format):
    assert_same(id3() + encoded(SOUND, file_format), QUANTIZED)


class TestByFFmpeg:
    @pytest.mark.parametrize(
        ("codec", "container", "rate"),
        [
            ("aac", "adts", 44_100),
            ("aac", "mp4", 44_100),
            ("aac", "ipod", 16_000),
            ("aac", "mpegts", 44_100),
            ("alac", "ipod", 44_100),
            ("libopus", "webm", 48_000),
            ("libopus", "matroska", 48_000),
            ("libopus", "ogg", 48_000),
            ("libmp3lame", "mp4", 44_100),
            ("flac", "ogg", 44_100),
            ("wmav2", "asf", 44_100),
            ("ac3", "ac3", 48_000),
        ],
    )
    @pytest.mark.parametrize("n_channels", [1, 2])
    def test_formats(self, codec, container, rate, n_channels):
        pytest.importorskip("av")
        samples = sweep(1.0, rate)
        channels = np.column_stack([samples] * n_channels)
        data = encoded_by_av(channels, codec, container, rate)
        # Containers without the length of the first block start that much earlier.
        assert_same(data, samples, 2048, rate, 0.95)

    @pytest.mark.parametrize(
        ("codec", "tolerance"),
        [
            ("pcm_f32le", 1e-6),
            ("pcm_f64le", 1e-6),
            ("pcm_s24le", 1e-6),
            ("pcm_s16le", 1e-4),
            ("pcm_alaw", 0.03),
            ("pcm_mulaw", 0.03),
        ],
    )
    @pytest.mark.parametrize("n_channels", [1, 2])
    def test_what_the_extension_of_a_wave64_says_counts(
        self, codec, tolerance, n_channels
    ):
        pytest.importorskip("av")
        samples = sweep(0.1, 96_000)  # above 48 kHz FFmpeg writes an extension
        channels = np.column_stack([samples] * n_channels)
        data = encoded_by_av(channels, codec, "w64", 96_000)
        assert data[40 + 24 : 40 + 26] == b"\xfe\xff"
        found = read_sound(data, 96_000, 600)
        np.testing.assert_allclose(found, samples, rtol=0, atol=tolerance)

    def test_sound_of_which_most_cannot_be_decoded(self):
        """FFmpeg cuts AAC in a WAV into pieces that are no packets."""
        pytest.importorskip("av")
        samples = sweep(1.5, 44_100)
        data = encoded_by_av(samples, "aac", "wav", 44_100, bit_rate=128_000)
        with pytest.raises(ContentError, match="not a readable sound"):
            read_sound(data, 44_100, 600)

    def test_a_stream_without_a_length(self):
        """What is there is read: also behind a tag, amid a block, and up to one."""
        pytest.importorskip("av")
        samples = sweep(1.0, 44_100)
        data = encoded_by_av(samples, "aac", "adts", 44_100)
        assert_same(id3() + data, samples, 2048, 44_100)
        assert_same(data[100:], samples, 2048, 44_100)
        assert_same(data[:-100], samples, 2048, 44_100)
        half = read_sound(data[: len(data) // 2], 44_100, 600)
        assert len(half) == pytest.approx(22_050, abs=4096)

    def test_damage_amid_a_stream(self):
        pytest.importorskip("av")
        data = encoded_by_av(sweep(1.0, 44_100), "aac", "adts", 44_100)
        middle = len(data) // 2
        with pytest.raises(ContentError, match="not a readable sound"):
            read_sound(put(data, middle, b"\xff" * 300), 44_100, 600)

    def test_only_the_first_seconds(self):
        pytest.importorskip("av")
        data = encoded_by_av(sweep(3.0, 44_100), "aac", "mp4", 44_100)
        assert len(read_sound(data, 44_100, 0.5)) == 22_050

    def test_cut_off(self):
        pytest.importorskip("av")
        data = encoded_by_av(sweep(10.0, 48_000), "libopus", "matroska", 48_000)
        with pytest.raises(ContentError, match=r"cut off: it declares 10\.0 s"):
            read_sound(data[: len(data) // 2], 48_000, 600)
        assert len(read_sound(data[: len(data) // 2], 48_000, 2)) == 96_000
        data = encoded_by_av(sweep(1.0), "aac", "mp4")  # its table is at the end
        with pytest.raises(ContentError, match="not a readable sound"):
            read_sound(data[: len(data) // 2], RATE, 600)

    def test_transformers_keep_the_rate(self):
        pytest.importorskip("av")
        data = encoded_by_av(sweep(1.0, 44_100), "aac", "mp4", 44_100)
        ((samples, rate),) = LoudnessNormalizer().fit_transform([data])
        assert rate == 44_100
        assert len(samples) == pytest.approx(44_100, abs=2048)

    def test_a_video_without_sound(self):
        av = pytest.importorskip("av")
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4") as out:
            stream = out.add_stream("mpeg4", rate=10)
            stream.width = stream.height = 32
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        with pytest.raises(ContentError, match="contains no sound"):
            read_sound(buffer.getvalue(), RATE, 600)

    def test_without_it_the_error_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(ContentError, match=r"pip install 'skmmrec\[video\]'"):
            read_sound(b"\0\0\0\x18ftypM4A " + bytes(100), RATE, 600)
        assert_same(encoded(SOUND, "WAV"), QUANTIZED)


class TestHowMuchIsRead:
    @pytest.mark.parametrize(
        "file_format", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "W64"]
    )
    @pytest.mark.parametrize("seconds", [0.001, 0.3, 1.5])
    def test_the_first_seconds(self, file_format, seconds):
        samples = sweep(2.0)
        found = read_sound(encoded(samples, file_format), RATE, seconds)
        assert len(found) == round(seconds * RATE)
        frame = MP3_FRAME if file_format in ("MP3", "OGG") else 1
        if seconds > 0.1:
            assert_same(
                encoded(samples, file_format),
                samples[: len(found)],
                frame,
                max_duration=seconds,
            )

    def test_everything(self):
        assert len(read_sound(encoded(SOUND, "FLAC"), RATE, np.inf)) == len(SOUND)

    @pytest.mark.parametrize("file_format", ["WAV", "FLAC", "OGG"])
    def test_hours_are_not_read(self, file_format):
        class Counting(io.BytesIO):
            n_bytes = 0

            def readinto(self, buffer):
                n = super().readinto(buffer)
                self.n_bytes += n
                return n

        samples = np.random.default_rng(0).normal(0, 0.1, 60 * RATE)
        file = Counting(encoded(samples, file_format))
        whole = len(file.getvalue())
        for part in _sound_files._parts(file, 1.0):
            part.file.seek(0)
            assert len(_sound_files._decode(part, 1.0)[0]) == RATE
        assert file.n_bytes < whole / 3

    def test_lengths_that_are_declared_take_no_memory(self):
        data = encoded(SOUND, "FLAC")
        flac = put(data, 21, bytes([data[21] | 15]))
        with pytest.raises(ContentError, match="cut off"):
            read_sound(flac, RATE, np.inf)
        channels = put(wav(), 22, struct.pack("<H", 1024))
        with pytest.raises(ContentError):
            read_sound(channels, RATE, np.inf)
