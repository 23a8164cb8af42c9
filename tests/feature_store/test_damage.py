"""Damaged files, full disks, read-only mounts: each told by its own error."""

import errno
import gc
import os
import struct
import subprocess
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store import (
    BusyStoreError,
    DamagedStoreError,
    FullStoreError,
    OnlineRecommender,
    ReadOnlyStoreError,
    StoreError,
    StoreReport,
    _offline,
    delete_ids,
    open_store,
    prune_feedback,
    publications,
    publish,
    read_vectors,
    rollback,
    verify,
)
from skmmrec.feature_store._offline import append_parquet, holds_time, read_columns
from skmmrec.feature_store._publications import free_leftovers, unserved
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import TIMESTAMP, from_us
from skmmrec.feature_store.backends.sqlite import SqliteBackend, _connections

from .conftest import copy_repo, make_recommender, reads_with_duckdb
from .test_publications import model


def publish_two(repo):
    publish(model(1), repo)
    publish(model(2), repo)


@pytest.fixture
def published(repo, filled):
    return filled(publish_two, repo)


def publication_file(repo, number):
    [path] = (repo / "data" / "online.db.publications").glob(f"*-{number}-*.db")
    return path


def flip(path, place):
    """Change one byte of a file; negative places count from the end."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


# verify(store)


def test_a_sound_store_verifies_without_a_model(published):
    report = verify(published)
    assert isinstance(report, StoreReport)
    assert report == ("v2", 14, [])
    assert report.ok
    assert verify(open_store(published)).ok
    assert verify(repo=str(published)).ok
    assert verify(recommender=model(2), repo=published).ok


def test_what_is_recorded_and_deleted_is_no_damage(published):
    online = OnlineRecommender(published)
    online.record("101", 3)
    online.add_items([99], [[1.0, 2.0]])
    assert verify(published).ok
    delete_ids(published, users=["102"], items=[4])
    report = verify(published)
    assert report.ok
    assert report.n_compared == 12
    assert verify(rollback(published) and published).ok


def test_verify_asks_for_a_store(published):
    with pytest.raises(TypeError, match=r"verify\(repo\) or verify\(recommender, re"):
        verify(model(2))
    with pytest.raises(TypeError, match="are compared only with a recommender"):
        verify(published, categories={1: "a"})


def test_verify_of_nothing(repo):
    with pytest.raises(LookupError, match="nothing is published"):
        verify(repo)
    with pytest.raises(LookupError, match="nothing is published"):
        verify(model(1), repo)


def edit(repo, number, statement):
    import sqlite3
    from contextlib import closing

    path = publication_file(repo, number)
    path.chmod(0o644)
    with closing(sqlite3.connect(path)) as conn:
        conn.executescript(statement)
        conn.commit()


@pytest.mark.parametrize(
    ("statement", "kind", "words"),
    [
        ("DELETE FROM item_embeddings; DELETE FROM blocks", "missing", "0 rows"),
        ("UPDATE item_embeddings SET f1 = f2", "changed", "not those that were"),
        ("DELETE FROM item_embeddings", "unreadable", "item_vector differ"),
        ("UPDATE item_embeddings SET f0 = f1", "unreadable", "item_vector differ"),
    ],
)
def test_rows_that_differ_are_told_by_their_kind(published, statement, kind, words):
    edit(published, 2, statement)
    report = verify(published)
    [damage] = report.damage
    assert (damage.view, damage.kind) == ("item_embeddings", kind)
    assert words in damage.message
    assert "publish" in damage.message
    publish(model(3), published)
    assert verify(published).ok


def test_a_page_that_cannot_be_read_is_damage(published):
    path = publication_file(published, 2)
    content = bytearray(path.read_bytes())
    content[8192:] = os.urandom(len(content) - 8192)
    path.chmod(0o644)
    path.write_bytes(content)
    report = verify(published)
    assert {d.kind for d in report.damage} == {"unreadable"}
    assert all(str(path) in d.message for d in report.damage)
    assert rollback(published).version == "v1"
    assert verify(published).ok


def test_a_busy_store_is_not_a_damaged_one(published, monkeypatch):
    def busy(*args):
        raise BusyStoreError("others hold it")

    monkeypatch.setattr(SqliteBackend, "rows", busy)
    with pytest.raises(BusyStoreError, match="others hold it"):
        verify(published)


def test_a_damaged_database_is_told(published):
    path = published / "data" / "online.db"
    gc.collect()  # a connection that is closed later would write its log over the noise
    for name in ("online.db-wal", "online.db-shm"):
        (published / "data" / name).unlink(missing_ok=True)
    path.write_bytes(os.urandom(20_000))
    store = open_store(published)
    for call in (
        lambda: OnlineRecommender(store).recommend(["101"]),
        lambda: verify(store),
        lambda: publish(model(3), store),
        lambda: rollback(store),
        lambda: publications(store),
    ):
        with pytest.raises(DamagedStoreError, match=r"online\.db"):
            call()


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_lost_database_is_told_and_its_publications_stay(published, is_empty):
    gc.collect()
    path = published / "data" / "online.db"
    content = _taken_in(path)
    files = sorted((published / "data" / "online.db.publications").iterdir())
    path.unlink()
    if is_empty:
        path.touch()
    for call in (
        lambda: OnlineRecommender(published).recommend(["101"]),
        lambda: publish(model(3), published),
    ):
        with pytest.raises(DamagedStoreError, match=r"online\.db is damaged.*restore"):
            call()
    assert all(file.exists() for file in files)
    path.write_bytes(content)
    assert verify(published).ok


def test_whoever_serves_follows_a_backup_that_is_restored(published, monkeypatch):
    import shutil

    monkeypatch.setattr(_connections, "LOOK_SECONDS", 0.0)
    data, backup = published / "data", published / "backup"
    _taken_in(data / "online.db")
    shutil.copytree(data, backup)
    publish(model(3), published)
    online = OnlineRecommender(published)
    online.record("100", 3)
    assert online.recommend(["101"], k=3).attrs["model_version"] == "v3"
    shutil.rmtree(data)
    backup.rename(data)
    online.record("101", 4)
    assert online.recommend(["101"], k=3).attrs["model_version"] == "v2"
    assert online.recommend(["101"], k=3).equals(
        OnlineRecommender(published).recommend(["101"], k=3)
    )
    assert OnlineRecommender(published).feedback()["user_id"].tolist() == ["101"]
    assert verify(published).ok


def _taken_in(path):
    """Have sqlite put its log into a database; return the bytes of that."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for name in (f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    return path.read_bytes()


# The registry


GARBAGE = {
    "noise": lambda content: b"\xff" * 1000,
    "cut": lambda content: content[: len(content) // 2 + 3],
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("how", GARBAGE)
def test_a_damaged_registry_is_told_and_made_anew(published, how, caplog):
    path = published / "data" / "registry.db"
    damaged = GARBAGE[how](path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(DamagedStoreError, match=r"registry\.db.* publish again"):
        OnlineRecommender(published).recommend(["101"])
    publish(model(3), published)
    assert verify(model(3), published).ok
    [aside] = path.parent.glob("registry.db.damaged-*")
    assert aside.read_bytes() == damaged
    assert "feast apply" in caplog.text
    publish(model(4), published)
    assert len(list(path.parent.glob("registry.db.damaged-*"))) == 1
    assert rollback(published).version == "v3"


def test_an_open_store_sees_the_repaired_registry(published):
    store = open_store(published)
    online = OnlineRecommender(store)
    assert online.model_version == "v2"
    path = published / "data" / "registry.db"
    path.write_bytes(b"\xff" * 100)
    publish(model(3), published)
    assert len(online.recommend(["101"], k=3, exclude_seen=False)) == 3
    publish(model(4), store)
    assert online.model_version == "v4"


def test_what_a_killed_writer_left_of_a_registry_goes(published):
    partial = published / "data" / ".registry.db.0-0-0"
    partial.write_bytes(b"half")
    publish(model(3), published)
    assert not partial.exists()


# Parquet files


@pytest.mark.parametrize("place", [-1, 40], ids=["footer", "page"])
@pytest.mark.parametrize("name", ["user_embeddings", "item_embeddings"])
def test_a_damaged_parquet_file_is_told_and_not_replaced(published, name, place):
    path = published / "data" / f"{name}.parquet"
    flip(path, place)
    damaged = path.read_bytes()
    with pytest.raises(
        DamagedStoreError, match=rf"{name}\.parquet is damaged.* move it"
    ):
        publish(model(3), published)
    assert path.read_bytes() == damaged
    assert verify(model(2), published).ok
    [damage] = verify(published).damage
    assert (damage.view, damage.kind) == (name, "unreadable")
    assert str(path) in damage.message
    path.rename(path.with_suffix(".aside"))
    publish(model(3), published)
    assert verify(model(3), published).ok
    assert len(pq.read_table(path)) == (6 if name == "user_embeddings" else 8)


@given(data=st.data())
@settings(max_examples=80)
def test_no_bit_of_a_footer_is_read_that_was_not_written(whole, data):
    """Some would rename a column, others end the process."""
    [length] = struct.unpack("<I", whole[-8:-4])
    place = -data.draw(st.integers(1, length + 8))
    changed = bytearray(whole)
    changed[place] ^= 1 << data.draw(st.integers(0, 7))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.parquet"
        path.write_bytes(changed)
        with pytest.raises(DamagedStoreError, match="is damaged"):
            read_columns(path, ["n"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A file with several row groups, as it is on the disk."""
    path = tmp_path_factory.mktemp("whole") / "rows.parquet"
    schema = pa.schema([("n", pa.int64()), (TIMESTAMP, pa.timestamp("us", tz="UTC"))])
    for day in (1, 2, 3):
        when = datetime(2026, 1, day, tzinfo=UTC)
        table = pa.table({"n": range(5), TIMESTAMP: [when] * 5}, schema=schema)
        append_parquet(path, schema, [table], when)
    assert len(read_columns(path, ["n"])) == 15
    return path.read_bytes()


def test_a_file_that_something_else_has_written_anew_is_read(whole, tmp_path):
    path = tmp_path / "rows.parquet"
    path.write_bytes(whole)
    pq.write_table(pq.read_table(path), path)
    assert len(read_columns(path, ["n"])) == 15
    path.write_bytes(whole[:3])
    with pytest.raises(DamagedStoreError, match="is damaged"):
        read_columns(path, ["n"])


def test_a_damaged_file_of_events_is_told(published):
    path = published / "data" / "feedback_events.parquet"
    path.write_bytes(b"nothing of the kind")
    for call in (
        lambda: publish(model(3), published),
        lambda: prune_feedback(published),
    ):
        with pytest.raises(DamagedStoreError, match=r"feedback_events\.parquet is dam"):
            call()
    assert verify(model(2), published).ok
    assert [damage.view for damage in verify(published).damage] == ["feedback_events"]


# Full disks


def big(version="v2"):
    return make_recommender(n_users=3, n_items=20_000, dim=16, version=version)


@contextmanager
def mounted(folder, *options):
    """Mount something on a folder, where that is allowed."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", *options, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"nothing may be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def needs_mount():
    """Skip where there is no program to mount with."""
    import shutil

    return pytest.mark.skipif(
        shutil.which("mount") is None, reason="there is no mount command"
    )


@needs_mount()
def test_a_full_disk_leaves_what_is_served(tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=4m", "tmpfs") as disk:
        repo = copy_repo(disk)
        small = make_recommender(n_users=3, dim=16)
        publish(small, repo)
        for _ in range(2):
            with pytest.raises(FullStoreError, match=r"(?s)space|full"):
                publish(big(), repo, chunk_size=500)
            assert verify(small, repo).ok
            assert verify(repo).ok
        online = OnlineRecommender(repo)
        assert online.model_version == "v1"
        other = make_recommender(n_users=3, dim=16, seed=3, version="v3")
        publish(other, repo)
        assert verify(other, repo).ok
        assert sum(p.stat().st_size for p in repo.rglob("*") if p.is_file()) < 1_500_000


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.ENOSPC, FullStoreError, "no space left .* is complete"),
        (errno.EDQUOT, FullStoreError, "no space left .* is complete"),
        (errno.EFBIG, FullStoreError, "no space left .* is complete"),
        (errno.EIO, StoreError, r"repo\S* cannot be read or written.*its disk"),
    ],
)
@pytest.mark.parametrize("step", ["offline", "registry"])
def test_a_disk_that_is_full_in_between(
    published, monkeypatch, code, kind, words, step
):
    def full(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    target = {"offline": "pyarrow.parquet.ParquetWriter.write_table"}
    target["registry"] = "skmmrec.feature_store._registry._write"
    with monkeypatch.context() as patch:
        patch.setattr(target[step], full)
        with pytest.raises(kind, match=words):
            publish(model(3), published)
    served = OnlineRecommender(published).model_version
    assert served == ("v2" if step == "offline" else "v3")
    assert verify(model(int(served[1:])), published).ok
    assert not list((published / "data").glob("*.partial"))
    publish(model(3), published)
    assert verify(model(3), published).ok


@pytest.mark.parametrize("step", ["complete", "serve"])
def test_what_a_failed_publication_left_makes_room(published, monkeypatch, step):
    """Its rows in the offline files go, where these cannot be written beside it."""
    store = open_store(published)
    backend, writer = backend_of(store), pq.ParquetWriter
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full(*args):
        raise error

    def full_until_there_is_room(*args, **kwargs):
        return full() if unserved(backend) else writer(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(SqliteBackend, step, full)
        with pytest.raises(FullStoreError):
            publish(model(3), store)
    [left] = unserved(backend)
    path = published / "data" / "item_embeddings.parquet"
    assert holds_time(path, from_us(left.event_us))
    monkeypatch.setattr(pq, "ParquetWriter", full_until_there_is_room)
    free_leftovers(store, backend)
    assert unserved(backend) == []
    assert not holds_time(path, from_us(left.event_us))
    assert verify(published).ok


# Read-only


@needs_mount()
def test_a_read_only_mount_serves_and_says_so(published, tmp_path):
    online = OnlineRecommender(published)
    online.record("101", 3)
    expected = online.recommend(["100"], k=3)
    del online
    with mounted(tmp_path / "ro", "--bind", "-o", "ro", str(published)) as repo:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(repo)], check=True)
        reader = OnlineRecommender(repo)
        assert reader.recommend(["100"], k=3).equals(expected)
        assert reader.feedback()["user_id"].tolist() == ["101"]
        assert publications(repo)["version"].tolist() == ["v1", "v2"]
        assert read_vectors(repo, "item", [3])[1].all()
        assert verify(repo).ok
        for call in (
            lambda: publish(model(3), repo),
            lambda: rollback(repo),
            lambda: prune_feedback(repo),
            lambda: delete_ids(repo, users=["101"]),
            lambda: reader.record("102", 4),
        ):
            with pytest.raises(ReadOnlyStoreError, match=r"read-?only|writ(ten|ing)"):
                call()
    assert verify(published).ok


@reads_with_duckdb
@pytest.mark.parametrize(
    ("code", "error"),
    [(errno.EROFS, ReadOnlyStoreError), (errno.ENOSPC, FullStoreError)],
)
def test_feasts_own_commands_say_what_is_wrong_with_a_disk(
    published, monkeypatch, code, error
):
    """Both `apply` and `materialize` write the registry."""

    def fails(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    store = open_store(published)
    views = store.list_feature_views()
    before = (published / "data" / "registry.db").read_bytes()
    monkeypatch.setattr("skmmrec.feature_store._registry._write", fails)
    for call in (
        lambda: store.apply(views),
        lambda: store.materialize(*2 * [datetime.now(UTC)], ["item_embeddings"]),
    ):
        with pytest.raises(error, match=r"registry\.db"):
            call()
    assert (published / "data" / "registry.db").read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(published):
    (published / "data").chmod(0o555)
    try:
        with pytest.raises(ReadOnlyStoreError, match="cannot be written to"):
            publish(model(3), published)
    finally:
        (published / "data").chmod(0o755)


def test_other_errors_of_the_system_are_left_alone(published, monkeypatch):
    def fails(*args, **kwargs):
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))

    monkeypatch.setattr(_offline.pq.ParquetWriter, "write_table", fails)
    with pytest.raises(OSError, match=os.strerror(errno.ENXIO)) as caught:
        publish(model(3), published)
    assert type(caught.value) is OSError
    assert verify(model(2), published).ok
