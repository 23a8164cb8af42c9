"""The cache: found by content, shared by processes, safe against kills and damage."""

import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pytest

from skmmrec.runtime import EmbeddingCache


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


def test_a_file_of_another_format_is_refused(cache):
    cache.put(vectors(2))
    with closing(sqlite3.connect(cache._file)) as connection:
        connection.execute("PRAGMA user_version = 99")
    for ask in (cache.info, lambda: cache.get([b"a"]), cache.clear):
        with pytest.raises(OSError, match=r"embeddings\.sqlite is of format 99"):
            ask()


def test_a_pickle_carries_arguments_only(cache):
    cache.put(vectors(1))
    copy = pickle.loads(pickle.dumps(cache))
    assert repr(copy) == repr(cache)
    assert copy.get([b"key 0"])


def test_processes_write_together(cache):
    code = """
import sys, numpy as np
from skmmrec.runtime import EmbeddingCache
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
from skmmrec.runtime import EmbeddingCache
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


@pytest.fixture
def locked(cache, monkeypatch):
    """A cache with entries, in a folder that may not be written, even by root."""
    cache.put(vectors(3))
    folder = cache._file.parent
    cache._file.chmod(0o444)
    folder.chmod(0o555)
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda p, m: m != os.W_OK and allowed(p, m))
    yield cache
    folder.chmod(0o755)
    cache._file.chmod(0o644)


def test_a_folder_that_may_not_be_written_is_read(locked, monkeypatch):
    found = locked.get([*vectors(3), b"absent"])
    assert found.keys() == vectors(3).keys()
    assert locked.info().n_vectors == 3
    assert [file.name for file in locked._file.parent.iterdir()] == [locked._file.name]
    late = time.time() + 10 * 3600  # when times of use would be written
    monkeypatch.setattr(time, "time", lambda: late)
    assert locked.get(vectors(3)).keys() == vectors(3).keys()


def test_a_damaged_entry_that_may_not_be_deleted_is_absent(cache, request):
    cache.put(vectors(3))
    with closing(sqlite3.connect(cache._file)) as connection, connection:
        connection.execute("UPDATE vectors SET checksum = 0 WHERE key = ?", [b"key 1"])
    locked = request.getfixturevalue("locked")
    assert locked.get(vectors(3)).keys() == {b"key 0", b"key 2"}
    assert locked.info().damaged == 1
