"""The cache: found by content, shared by processes, safe against kills and damage."""

import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sklearn.base import clone

from skmmrec.encoders import EmbeddingCache, ImageEncoder, TextEncoder

from .conftest import noise_picture
from .test_base import count_encoded


def vectors(n, dim=4, start=0):
    return {
        f"key {i}".encode(): np.full(dim, i, np.float32)
        for i in range(start, start + n)
    }


@pytest.fixture
def cache(tmp_path):
    return EmbeddingCache(tmp_path / "cache")


def test_what_is_put_is_got_bit_for_bit(cache):
    generator = np.random.default_rng(0)
    stored = {bytes([i]): generator.normal(size=7).astype(np.float32) for i in range(9)}
    cache.put(stored)
    found = cache.get([*stored, b"absent"])
    assert found.keys() == stored.keys()
    for key, vector in stored.items():
        assert found[key].dtype == np.float32
        np.testing.assert_array_equal(found[key], vector)
    info = cache.info()
    assert (info.n_vectors, info.hits, info.misses) == (9, 9, 1)


def test_more_keys_than_sqlite_takes_at_once(cache):
    stored = vectors(2345)
    cache.put(stored)
    assert cache.get(stored).keys() == stored.keys()


def test_nothing_is_written_before_first_use(tmp_path):
    EmbeddingCache(tmp_path / "cache")
    assert not list(tmp_path.iterdir())


def test_clear(cache):
    cache.put(vectors(3))
    cache.clear()
    assert cache.info().n_vectors == cache.info().n_bytes == 0


@pytest.mark.parametrize("limit", ["max_bytes", "max_age"])
def test_limits_must_be_positive(tmp_path, limit):
    with pytest.raises(ValueError, match=limit):
        EmbeddingCache(tmp_path, **{limit: 0})


def test_the_longest_unused_go_first_when_it_is_full(tmp_path):
    cache = EmbeddingCache(tmp_path, max_bytes=200_000)
    for start in range(0, 600, 100):
        cache.put(vectors(100, dim=256, start=start))
        time.sleep(0.01)
    assert 190_000 < cache.info().n_bytes <= 200_000
    kept = cache.get(vectors(600))
    assert vectors(100, start=500).keys() <= kept.keys()
    assert not vectors(100).keys() & kept.keys()


def test_the_long_unused_age_out_and_use_keeps_young(tmp_path, monkeypatch):
    cache = EmbeddingCache(tmp_path, max_age=1000)
    now = time.time()
    cache.put(vectors(2))
    monkeypatch.setattr(time, "time", lambda: now + 800)
    assert len(cache.get([b"key 1"])) == 1
    monkeypatch.setattr(time, "time", lambda: now + 1100)
    assert cache.get([b"key 0", b"key 1"]).keys() == {b"key 1"}
    cache.put(vectors(1, start=5))
    assert cache.info().n_vectors == 2


def test_a_damaged_entry_counts_as_absent(cache):
    cache.put(vectors(2, dim=64))
    with sqlite3.connect(cache._file) as connection:
        connection.execute(
            "UPDATE vectors SET vector = zeroblob(256) WHERE key = ?", (b"key 1",)
        )
    connection.close()
    assert cache.get(vectors(2)).keys() == {b"key 0"}
    assert cache.info().damaged == 1
    assert cache.info().n_vectors == 1


def test_a_file_that_is_no_database_is_named(cache):
    cache._file.parent.mkdir()
    cache._file.write_bytes(b"not a database" * 100)
    with pytest.raises(OSError, match=r"embeddings\.sqlite is damaged"):
        cache.get([b"key"])


def test_a_pickle_carries_arguments_only(cache):
    cache.put(vectors(1))
    copy = pickle.loads(pickle.dumps(cache))
    assert repr(copy) == repr(cache)
    assert copy.get([b"key 0"])


def test_processes_write_together(cache):
    code = """
import sys, numpy as np
from skmmrec.encoders import EmbeddingCache
cache, start = EmbeddingCache(sys.argv[1]), int(sys.argv[2])
for i in range(start, start + 100, 5):
    cache.put({f"key {j}".encode(): np.full(4, j, np.float32) for j in range(i, i + 5)})
    cache.get([f"key {j}".encode() for j in range(50)])
"""
    command = [sys.executable, "-c", code, str(cache.path)]
    writers = [subprocess.Popen([*command, str(i)]) for i in (0, 100, 50)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    found = cache.get(vectors(200))
    assert found.keys() == vectors(200).keys()
    assert cache.info().n_vectors == 200


@pytest.mark.parametrize("attempt", range(3))
def test_threads_make_one_file(tmp_path, attempt):
    """The first to come make the tables together."""
    caches = [EmbeddingCache(tmp_path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: caches[n].put(vectors(n + 1)), range(8)))
    assert caches[0].info().n_vectors == 8


def test_a_killed_writer_loses_nothing_that_was_stored(tmp_path):
    code = """
import sys, numpy as np
from skmmrec.encoders import EmbeddingCache
cache = EmbeddingCache(sys.argv[1])
for i in range(10**6):
    cache.put({f"{i} {j}".encode(): np.full(256, i, np.float32) for j in range(10)})
    print(i, flush=True)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        done = [int(process.stdout.readline()) for _ in range(20)]
        os.kill(process.pid, signal.SIGKILL)
        done += [int(line) for line in process.stdout if line.strip()]
    cache = EmbeddingCache(tmp_path)
    found = cache.get([f"{i} {j}".encode() for i in done for j in range(10)])
    assert len(found) == 10 * len(done)
    assert cache.info().n_vectors % 10 == 0  # a batch is stored whole or not at all
    cache.put(vectors(1))


# --- with encoders


@pytest.fixture
def cached(text_model, cache):
    return TextEncoder(text_model, cache=cache).fit(["any"])


def test_only_new_content_is_encoded(cached, monkeypatch):
    seen = count_encoded(cached, monkeypatch)
    first = cached.transform(["a", "b", "a", None])
    again = cached.transform(["c", "b", "b", "a"])
    assert sorted(seen) == ["a", "b", "c"]
    np.testing.assert_array_equal(again[[3, 1, 2]], first[[0, 1, 1]])


def test_vectors_are_the_same_with_and_without(cached, text_model):
    texts = [f"text {i}" for i in range(50)]
    plain = TextEncoder(text_model).fit_transform(texts)
    np.testing.assert_array_equal(cached.transform(texts), plain)
    np.testing.assert_array_equal(cached.transform(texts[::-1])[::-1], plain)


def test_a_path_makes_a_cache(text_model, tmp_path):
    for _ in range(2):
        TextEncoder(text_model, cache=tmp_path / "here").fit_transform(["a"])
    assert EmbeddingCache(tmp_path / "here").info().n_vectors == 1


def test_clones_and_other_settings_of_the_result_share_entries(cached, monkeypatch):
    cached.transform(["a"])
    other = clone(cached).set_params(normalize=False, missing="nan", batch_size=1)
    seen = count_encoded(other.fit(["any"]), monkeypatch)
    other.transform(["a"])
    assert not seen


@pytest.mark.parametrize("change", ["precision", "weights"])
def test_another_model_shares_nothing(cached, text_model, tmp_path, change):
    cached.transform(["a"])
    other = clone(cached)
    if change == "precision":
        other.set_params(precision="bf16")
    else:
        from safetensors.numpy import load_file, save_file

        shutil.copytree(text_model, tmp_path / "other")
        (path,) = (tmp_path / "other").rglob("*.safetensors")
        tensors = {name: 2 * tensor + 1 for name, tensor in load_file(path).items()}
        save_file(tensors, path)
        other.set_params(model=tmp_path / "other")
    other.fit_transform(["a"])
    assert cached.cache.info().n_vectors == 2


def test_files_are_known_by_content_not_by_name(image_model, cache, tmp_path):
    encoder = ImageEncoder(image_model, cache=cache).fit(["any"])
    noise_picture(0).save(tmp_path / "a.png")
    first = encoder.transform([tmp_path / "a.png"])
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    data = (tmp_path / "b.png").read_bytes()
    np.testing.assert_array_equal(
        encoder.transform([tmp_path / "b.png", data]), first[[0, 0]]
    )
    assert cache.info().n_vectors == 1
    noise_picture(1).save(tmp_path / "a.png")
    assert not np.array_equal(encoder.transform([tmp_path / "a.png"]), first)


def test_a_bad_item_loses_nothing_that_was_encoded(image_model, cache):
    encoder = ImageEncoder(image_model, cache=cache, batch_size=2).fit(["any"])
    good = [noise_picture(i) for i in range(20)]
    with pytest.raises(ValueError, match="row 20"):
        encoder.transform([*good, b"broken"])
    assert cache.info().n_vectors == 20


ENCODE = """
import sys, numpy as np
from skmmrec.encoders import TextEncoder
model, cache, first, last, out = sys.argv[1:]
texts = [f"text {i}" for i in range(int(first), int(last))]
encoder = TextEncoder(model, cache=cache, batch_size=1)
np.save(out, encoder.fit_transform(texts))
"""


def start_encoding(text_model, cache, first, last, out):
    arguments = [text_model, cache.path, str(first), str(last), out]
    return subprocess.Popen([sys.executable, "-c", ENCODE, *arguments])


def test_a_worker_killed_while_it_encodes_loses_nothing_that_was_cached(
    cached, cache, text_model, tmp_path, monkeypatch
):
    n_texts = 3000
    out = tmp_path / "vectors.npy"
    with start_encoding(text_model, cache, 0, n_texts, out) as worker:
        while cache.info().n_vectors < 20 and worker.poll() is None:
            time.sleep(0.02)
        worker.kill()
    n_stored = cache.info().n_vectors
    assert 20 <= n_stored < n_texts
    assert not out.exists()
    seen = count_encoded(cached, monkeypatch)
    texts = [f"text {i}" for i in range(n_texts)]
    vectors = cached.transform(texts)
    assert len(seen) == n_texts - n_stored
    expected = TextEncoder(text_model).fit_transform(texts)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


def test_two_processes_on_one_cache_get_the_same_vectors(cache, text_model, tmp_path):
    spans = [(0, 60), (30, 90)]
    outs = [tmp_path / f"{i}.npy" for i in range(2)]
    workers = [
        start_encoding(text_model, cache, *span, out)
        for span, out in zip(spans, outs, strict=True)
    ]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    first, second = (np.load(out) for out in outs)
    np.testing.assert_array_equal(first[30:], second[:30])
    texts = [f"text {i}" for i in range(90)]
    expected = TextEncoder(text_model).fit_transform(texts)
    np.testing.assert_allclose(np.vstack([first, second[30:]]), expected, atol=1e-6)
    assert cache.info().n_vectors == 90
