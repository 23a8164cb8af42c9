"""What is wrong with an embedded store is told; what can be read is served."""

import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import threading
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store import embedding_definitions, open_store
from skmmrec.feature_store._repo import apply
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    ITEM_VECTOR,
    USER_VECTOR,
    USER_VIEW,
    BusyStoreError,
    DamagedStoreError,
    Event,
    FullStoreError,
    ReadOnlyStoreError,
    Snapshot,
    StoreError,
    entity_keys,
    pack_vectors,
)
from skmmrec.feature_store.backends.sqlite import _connections, _files
from skmmrec.feature_store.backends.sqlite._blocks import sums_of
from skmmrec.feature_store.backends.sqlite._connections import transaction
from tests.forks import SECONDS, in_child, needs_fork, quietly

from .contract import ONE, SECOND, START, TWO, USERS, BackendContract

ROOT = Path(__file__).parents[3]


class Repository(BackendContract):
    """A repository with two publications, of which the second is served."""

    def __init__(self, repo):
        self.repo = repo
        self.open()

    def open(self):
        self.store = open_store(self.repo)
        self.backend = backend_of(self.store)
        return self.backend

    @property
    def path(self):
        return Path(self.backend.online.db_path(self.store.config))

    @property
    def files(self):
        return sorted(Path(f"{self.path}.publications").iterdir())

    def served_file(self):
        return self.backend.online.publication(self.store.config).path


# Its tests are those of the contract, which this is not.
Repository.__test__ = False


@pytest.fixture
def published(repo):
    data = repo / "data"
    data.mkdir(exist_ok=True)
    there = Repository(repo)
    apply(there.store, list(embedding_definitions(5, user_id_type="string", data=data)))
    there.publish(there.backend, ONE, 1)
    there.publish(there.backend, TWO, 2)
    there.backend.online.disconnect()
    return there


def damage(path, start, size=4096):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * size)


def test_a_damaged_publication_is_told_by_its_file(published):
    path = published.served_file()
    published.backend.online.disconnect()
    damage(path, 8192, path.stat().st_size)
    for read in (published.items_of, lambda b: published.user(b, ONE.users.ids[0])):
        with pytest.raises(DamagedStoreError, match=path.name) as told:
            read(published.open())
        assert "publish the model again" in str(told.value)
    backend = published.open()
    with pytest.raises(DamagedStoreError, match=path.name):
        list(backend.rows(published.view(USER_VIEW), backend.served()))
    published.assert_items(published.items_of(backend, backend.publications()[0]), ONE)
    published.publish(backend, TWO, 3)
    published.assert_items(published.items_of(backend), TWO)
    with backend.sole_publisher(5):
        backend.drop(2)
    assert not path.exists()


@pytest.mark.parametrize("content", [None, b"", b"no database" * 1000])
def test_a_publication_without_its_file_is_damaged(published, content):
    path = published.served_file()
    published.backend.online.disconnect()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    backend = published.open()
    with pytest.raises(DamagedStoreError, match=path.name):
        published.items_of(backend)
    with pytest.raises(DamagedStoreError, match=path.name):
        published.user(backend, ONE.users.ids[0])
    key = entity_keys("user_id", ONE.users.ids[:1])
    with pytest.raises(DamagedStoreError, match=path.name):
        backend.delete(published.view(USER_VIEW), key)


def test_a_file_that_goes_while_it_is_open_is_damage(published):
    published.user(published.backend, ONE.users.ids[0])
    path = published.served_file()
    path.unlink()
    with pytest.raises(DamagedStoreError, match=path.name):
        published.items_of(published.backend)


def test_vectors_that_differ_from_the_rows_are_noticed(published):
    """They are kept twice; whoever looks at the rows looks at both."""
    path = published.served_file()
    with closing(sqlite3.connect(path)) as conn:
        query = "SELECT rowid, lengths, keys, matrix FROM blocks"
        for row, lengths, keys, matrix in conn.execute(query).fetchall():
            zeros = bytes(len(matrix))
            conn.execute(
                "UPDATE blocks SET matrix = ?, sums = ? WHERE rowid = ?",
                (zeros, sums_of(lengths + keys, zeros), row),
            )
        conn.commit()
    backend = published.open()
    with pytest.raises(DamagedStoreError, match="two copies of user_vector differ"):
        list(backend.rows(published.view(USER_VIEW), backend.served()))


def test_a_damaged_main_database_is_told_by_its_name(published):
    path = published.path
    damage(path, 0, path.stat().st_size)
    with pytest.raises(DamagedStoreError, match=r"online\.db is damaged") as told:
        published.open().served()
    assert "publish again" in str(told.value)


def test_a_busy_database_is_not_a_damaged_one(published, monkeypatch):
    monkeypatch.setattr(published.store.config.online_store, "busy_timeout", 0.05)
    backend = published.backend
    with closing(sqlite3.connect(published.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyStoreError, match="busy_timeout"):
            backend.prune_feedback(1)
        published.assert_items(published.items_of(backend), TWO)  # readers do not wait
        other.execute("ROLLBACK")
    backend.prune_feedback(1)


def test_a_disk_that_is_full_while_rows_are_staged(published, monkeypatch):
    writer = _files._writer

    @contextmanager
    def small(path):
        with writer(path) as conn:
            conn.execute("PRAGMA max_page_count = 4")
            yield conn

    with monkeypatch.context() as patch:
        patch.setattr(_files, "_writer", small)
        with pytest.raises(FullStoreError, match="no room left"):
            published.stage(published.backend, ONE, 3)
    published.assert_items(published.items_of(published.backend), TWO)
    published.backend.discard()
    assert len(published.files) == 2
    published.publish(published.backend, ONE, 3)
    published.assert_items(published.items_of(published.backend), ONE)


def mounted(path, options):
    """Mount a file system of 2 MB; None where that is not allowed."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    if (
        not shutil.which("mount")
        or subprocess.run(command, check=False, capture_output=True).returncode
    ):
        pytest.skip("mounting is not allowed here")


@pytest.fixture
def mount(tmp_path):
    path = tmp_path / "mount"
    mounted(path, "size=3m")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk(published, mount):
    repo = shutil.copytree(published.repo, mount / "repo")
    there = Repository(repo)
    (mount / "ballast").write_bytes(bytes(shutil.disk_usage(mount).free - 100_000))
    backend = there.backend
    big = type(ONE)("big", 5, 3000)
    with pytest.raises(FullStoreError, match="no room left"):
        there.publish(backend, big, 3)
    there.assert_items(there.items_of(backend), TWO)
    (mount / "ballast").unlink()
    there.publish(there.open(), big, 3)
    there.assert_items(there.items_of(there.backend), big)


def fill(file):
    """Write until there is no space for another byte."""
    number = os.open(file, os.O_CREAT | os.O_WRONLY)
    try:
        with suppress(OSError):
            while True:
                os.write(number, bytes(4096))
    finally:
        os.close(number)


def test_what_is_served_is_read_from_a_disk_that_is_full(published, mount, monkeypatch):
    """Whoever opens the store then can make neither its log nor the index of that."""
    monkeypatch.setattr(_connections, "LOOK_SECONDS", 0.0)
    published.backend.online.disconnect()
    repo = shutil.copytree(published.repo, mount / "repo")
    fill(mount / "ballast")
    assert shutil.disk_usage(mount).free == 0
    there = Repository(repo)
    assert_read_only(there)
    (mount / "ballast").unlink()
    there.publish(there.backend, ONE, 3)  # by the thread that read it before
    there.assert_items(there.items_of(there.backend), ONE)


def write_and_die(repo):
    backend = backend_of(open_store(repo))
    with backend.exclusive():
        backend.append_feedback(Event(b"u", b"i", 1.0, 5))
    os.kill(os.getpid(), signal.SIGKILL)


@needs_fork
@quietly
def test_a_process_without_handles_is_told_so(published):
    """And not that the store, which it may write to, is read-only."""
    published.backend.online.disconnect()

    def read():
        backend = Repository(published.repo).backend
        most = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, most[1]))
        try:
            backend.served()
        except StoreError as error:
            return type(error).__name__, str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, most)

    name, told = in_child(read)
    assert (name, "ulimit -n" in told) == ("StoreError", True)


@quietly
@pytest.mark.parametrize(
    "log", [False, pytest.param(True, marks=needs_fork)], ids=["closed", "killed"]
)
def test_a_read_only_file_system_is_read(published, mount, log):
    repo = shutil.copytree(published.repo, mount / "repo")
    if log:  # the log of a process that was killed is there, and read
        writer = multiprocessing.get_context("fork").Process(
            target=write_and_die, args=(repo,)
        )
        writer.start()
        writer.join(SECONDS)
        assert writer.exitcode == -signal.SIGKILL
        assert (repo / "data" / "online.db-wal").stat().st_size
    subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
    there = Repository(repo)
    assert_read_only(there)
    if log:
        conn = there.backend.online.connect(there.store.config)
        assert conn.execute("SELECT count(*) FROM skmmrec_events").fetchone() == (1,)


def assert_read_only(there):
    backend = there.backend
    there.assert_items(there.items_of(backend), TWO)
    assert there.user(backend, ONE.users.ids[0])
    assert len(backend.keys(there.view(USER_VIEW))) == USERS
    assert backend.feedback(10).empty
    assert backend.last_event() >= 0
    there.assert_items(there.items_of(backend, backend.publications()[0]), ONE)
    with pytest.raises(ReadOnlyStoreError, match=r"online\.db"):
        there.write_user(backend, TWO, "new", 1, START)
    with pytest.raises(ReadOnlyStoreError, match=r"online\.db"):
        backend.prune_feedback(1)
    with pytest.raises(ReadOnlyStoreError, match=r"online\.db"):
        backend.serve(backend.publications()[0])


def test_a_folder_that_cannot_be_written_is_read(published, monkeypatch):
    """As above, where nothing can be mounted; then somebody else writes."""
    before = sorted(path.name for path in (published.repo / "data").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(_connections, "is_writable", lambda path: False)
        there = Repository(published.repo)
        assert_read_only(there)
        assert sorted(p.name for p in (published.repo / "data").iterdir()) == before
        reader = there.backend
    published.publish(published.backend, ONE, 3)
    published.backend.online.disconnect()
    monkeypatch.setattr(_connections, "is_writable", lambda path: False)
    there.assert_items(there.items_of(reader), ONE)


def test_a_read_only_place_without_a_database_says_so(repo, monkeypatch):
    monkeypatch.setattr(_connections, "is_writable", lambda path: False)
    with pytest.raises(ReadOnlyStoreError, match=r"there is no .*online\.db"):
        backend_of(open_store(repo)).served()


# What is left behind, and what is moved


def test_files_that_belong_to_no_publication_are_removed(published):
    folder = published.files[0].parent
    for name in ("skmmrec-9-0.db", "skmmrec-9-0.db-journal", "skmmrec-1-x.draft"):
        (folder / name).write_bytes(b"left by a killed process")
    with published.backend.sole_publisher(5):
        published.backend.discard()
    assert len(published.files) == 2
    published.assert_items(published.items_of(published.backend), TWO)


@pytest.mark.parametrize("how", ["gone", "damaged", "empty"])
def test_what_was_staged_and_cannot_be_read_is_not_resumed(published, how):
    published.stage(published.backend, ONE, 3)
    [path] = [p for p in published.files if "-3-" in p.name]
    if how == "damaged":
        damage(path, 4096, path.stat().st_size)
    else:
        path.unlink()
    if how == "empty":
        path.write_bytes(b"")
    backend = published.open()
    assert backend.staged() is None
    published.publish(backend, ONE, 3)
    published.assert_items(published.items_of(backend), ONE)
    assert len(published.files) == 3


def test_staged_rows_that_were_lost_are_noticed(published):
    for change in (
        "DELETE FROM user_embeddings",
        "UPDATE user_embeddings SET f0 = zeroblob(3)",
    ):
        snapshot = published.stage(published.backend, ONE, 3)
        [path] = [p for p in published.files if "-3-" in p.name]
        with closing(sqlite3.connect(path)) as conn:
            conn.execute(change)
            conn.commit()
        backend = published.open()
        assert backend.staged().number == 3
        with pytest.raises(DamagedStoreError, match="lost rows of user_embeddings"):
            backend.complete(published.views, snapshot)
        assert [s.number for s in backend.publications()] == [1, 2]


def test_the_folder_of_a_repository_may_be_moved(published, tmp_path):
    moved = Repository(shutil.move(published.repo, tmp_path / "elsewhere"))
    moved.assert_items(moved.items_of(moved.backend), TWO)


def test_apply_leaves_publications_and_teardown_removes_them(published):
    data = published.repo / "data"
    definitions = embedding_definitions(5, user_id_type="string", data=data)
    apply(published.store, list(definitions))
    published.assert_items(published.items_of(published.backend), TWO)
    published.store.teardown()
    assert not list(data.glob("online.db*"))


def test_projects_share_a_database(published):
    config = published.store.config
    path = published.repo / "feature_store.yaml"
    path.write_text(path.read_text().replace("project: skmmrec", "project: other"))
    other = Repository(published.repo)
    data = published.repo / "data"
    definitions = embedding_definitions(5, user_id_type="string", data=data)
    apply(other.store, list(definitions))
    assert other.backend.served() is None
    other.publish(other.backend, ONE, 1)
    with other.backend.sole_publisher(5):
        other.backend.discard()
    other.assert_items(other.items_of(other.backend), ONE)
    assert config.project == "skmmrec"
    published.assert_items(published.items_of(published.backend), TWO)
    other.backend.append_feedback(Event(b"u", b"i", 1.0, START, b"key"))
    assert published.backend.recorded([b"key"]) == set()
    own = [file for file in published.files if file.name.startswith("other-")]
    other.backend.online.teardown(other.store.config, other.views, [])
    assert own
    assert not any(file.exists() for file in own)
    published.assert_items(published.items_of(published.backend), TWO)
    assert published.backend.recorded([b"key"]) == set()
    published.backend.online.teardown(config, [], [])
    assert not list(data.glob("online.db*"))


def test_the_bytes_of_deleted_rows_are_gone(published):
    backend, user = published.backend, ONE.users.ids[5]
    vectors = [pack_vectors(m.users.matrix[5:6])[0][-20:] for m in (ONE, TWO)]
    mark = np.full((1, 5), 12345.678, np.float32)
    published.write_user(backend, TWO, user, 12345.678, START + 9 * SECOND)
    needles = [*vectors, mark.tobytes(), user.encode()]
    assert all(found_in(published, needle) for needle in needles)
    with backend.sole_publisher(5):
        backend.delete(published.view(USER_VIEW), entity_keys("user_id", [user]))
    backend.online.disconnect()
    assert not [needle for needle in needles if found_in(published, needle)]


def found_in(there, needle):
    paths = [*there.files, *there.path.parent.glob(there.path.name + "*")]
    return any(needle in path.read_bytes() for path in paths if path.is_file())


def test_readers_go_on_while_rows_are_deleted_and_models_change(published):
    """Files are replaced and dropped under them; no answer mixes two models."""
    backend, view = published.backend, published.view(USER_VIEW)
    user, done, wrong = ONE.users.ids[-1], threading.Event(), []
    [key] = entity_keys("user_id", [user])
    by_version = {m.version: m.users.matrix[-1] for m in (ONE, TWO)}

    def read():
        while not done.is_set():
            try:
                row = backend.read(view, [key], [USER_VECTOR, "user_model_version"])[
                    key
                ]
                version = row["user_model_version"][2:].decode()
                vector = pack_vectors(by_version[version][None])[0]
                table = backend.vectors(view, USER_VECTOR)
                if row[USER_VECTOR] != vector or table.version not in by_version:
                    wrong.append(row)
                elif not (table.matrix[-1] == by_version[table.version]).all():
                    wrong.append(table)
            except Exception as error:
                wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(3, 9):
            model = (ONE, TWO)[number % 2]
            published.publish(backend, model, number)
            backend.delete(view, entity_keys("user_id", [ONE.users.ids[number]]))
            backend.drop(number - 1)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert wrong == []


# Against a model of what must be read

users = st.sampled_from(["a", "b", "c"])
values = st.integers(1, 99)
times = st.integers(-5, 30)
steps = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(["v1", "v2"]), values),
    st.tuples(st.just("rollback"), st.integers(0, 9)),
    st.tuples(st.just("write"), users, values, times),
    st.tuples(st.just("push"), users, values, times, st.sampled_from(["v1", "v2"])),
    st.tuples(st.just("discard")),
    st.tuples(st.just("delete"), users),
)


class Expected:
    """What a store must hold, by the rules alone."""

    def __init__(self):
        self.publications, self.served, self.later = [], None, {}

    def serve(self, snapshot):
        """What was written to another one does not count, whatever its time."""
        if self.served is None or self.served.number != snapshot.number:
            self.later = {}
        self.served = snapshot

    def owned(self, user):
        version, when, _ = self.later.get(user, (None, 0, None))
        return self.served.owns(version, when)

    def read(self, user):
        if self.owned(user):
            return self.later[user][2]
        rows = next(r for s, r in self.publications if s.number == self.served.number)
        return rows.get(user)

    def write(self, user, value, when):
        before = self.later[user][1] + 1 if self.owned(user) else 0
        when = max(when, self.served.served_us + 1, before)
        self.later[user] = self.served.version, when, value

    def push(self, user, value, when, version):
        if self.served.owns(version, when) and not (
            self.owned(user) and self.later[user][1] > when
        ):
            self.later[user] = version, when, value


@pytest.fixture(scope="module")
def reused(tmp_path_factory):
    source = ROOT / "feature_repo"
    repo = tmp_path_factory.mktemp("steps") / "repo"
    shutil.copytree(source, repo, ignore=shutil.ignore_patterns("data", "__pycache__"))
    (repo / "data").mkdir()
    there = Repository(repo)
    definitions = embedding_definitions(5, user_id_type="string", data=repo / "data")
    apply(there.store, list(definitions))
    return there


@given(st.lists(steps, max_size=14))
@settings(max_examples=25)
def test_any_steps_leave_what_the_rules_say(reused, sequence):
    there, expected = reused, Expected()
    config, online = there.store.config, there.backend.online
    online.teardown(config, [], [])
    online.update(config, [], there.views, [], [], True)
    for number, step in enumerate([("publish", "v1", 50), *sequence], start=1):
        play(there, expected, number, *step)
        for user in ("a", "b", "c"):
            row = there.user(there.backend, user)
            value = there.first_number(there.backend, user) if row else None
            assert value == expected.read(user), (number, step, user)
        table = there.backend.vectors(there.view(USER_VIEW), USER_VECTOR)
        found = dict(zip(table.ids.tolist(), table.matrix[:, :1].ravel(), strict=True))
        assert found == {
            user: expected.read(user) for user in "abc" if expected.read(user)
        }
        assert sorted(there.backend.keys(there.view(USER_VIEW))) == sorted(
            entity_keys("user_id", list(found))
        )


def play(there, expected, number, kind, *values):
    backend, view = there.backend, there.view(USER_VIEW)
    if kind == "publish":
        version, value = values
        rows = {"a": value, "b": value + 1}
        when = 10 + max((s.served_us for s, _ in expected.publications), default=START)
        snapshot = Snapshot(number, version, b"", when, when)
        backend.begin(there.views, snapshot)
        keys = sorted(entity_keys("user_id", list(rows)))
        matrix = np.repeat(np.array(sorted(rows.values())), 5).reshape(-1, 5)
        vectors = pack_vectors(matrix.astype(np.float32))
        tag = b"\x12" + bytes([len(version)]) + version.encode()
        columns = [(USER_VECTOR, vectors), ("user_model_version", [tag] * 2)]
        backend.stage_rows(view, keys, columns)
        backend.complete(there.views, snapshot)
        backend.serve(snapshot)
        expected.publications.append((snapshot, rows))
        expected.serve(snapshot)
    elif kind == "rollback":
        place = values[0] % len(expected.publications)
        snapshot, rows = expected.publications[place]
        latest = max(s.served_us for s, _ in expected.publications)
        snapshot = replace(snapshot, served_us=latest + 1)
        backend.serve(snapshot)
        expected.publications[place] = snapshot, rows
        expected.serve(snapshot)
    elif kind == "write":
        user, value, when = values
        when += expected.served.served_us
        there.write_user(backend, expected.served, user, value, when)
        expected.write(user, value, when)
    elif kind == "push":
        user, value, when, version = values
        when += expected.served.served_us
        there.push(user, value, when, version)
        expected.push(user, value, when, version)
    elif kind == "discard":
        backend.discard()
        expected.later = {u: r for u, r in expected.later.items() if expected.owned(u)}
    else:
        backend.delete(view, entity_keys("user_id", values))
        expected.later.pop(values[0], None)
        for _, rows in expected.publications:
            rows.pop(values[0], None)


@needs_fork
@quietly
def test_a_forked_child_reads(published):
    """What the parent has read is read again by connections of the child's own."""
    backend, view = published.backend, published.view("item_embeddings")
    published.assert_items(published.items_of(backend), TWO)
    wanted = backend.vectors(view, ITEM_VECTOR).keys
    assert in_child(lambda: backend.vectors(view, ITEM_VECTOR).keys == wanted)


def test_vectors_in_memory_are_those_of_two_publications_at_most(published):
    backend, view = published.backend, published.view("item_embeddings")
    for number in range(3, 7):
        published.publish(backend, ONE, number)
        backend.vectors(view, ITEM_VECTOR)
    tables = backend.online._cache._tables
    assert [len(entries) for entries in tables.values()] == [2]


def test_stores_of_one_database_share_the_vectors_in_memory(published):
    one, other = published.backend, backend_of(open_store(published.repo))
    view = published.view("item_embeddings")
    table = one.vectors(view, ITEM_VECTOR)
    assert other.vectors(view, ITEM_VECTOR) is table
    one.online.disconnect()
    assert other.vectors(view, ITEM_VECTOR) is table


class Interrupted(sqlite3.Connection):
    """One that is told of Ctrl-C as soon as a statement is done."""

    after = None

    def execute(self, text, *values):
        done = super().execute(text, *values)
        if text.startswith(self.after):
            raise KeyboardInterrupt
        return done


@pytest.mark.parametrize("after", ["BEGIN", "INSERT", "COMMIT"])
def test_ctrl_c_leaves_no_transaction_open(tmp_path, monkeypatch, after):
    """It would keep all others from writing for as long as the process lives."""
    monkeypatch.setattr(Interrupted, "after", after)
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE t (n)")
        mine = sqlite3.connect(path, factory=Interrupted, isolation_level=None)
        with closing(mine):
            with pytest.raises(KeyboardInterrupt), transaction(mine):
                mine.execute("INSERT INTO t VALUES (1)")
            assert not mine.in_transaction
            other.execute("INSERT INTO t VALUES (2)")
            found = other.execute("SELECT count(*) FROM t").fetchone()
    assert found == (1 + (after == "COMMIT"),)
