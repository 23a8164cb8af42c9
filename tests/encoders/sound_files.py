"""Makes sound files of every kind, and compares what is read with what was written."""

import io
import struct

import numpy as np
import soundfile

from skmmrec.encoders import read_sound

RATE = 16_000


def sweep(seconds=1.0, rate=RATE, seed=0):
    """A tone that rises, growing louder, over soft noise: every moment differs."""
    time = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * (200 * time + 700 * time**2 / max(seconds, 1e-9))
    noise = np.random.default_rng(seed).normal(0, 0.003, len(time))
    return np.sin(phase) * np.linspace(0.2, 0.6, len(time)) + noise


def encoded(samples, file_format, subtype=None, rate=RATE, **options):
    buffer = io.BytesIO()
    soundfile.write(
        buffer, samples, rate, format=file_format, subtype=subtype, **options
    )
    return buffer.getvalue()


def encoded_by_av(
    samples, codec, container, rate=RATE, vbr=False, bit_rate=64_000, **options
):
    """Encode by FFmpeg; samples of shape (n,), or (n, 2) for stereo."""
    import av

    samples = np.atleast_2d(samples.T)
    layout = "mono" if len(samples) == 1 else "stereo"
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, options=options) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        if vbr:
            stream.codec_context.flags |= 2  # a quality instead of a bitrate
            stream.codec_context.global_quality = 2 * 118
        else:
            stream.bit_rate = bit_rate
        for start in range(0, samples.shape[1], 1152):
            part = np.ascontiguousarray(samples[:, start : start + 1152], np.float32)
            frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
            frame.sample_rate, frame.pts = rate, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return buffer.getvalue()


def chunk(name, body, size=None, order="<"):
    """A chunk of a RIFF file, perhaps with another size than it has."""
    size = len(body) if size is None else size
    return name + struct.pack(order + "I", size) + body + bytes(len(body) % 2)


def pcm_format(n_channels=1, rate=RATE, n_bytes=2, tag=1):
    per_frame = n_channels * n_bytes
    return struct.pack(
        "<HHIIHH", tag, n_channels, rate, rate * per_frame, per_frame, 8 * n_bytes
    )


def pcm(samples):
    return (samples * 32767).round().astype("<i2").tobytes()


def riff(*chunks, size=None, name=b"RIFF"):
    body = b"WAVE" + b"".join(chunks)
    return name + struct.pack("<I", len(body) if size is None else size) + body


def put(data, position, value):
    """Return bytes with others in one place."""
    return data[:position] + value + data[position + len(value) :]


def id3(n_bytes=300, declared=None):
    """An ID3v2 tag that holds a picture."""
    picture = np.random.default_rng(1).integers(0, 256, n_bytes, np.uint8).tobytes()
    frame = b"APIC" + struct.pack(">IH", n_bytes, 0) + picture
    size = len(frame) if declared is None else declared
    sevens = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + sevens + frame


ID3V1 = b"TAG" + b"a title".ljust(125, b"\0")


SOUND = sweep()
QUANTIZED = np.round(SOUND * 32767) / 32768
MP3_FRAME = 1152


def wav(size=None, data_size=None, before=b"", after=b""):
    data = chunk(b"data", pcm(SOUND), data_size)
    return riff(chunk(b"fmt ", pcm_format()), before, data, after, size=size)


def lag(found, expected):
    """Return how many samples later the expected sound is found."""
    n = len(found) + len(expected)
    spectrum = np.fft.rfft(found, n) * np.fft.rfft(expected, n).conj()
    place = int(np.fft.irfft(spectrum, n).argmax())
    return place if place < n // 2 else place - n


def assert_same(item, expected, frame=0, rate=RATE, likeness=0.98, max_duration=600):
    """Assert that an item is read as some samples, shifted by a frame at most."""
    found = read_sound(item, rate, max_duration)
    assert abs(len(found) - len(expected)) <= 2 * frame
    if not frame:
        np.testing.assert_allclose(found, expected, atol=2e-4, rtol=1e-3)
        return
    shift = lag(found, expected)
    assert abs(shift) <= frame
    found = found[max(shift, 0) :]
    expected = expected[max(-shift, 0) :]
    n = min(len(found), len(expected))
    assert np.corrcoef(found[:n], expected[:n])[0, 1] > likeness
    assert np.std(found[:n]) / np.std(expected[:n]) > 0.9


def assert_joined(item, parts, frame, rate=RATE):
    """Assert that an item is read as several sounds, each shifted by a frame or two."""
    found = read_sound(item, rate, 600)
    start = 0
    for part in parts:
        start += lag(found[start : start + len(part) + 4 * frame], part)
        assert_alike(found[start : start + len(part)], part)
        start += len(part)
    assert abs(len(found) - start) <= 2 * frame


def assert_alike(found, expected):
    n = min(len(found), len(expected))
    assert n > 0.9 * len(expected)
    assert np.corrcoef(found[:n], expected[:n])[0, 1] > 0.97
    assert np.std(found[:n]) / np.std(expected[:n]) > 0.9
