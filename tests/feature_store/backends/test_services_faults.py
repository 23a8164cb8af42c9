"""Servers with damaged files, full disks and read-only users: what people are told."""

import itertools
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from skmmrec.feature_store import (
    DamagedStoreError,
    FullStoreError,
    OnlineRecommender,
    ReadOnlyStoreError,
    StoreError,
    open_store,
    publications,
    publish,
    rollback,
    verify,
)
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import pack_vectors, tcp_options

from ..conftest import make_recommender
from ..services import SilentProxy, redis_settings
from ..test_fold_in import history_model

pytestmark = pytest.mark.services
_PROJECTS = itertools.count()


def configure(repo, online, project=None):
    """Write a repository's settings, in a project of its own."""
    path = repo / "feature_store.yaml"
    text = yaml.safe_load(path.read_text())
    text["project"] = project or f"f{os.getpid()}_{next(_PROJECTS)}"
    text["online_store"] = online
    path.write_text(yaml.safe_dump(text))
    return repo


def connect(settings):
    import psycopg

    names = ("host", "port", "user")
    return psycopg.connect(
        **{name: settings[name] for name in names},
        dbname=settings["database"],
        autocommit=True,
    )


@pytest.fixture
def admin(postgres):
    """Connect as an operator does."""
    with connect(postgres) as conn:
        yield conn


# A disk of its own for PostgreSQL's tables


@contextmanager
def small_disk(owner):
    """Mount a disk of 6 MB that belongs to a user, where that is allowed."""
    folder = Path(tempfile.mkdtemp(prefix="small"))
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    mounted = (
        shutil.which("mount")
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )
    try:
        if not mounted:
            pytest.skip("mounting is not allowed here")
        os.chown(folder, owner.st_uid, owner.st_gid)
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture
def disk(postgres, admin):
    """Give a disk on which the user `small` has all new tables."""
    with small_disk(os.stat(postgres["host"])) as folder:
        admin.execute(f"CREATE TABLESPACE small LOCATION '{folder}'")
        admin.execute("CREATE ROLE small LOGIN SUPERUSER")
        admin.execute("ALTER ROLE small SET default_tablespace = 'small'")
        yield folder
        # What is in it belongs to tests that are over.
        admin.execute("DROP OWNED BY small CASCADE")
        admin.execute("DROP ROLE small")
        admin.execute("DROP TABLESPACE small")


def big_model(version, seed):
    return make_recommender(n_items=3000, dim=64, seed=seed, version=version)


def test_a_full_disk_of_postgresql_leaves_what_is_served(repo, postgres, disk):
    configure(repo, {**postgres, "user": "small"})
    first, second = big_model("v1", 1), big_model("v2", 2)
    publish(first, repo)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(disk).free - 200_000))
    with pytest.raises(FullStoreError, match=r"disk is full.*still served.*free space"):
        publish(second, repo)
    online = OnlineRecommender(repo)
    assert online.model_version == "v1"
    assert verify(first, repo).ok
    assert publications(repo)["version"].tolist() == ["v1"]
    ballast.unlink()
    publish(second, repo)
    assert verify(second, repo).ok
    rollback(repo)
    assert verify(first, repo).ok


# Damaged pages


def rows_table(admin, project, view):
    query = (
        "SELECT relname FROM pg_class c JOIN pg_description d ON d.objoid = c.oid "
        "WHERE relkind = 'r' AND relname LIKE 'skmmrec_rows_%%' "
        "AND description LIKE %s AND description LIKE %s"
    )
    [[name]] = admin.execute(query, [f"%of {project},%", f"%{view}%"]).fetchall()
    return name


@pytest.fixture
def copied(admin):
    """Make a database, and a copy whose files may then be damaged.

    Nothing of the copy is in the memory of the server yet.
    """
    made = []

    def copy(name):
        end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        admin.execute(f"{end} WHERE datname = %s", [name])
        made.append(f"{name}_copy")
        admin.execute(f"CREATE DATABASE {made[-1]} TEMPLATE {name} STRATEGY file_copy")
        return made[-1]

    def database():
        made.append(f"damaged{next(_PROJECTS)}")
        admin.execute(f"CREATE DATABASE {made[-1]}")
        return made[-1]

    yield database, copy
    for name in made:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def file_of(settings, database, project, view):
    """Return the path of the file of a publication's table."""
    with connect({**settings, "database": database}) as conn:
        table = rows_table(conn, project, view)
        where = "SELECT current_setting('data_directory'), pg_relation_filepath(%s)"
        folder, name = conn.execute(where, [table]).fetchone()
    return Path(folder, name)


def write_over(path, _):
    """Write over some places of a file, within its rows."""
    rng = random.Random(0)
    with path.open("r+b") as file:
        pages = file.seek(0, 2) // 8192
        for _ in range(3):
            file.seek(8192 * rng.randrange(pages) + rng.randrange(5000, 8000))
            file.write(rng.randbytes(64))


def change_a_number(path, model):
    """Change the last number of an item's vector."""
    content, wanted = path.read_bytes(), model.vectors.items.iloc[7].to_numpy()
    vector = wanted.tobytes()
    assert content.count(vector) == 1
    path.write_bytes(content.replace(vector, vector[:-1] + b"\0"))


@pytest.mark.parametrize(
    ("view", "damage", "checksums", "kind", "says"),
    [
        ("user_embeddings", write_over, True, "unreadable", "table is damaged"),
        ("item_embeddings", write_over, True, "unreadable", "table is damaged"),
        ("item_embeddings", change_a_number, False, "changed", "3000 rows, of which"),
    ],
)
def test_damaged_pages_of_postgresql_are_told(
    repo, postgres, admin, copied, view, damage, checksums, kind, says
):
    """Also by a server that has no checksums of its own."""
    database, copy = copied
    whole = database()
    settings = {**postgres, "vector_enabled": False, "database": whole}
    store = open_store(configure(repo, settings))
    first, second = big_model("v1", 1), big_model("v2", 2)
    publish(first, store)
    assert verify(store).ok
    path = file_of(postgres, whole, store.project, view)
    damaged = copy(whole)
    query = "SELECT oid FROM pg_database WHERE datname = %s"
    [new] = admin.execute(query, [damaged]).fetchone()
    if not checksums:
        admin.execute(f"ALTER DATABASE {damaged} SET ignore_checksum_failure = on")
    damage(path.parents[1] / str(new) / path.name, first)
    settings["database"] = damaged
    store = open_store(configure(repo, settings, store.project))
    [found] = verify(store).damage
    assert (found.view, found.kind) == (view, kind)
    assert says in found.message
    assert "publish again" in found.message
    publish(second, store)
    assert verify(second, store).ok
    assert verify(store).ok


def test_rows_that_somebody_changed_are_told(repo, postgres, admin):
    store = open_store(configure(repo, postgres))
    publish(make_recommender(), store)
    table = rows_table(admin, store.project, "item_embeddings")
    admin.execute(f"DELETE FROM {table} WHERE ctid = '(0,1)'")
    [found] = verify(store).damage
    assert (found.view, found.kind) == ("item_embeddings", "missing")
    assert "29 rows, but 30 were written" in found.message


def test_rows_that_somebody_changed_in_redis_are_told(repo, redis):
    store = open_store(configure(repo, redis))
    publish(make_recommender(), store)
    backend = backend_of(store)
    client, names = backend._server.client, backend._names
    column = names.column(1, "item_embeddings", "item_popularity")
    key = next(iter(client.hkeys(column)))
    client.hset(column, key, b"\x20\x63")
    [found] = verify(store).damage
    assert (found.view, found.kind) == ("item_embeddings", "changed")


def change_a_byte(piece):
    return piece[:-1] + bytes([piece[-1] ^ 1])


def exchange_two(piece):
    from skmmrec.feature_store.backends.redis._packed import pack_rows, unpack_rows

    keys, matrix = next(unpack_rows([(0, piece)]))
    return pack_rows(keys, pack_vectors(matrix[[1, 0, *range(2, len(keys))]]))


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (change_a_byte, "unreadable", "damaged copy of its item vectors"),
        (exchange_two, "changed", "other vectors in the copy"),
    ],
)
def test_a_changed_copy_of_vectors_in_redis_is_told(repo, redis, change, kind, says):
    """Rows are as they were: those who recommend read the copy."""
    store = open_store(configure(repo, redis))
    publish(make_recommender(), store)
    backend = backend_of(store)
    client, name = backend._server.client, backend._names.packed(1)
    client.hset(name, b"0", change(client.hget(name, b"0")))
    [found] = verify(store).damage
    assert (found.view, found.kind) == ("item_embeddings", kind)
    assert says in found.message
    publish(make_recommender(version="v2"), store)
    assert verify(store).ok


def test_a_database_without_pgvector_says_what_to_do(repo, postgres, copied):
    settings = {**postgres, "database": copied[0]()}
    with pytest.raises(StoreError, match=r"CREATE EXTENSION vector.*vector_enabled"):
        publish(make_recommender(), configure(repo, settings))
    configure(repo, {**settings, "vector_enabled": False})
    publish(make_recommender(), repo)
    assert verify(repo).ok


def test_a_server_that_has_lost_what_is_served_says_so(repo, redis):
    """And how to serve it again, with the events that it has taken in."""
    store = open_store(configure(repo, redis))
    publish(make_recommender(), store)
    online = OnlineRecommender(store)
    online.record("100", 5)
    publish(make_recommender(version="v2"), store, feedback=online.feedback())
    backend = backend_of(store)
    backend._server("DEL", backend._names.served)
    for ask in (lambda: online.recommend("100", k=2), lambda: verify(store)):
        with pytest.raises(DamagedStoreError, match=r"number 2 \(.*`rollback` with"):
            ask()
    rollback(store, 1)
    assert len(online.feedback()) == 1
    rollback(store, 2)
    assert online.feedback().empty
    backend._server("DEL", backend._names.served)
    publish(make_recommender(version="v3"), store)
    assert online.feedback().empty
    assert verify(store).ok


# Servers that fall silent


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="sockets have no filters")
def test_a_server_that_falls_silent_is_asked_anew(repo, redis, monkeypatch):
    """As behind a firewall that has forgotten a connection."""
    from skmmrec.feature_store.backends.redis import _store

    options = {**tcp_options(), socket.TCP_USER_TIMEOUT: 100}
    settings = {**_store._CONNECTION, "socket_keepalive_options": options}
    monkeypatch.setattr(_store, "_CONNECTION", settings)
    with SilentProxy(redis["connection_string"]) as proxy:
        configure(repo, {**redis, "connection_string": proxy.place})
        publish(make_recommender(), repo)
        online = OnlineRecommender(repo)
        wanted = online.recommend("100", k=3)
        proxy.fall_silent()
        assert online.recommend("100", k=3).equals(wanted)
        proxy.fall_silent()
        online.record("100", wanted["item_id"].iloc[0])
        assert len(online.feedback()) == 1


# Servers that only read


@contextmanager
def reading(repo, name, redis, postgres, admin, project):
    """Give a repository whose user or server only reads what another one writes."""
    folder = shutil.copytree(repo, repo.parent / "reading")
    if name == "redis":
        host, port = redis["connection_string"].split(":")
        more = ["--replicaof", host, port]
        with redis_settings(_Folders(repo.parent), *more) as replica:
            yield configure(folder, replica, project)
        return
    admin.execute("CREATE ROLE reads LOGIN")
    admin.execute("ALTER ROLE reads SET default_transaction_read_only = on")
    # As README.md says: each publication has new tables.
    admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reads")
    admin.execute(
        "ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public "
        "GRANT SELECT ON TABLES TO reads"
    )
    yield configure(folder, {**postgres, "user": "reads"}, project)
    admin.execute("DROP OWNED BY reads")
    admin.execute("DROP ROLE reads")


class _Folders:
    """As pytest's factory of folders."""

    def __init__(self, folder):
        self.folder = folder

    def mktemp(self, name):
        (self.folder / name).mkdir()
        return self.folder / name


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_a_server_that_only_reads_recommends(repo, name, redis, postgres, admin):
    store = open_store(configure(repo, {"postgres": postgres, "redis": redis}[name]))
    publish(history_model(), store)
    publish(history_model(version="v2", seed=1), store)
    main = OnlineRecommender(store)
    main.record(3, 24)
    wanted = main.recommend([3, 4], k=5)
    with reading(repo, name, redis, postgres, admin, store.project) as folder:
        online, deadline = OnlineRecommender(folder), time.monotonic() + 30
        while not is_there(online):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert online.recommend([3, 4], k=5).equals(wanted)
        assert online.feedback()["item_id"].tolist() == [24]
        assert verify(folder).ok
        assert publications(folder).equals(publications(store))
        for write in (
            lambda: online.record(4, 1),
            lambda: online.add_items([99], [[1.0, 2.0, 3.0]]),
            lambda: publish(history_model(version="v3"), folder),
            lambda: rollback(folder),
        ):
            with pytest.raises(ReadOnlyStoreError, match=r"primary|master"):
                write()
        assert online.model_version == "v2"
        publish(history_model(version="v3", seed=2), store)
        wanted = main.recommend([3, 4], k=5)
        while online.model_version != "v3":
            assert time.monotonic() < deadline
        assert online.recommend([3, 4], k=5).equals(wanted)


def is_there(online):
    """Tell whether a replica has got everything by now."""
    try:
        return len(online.feedback()) == 1
    except LookupError:
        return False
