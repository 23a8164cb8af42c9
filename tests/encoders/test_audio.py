"""Sounds: every holder, broken files, PANNs without its side effects."""

import io
import subprocess
import sys
from hashlib import md5, sha256

import numpy as np
import pandas as pd
import pytest
import soundfile

from skmmrec.encoders import AudioEncoder, _panns, read_sound
from skmmrec.encoders._audio import Windowing

from .conftest import tone

SMALL = "MobileNetV1"


def encoded(samples, rate, file_format):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=file_format)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def published(sound_encoder):
    """The network that `sound_encoder` was made from, as the package defines it."""
    return _panns.load_network(SMALL, False, sound_encoder.seed_)


def assert_alike(found, expected):
    """Compare what is not of unit length: it is tiny without training."""
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * scale)


def test_one_sound_in_any_holder_gives_one_vector(sound_encoder, sound_file):
    samples, rate = soundfile.read(sound_file, dtype="int16")
    vectors = sound_encoder.transform(
        [
            str(sound_file),
            sound_file,
            sound_file.read_bytes(),
            (samples, rate),
            (samples / 2**15, rate),
            (np.column_stack([samples, samples]), rate),
        ]
    )
    np.testing.assert_allclose(vectors, vectors[[0] * 6], atol=1e-5)
    assert vectors.shape == (6, 1024)


@pytest.mark.parametrize("file_format", ["WAV", "FLAC", "OGG", "MP3"])
def test_formats_and_rates_give_the_same_sound(file_format):
    samples, rate = tone(440, seconds=0.5, rate=44_100)
    stereo = np.column_stack([samples, samples])
    waveform = read_sound(encoded(stereo, rate, file_format), 32_000, 10)
    assert waveform.dtype == np.float32
    assert len(waveform) == pytest.approx(16_000, abs=3200)
    spectrum = np.abs(np.fft.rfft(waveform[:16_000]))
    assert spectrum.argmax() * 2 == pytest.approx(440, abs=4)
    assert np.abs(waveform[4000:12_000]).max() == pytest.approx(0.5, abs=0.05)


def test_only_the_first_seconds_are_read():
    samples, rate = tone(440, seconds=3)
    assert len(read_sound((samples, rate), rate, 2)) == 2 * rate
    assert len(read_sound(encoded(samples, rate, "WAV"), rate, 2)) == 2 * rate


def test_unsigned_samples_are_centred():
    silence = np.full(100, 128, np.uint8)
    assert np.abs(read_sound((silence, 8000), 8000, 1)).max() < 0.01


def test_silence_and_single_samples_are_content(sound_encoder):
    vectors = sound_encoder.transform(
        [(np.zeros(8000, np.float32), 8000), (np.zeros(1), 8000), tone(440, 0.05)]
    )
    assert vectors.any(axis=1).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_vectors_do_not_depend_on_their_batch(sound_encoder):
    sounds = [tone(300, 0.4), tone(500, 1.7), tone(700, 2.0), tone(900, 1.2)]
    alone = np.vstack([sound_encoder.transform([sound]) for sound in sounds])
    np.testing.assert_allclose(sound_encoder.transform(sounds), alone, atol=1e-5)


def test_a_long_sound_is_the_mean_of_its_windows(sound_encoder):
    raw = AudioEncoder(SMALL, pretrained=False, normalize=False).fit(["any"])
    first, second = tone(300, 10, 32_000), tone(2000, 5, 32_000)
    joined = (np.concatenate([first[0], second[0]]), 32_000)
    vectors = raw.transform([first, second, joined])
    expected = (10 * vectors[0] + 5 * vectors[1]) / 15
    assert_alike(vectors[2], expected)


def test_windows_cover_a_sound_and_keep_a_least_length():
    windowing = Windowing(window=2.5, hop=1.0, pooling="mean", max_duration=60)
    ramp = np.arange(53, dtype=np.float32)  # 5.3 s at 10 Hz, padded to 6 s
    windows = windowing.cut(ramp, rate=10)
    assert [int(w[0]) for w in windows] == [0, 10, 20, 30, 40]
    assert [len(w) for w in windows] == [25, 25, 25, 25, 20]
    apart = windowing._replace(hop=2.5)
    assert [len(w) for w in apart.cut(ramp, rate=10)] == [25, 25, 10]
    assert len(apart.cut(ramp[:3], rate=10)) == 1


def test_windows_can_be_pooled_by_mean_maximum_or_both(sound_encoder):
    def encode(pooling, sounds):
        options = {"window": 1, "pooling": pooling, "normalize": False}
        return AudioEncoder(SMALL, pretrained=False, **options).fit_transform(sounds)

    parts = [tone(300, 1, 32_000), tone(2000, 1, 32_000)]
    joined = (np.concatenate([samples for samples, _ in parts]), 32_000)
    separate = encode("mean", parts)
    both = encode("mean+max", [joined])
    expected = np.hstack([separate.mean(axis=0), separate.max(axis=0)])
    assert_alike(both[0], expected)
    highest = encode("max", [joined])[0]
    assert_alike(highest, expected[1024:])
    assert np.ptp(separate, axis=0).max() > 0.05 * separate.max()


def test_a_hop_that_skips_sound_is_refused():
    with pytest.raises(ValueError, match="hop=3 is longer than window=2"):
        AudioEncoder(SMALL, pretrained=False, window=2, hop=3).fit(["any"])


def test_tags_name_the_classes(
    sound_encoder, published, tmp_path, monkeypatch, web_folder
):
    import torch

    folder, url = web_folder
    rows = [f'{i},/m/{i},"class {i}"' for i in range(527)]
    (folder / "classes.csv").write_text("\n".join(["index,mid,display_name", *rows]))
    data = (folder / "classes.csv").read_bytes()
    monkeypatch.setenv("SKMMREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_panns, "_CLASSES_URL", f"{url}/classes.csv")
    monkeypatch.setattr(_panns, "_CLASSES_SHA256", sha256(data).hexdigest())
    torch.save(published.state_dict(), tmp_path / "weights.pth")
    trained = AudioEncoder(SMALL, pretrained=tmp_path / "weights.pth").fit(["any"])
    column = pd.Series([tone(440, 0.2), None], index=["a", "b"])
    scores = trained.tag(column)
    assert scores.shape == (2, 527)
    assert scores.columns[3] == "class 3"
    assert scores.loc["a"].between(0, 1).all()
    assert scores.loc["b"].isna().all()
    with pytest.raises(ValueError, match="tag needs trained weights"):
        sound_encoder.tag(column)


def test_untrained_weights_follow_the_seed(sound_encoder):
    sound = [tone(440, 0.2)]
    again = AudioEncoder(SMALL, pretrained=False, random_state=0).fit_transform(sound)
    other = AudioEncoder(SMALL, pretrained=False, random_state=1).fit_transform(sound)
    np.testing.assert_array_equal(again, sound_encoder.transform(sound))
    assert not np.allclose(again, other, atol=1e-3)


def test_loading_leaves_the_global_generator_alone():
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    AudioEncoder(SMALL, pretrained=False, random_state=7).fit(["any"])
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
def test_an_untrained_network_still_tells_sounds_apart():
    """The one test of the default network as a whole, from sounds to vectors."""
    generator = np.random.default_rng(0)
    tones = [tone(f, 0.5) for f in (400, 420, 440)]
    noises = [(generator.normal(0, 0.2, 8000), 16_000) for _ in range(3)]
    encoder = AudioEncoder(pretrained=False)
    vectors = encoder.fit_transform(tones + noises)
    assert (encoder.model, vectors.shape) == ("Cnn14", (6, 2048))
    vectors -= vectors.mean(axis=0)
    near = (vectors @ vectors.T)[:3]
    assert near[:, :3].min() > near[:, 3:].max()


def broken_items(folder):
    """Return every broken item with the reason that its error gives."""
    good = encoded(*tone(440, 0.1), "FLAC")
    (folder / "text.wav").write_text("this is a text file")
    (folder / "empty.wav").touch()
    (folder / "header.flac").write_bytes(good[:30])
    silence = np.zeros(100)
    return [
        (folder / "text.wav", "not a readable sound"),
        (str(folder / "empty.wav"), "empty file"),
        (folder / "header.flac", "not a readable sound"),
        (folder / "absent.ogg", "no such file"),
        (folder, "not a file"),
        ("https://example.org/a.ogg", "is a URL"),
        (b"", "not a readable sound"),
        (encoded(np.zeros(0), 8000, "WAV"), "no sample"),
        ((silence, 0), "must be from 1 to"),
        ((silence, np.nan), "must be from 1 to"),
        ((silence, "fast"), "must be from 1 to"),
        ((np.zeros(0), 8000), "expected samples"),
        ((np.array([0, np.nan]), 8000), "NaN"),
        ((np.zeros((2, 2, 2)), 8000), "expected samples"),
        (([[1.0], [1.0, 2.0]], 8000), "samples are not an array"),
        ((np.array(["a"]), 8000), "expected samples"),
        (silence, "expected a path"),
    ]


@pytest.mark.parametrize("index", range(17))
def test_a_broken_sound_names_its_row(sound_encoder, tmp_path, index):
    item, reason = broken_items(tmp_path)[index]
    with pytest.raises(ValueError, match=reason) as caught:
        sound_encoder.transform([None, item])
    assert str(caught.value).startswith("AudioEncoder: row 1")


def test_broken_sounds_can_be_missing_and_the_rest_is_kept(sound_encoder, tmp_path):
    lenient = AudioEncoder(SMALL, pretrained=False, on_error="missing").fit(["any"])
    broken = [item for item, _ in broken_items(tmp_path)]
    with pytest.warns(UserWarning, match="17 of 18 rows could not be read"):
        vectors = lenient.transform([*broken, tone(440, 0.1)])
    assert not vectors[:-1].any()
    assert vectors[-1].any()


def test_a_checkpoint_file_is_loaded(sound_encoder, published, tmp_path):
    import torch

    state = published.state_dict()
    torch.save({"iteration": 1, "model": state}, tmp_path / "w.pth")
    loaded = AudioEncoder(SMALL, pretrained=tmp_path / "w.pth", random_state=9)
    sound = [tone(440, 0.1)]
    np.testing.assert_array_equal(
        loaded.fit_transform(sound), sound_encoder.transform(sound)
    )


def test_a_checkpoint_that_does_not_fit_or_is_absent_is_named(tmp_path):
    import torch

    torch.save({"model": {"fc1.weight": torch.zeros(2)}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth are not those of MobileNetV1"):
        AudioEncoder(SMALL, pretrained=str(tmp_path / "other.pth")).fit(["any"])
    with pytest.raises(FileNotFoundError, match=r"pretrained='absent\.pth'"):
        AudioEncoder(SMALL, pretrained="absent.pth").fit(["any"])


def test_a_download_that_fails_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("SKMMREC_CACHE", str(tmp_path))
    monkeypatch.setattr(_panns, "_URL", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match="pretrained=path"):
        AudioEncoder(SMALL).fit(["any"])
    assert not list(tmp_path.iterdir())


@pytest.fixture
def web_folder(tmp_path):
    """Serve a folder over HTTP on this machine."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    folder = tmp_path / "web"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=folder))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_is_checked_and_kept(monkeypatch, tmp_path, web_folder):
    folder, url = web_folder
    file, _ = _panns._PUBLISHED["Cnn14"]
    (folder / file).write_bytes(b"weights")
    cache = tmp_path / "cache"
    monkeypatch.setenv("SKMMREC_CACHE", str(cache))
    monkeypatch.setattr(_panns, "_URL", url)
    with pytest.raises(ValueError, match="hash"):
        _panns.fetch_weights("Cnn14")
    assert not list(cache.iterdir())
    assert not _panns.cnn14_is_cached()
    known = _panns._Published(file, md5(b"weights").hexdigest())
    monkeypatch.setitem(_panns._PUBLISHED, "Cnn14", known)
    path = _panns.fetch_weights("Cnn14")
    assert path.read_bytes() == b"weights"
    assert _panns.cnn14_is_cached()
    (folder / file).unlink()
    assert _panns.fetch_weights("Cnn14") == path


def test_panns_is_loaded_without_its_side_effects(tmp_path):
    """Its package downloads into the home directory through a shell; ours must not."""
    code = """
import os, subprocess, sys
import numpy.testing, torch, torchlibrosa  # these may ask the platform for its name
def refuse(*args, **kwargs): raise AssertionError("a process was started")
os.system = subprocess.Popen = refuse
from skmmrec.encoders._panns import load_network
load_network("Cnn14", False, 0)
assert "panns_inference" not in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""
    environment = {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not list(tmp_path.iterdir())


def test_pyplot_stays_as_it_was():
    pytest.importorskip("matplotlib")
    import matplotlib

    before = matplotlib.get_backend(auto_select=False)
    _panns._definitions.cache_clear()
    _panns._definitions()
    assert matplotlib.get_backend(auto_select=False) == before
