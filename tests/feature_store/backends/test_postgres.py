"""PostgreSQL keeps the contract of all engines, and what is special to it."""

import asyncio
import itertools
import os
import signal
import socket
import threading
import time
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from feast import Entity, FeatureView, Field, FileSource
from feast.types import Array, Float32, Int64, String
from feast.value_type import ValueType

from skmmrec.feature_store import embedding_definitions, open_store
from skmmrec.feature_store._repo import apply
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    ITEM_VECTOR,
    ITEM_VERSION,
    ITEM_VIEW,
    USER_VECTOR,
    USER_VERSION,
    USER_VIEW,
    BusyStoreError,
    Event,
    FullStoreError,
    ReadOnlyStoreError,
    Row,
    StoreError,
    entity_keys,
    from_us,
    pack_text,
    pack_vectors,
    tcp_options,
)

from ..messages import entity_key_proto
from .contract import DAY, DIM, ONE, SECOND, START, TWO, BackendContract, Model, Value

pytestmark = pytest.mark.services
_PROJECTS = itertools.count()


def configure(repo, postgres, **changes):
    """Write a repository's settings, in a project of its own."""
    path = repo / "feature_store.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["project"] = changes.pop("project", f"pg{os.getpid()}_{next(_PROJECTS)}")
    settings["registry"] = f"data/{settings['project']}.db"
    settings["online_store"] = {**postgres, **changes}
    path.write_text(yaml.safe_dump(settings))
    return open_store(repo)


@pytest.fixture
def store(repo, postgres):
    return configure(repo, postgres)


class TestContract(BackendContract):
    pass


class TestContractWithoutPgvector(BackendContract):
    @pytest.fixture
    def store(self, repo, postgres):
        return configure(repo, postgres, vector_enabled=False, conn_type="pool")


class Published(BackendContract):
    """The helpers of the contract, without its tests."""


for _name in [name for name in dir(BackendContract) if name.startswith("test_")]:
    setattr(Published, _name, None)


@pytest.fixture
def admin(postgres):
    """Connect as others do: operators, and clients that know nothing of us."""
    import psycopg

    with psycopg.connect(
        host=postgres["host"],
        port=postgres["port"],
        dbname=postgres["database"],
        user=postgres["user"],
        autocommit=True,
    ) as conn:
        yield conn


def rows_tables(admin, project):
    query = (
        "SELECT relname FROM pg_class c JOIN pg_description d ON d.objoid = c.oid "
        "WHERE relkind = 'r' AND relname LIKE 'skmmrec_rows_%%' AND description LIKE %s"
    )
    return [row[0] for row in admin.execute(query, [f"%of {project},%"])]


def stock_write(store, view, user, value, when, version):
    """Write a row as a client does that has Feast's own class."""
    from feast.infra.online_stores.postgres_online_store.postgres import (
        PostgreSQLOnlineStore,
        PostgreSQLOnlineStoreConfig,
    )

    given = store.config.online_store.model_dump(
        exclude={"type", "text_encoder", "encoders"}
    )
    config = store.config.model_copy()
    config._online_store = PostgreSQLOnlineStoreConfig(**given)
    stock = PostgreSQLOnlineStore()
    values = {
        USER_VECTOR: Value(float_list_val={"val": [value] * DIM}),
        USER_VERSION: Value(string_val=version),
    }
    row = (entity_key_proto("user_id", user), values, from_us(when), None)
    stock.online_write_batch(config, view, [row], None)
    stock._conn.close()


class TestWhatOthersWrite(Published):
    def test_stock_clients_count_if_they_write_of_the_served_model(self, backend):
        first = self.publish(backend, ONE, 1)
        view, user = self.view(USER_VIEW), ONE.users.ids[0]
        published = self.first_number(backend, user)

        def both():
            table = backend.vectors(view, USER_VECTOR)
            in_table = table.matrix[list(table.ids).index(user), 0]
            assert in_table == self.first_number(backend, user)
            return in_table

        assert both() == pytest.approx(published, rel=0, abs=0)
        stock_write(self.store, view, user, 5.0, first.served_us + DAY, "v0")
        stock_write(self.store, view, user, 6.0, first.served_us, "v1")
        assert both() == pytest.approx(published, rel=0, abs=0)
        stock_write(self.store, view, user, 7.0, first.served_us + 1, "v1")
        assert both() == 7
        second = self.publish(backend, TWO, 2)
        stock_write(self.store, view, user, 8.0, second.served_us + DAY, "v1")
        np.testing.assert_array_equal(
            backend.vectors(view, USER_VECTOR).matrix, TWO.users.matrix
        )
        self.push(user, 9.0, second.served_us + 1, "v2")
        assert both() == 9

    def test_a_table_that_was_made_anew_is_not_remembered(self, backend, admin):
        """What counts changes goes with the table."""
        first = self.publish(backend, ONE, 1)
        view, user = self.view(USER_VIEW), ONE.users.ids[0]
        self.push(user, 5.0, first.served_us + 1, "v1")
        assert backend.vectors(view, USER_VECTOR).matrix[0, 0] == 5
        name = f'"{self.store.project}_{USER_VIEW}"'
        admin.execute(f"CREATE TABLE copy_of (LIKE {name} INCLUDING ALL)")
        admin.execute(f"DROP TABLE {name}")
        admin.execute(f"ALTER TABLE copy_of RENAME TO {name}")
        np.testing.assert_array_equal(
            backend.vectors(view, USER_VECTOR).matrix, ONE.users.matrix
        )
        stock_write(self.store, view, user, 6.0, first.served_us + 1, "v1")
        assert backend.vectors(view, USER_VECTOR).matrix[0, 0] == 6
        self.store.apply([view])
        stock_write(self.store, view, user, 7.0, first.served_us + 2, "v1")
        assert backend.vectors(view, USER_VECTOR).matrix[0, 0] == 7

    def test_nobody_waits_for_another_for_ever(self, backend):
        """Pushes of many rows in any order, records and publications, all at once."""
        first = self.publish(backend, ONE, 1)
        errors, done = [], threading.Event()
        view, users = self.view(USER_VIEW), [f"u{n}" for n in range(40)]
        times = itertools.count(first.served_us + DAY)

        def push(seed):
            order = np.random.default_rng(seed)
            while not done.is_set():
                rows = [
                    (
                        entity_key_proto("user_id", users[n]),
                        {
                            USER_VECTOR: Value(float_list_val={"val": [1.0] * DIM}),
                            USER_VERSION: Value(string_val="v1"),
                        },
                        from_us(next(times)),
                        None,
                    )
                    for n in order.permutation(len(users))
                ]
                self.store.provider.online_write_batch(
                    self.store.config, view, rows, None
                )

        def record():
            while not done.is_set():
                self.write_user(backend, ONE, "u3", 1.0, next(times))
                self.record(backend, "u3", 1)

        def kept(work, *args):
            try:
                work(*args)
            except Exception as error:
                errors.append(error)

        threads = [
            threading.Thread(target=kept, args=args)
            for args in ((push, 1), (push, 2), (record,), (record,))
        ]
        for thread in threads:
            thread.start()
        for number in range(2, 6):
            self.publish(backend, ONE, number)
            with backend.sole_publisher(5):
                backend.discard()
        done.set()
        for thread in threads:
            thread.join(60)
        assert errors == []
        assert not any(thread.is_alive() for thread in threads)
        numbers = list(backend.feedback(0).index)
        assert numbers == list(range(1, len(numbers) + 1))


class TestReaders(Published):
    def test_one_answer_is_of_one_model(self, backend):
        """Of all its views, by every way in which Feast reads."""
        self.publish(backend, ONE, 1)
        service = [f"{USER_VIEW}:{USER_VERSION}", f"{ITEM_VIEW}:{ITEM_VERSION}"]
        row = {"user_id": ONE.users.ids[0], "item_id": ONE.items.ids[0]}
        odd, seen, done = [], set(), threading.Event()

        def read(asynchronous):
            while not done.is_set():
                if asynchronous:
                    answer = asyncio.run(
                        self.store.get_online_features_async(service, [row])
                    )
                else:
                    answer = self.store.get_online_features(service, [row])
                found = answer.to_dict()
                pair = (*found[USER_VERSION], *found[ITEM_VERSION])
                seen.add(pair)
                if pair[0] != pair[1] or pair[0] is None:
                    odd.append(pair)

        readers = [threading.Thread(target=read, args=(n == 0,)) for n in range(3)]
        for reader in readers:
            reader.start()
        for number in range(2, 14):
            self.publish(backend, (ONE, TWO)[number % 2], number)
            with backend.sole_publisher(5):
                backend.drop(number - 1)
        done.set()
        for reader in readers:
            reader.join()
        assert odd == []
        assert seen == {("v1", "v1"), ("v2", "v2")}

    def test_a_publication_is_dropped_behind_its_readers(
        self, backend, admin, monkeypatch
    ):
        first = self.publish(backend, ONE, 1)
        second = self.publish(backend, TWO, 2)
        tables = rows_tables(admin, self.store.project)
        assert len(tables) == 4
        with admin.transaction():
            for table in tables:
                admin.execute(f"SELECT * FROM {table} LIMIT 1")
            with backend.sole_publisher(5):
                backend.drop(1)
            assert backend.publications() == [second]
            self.assert_items(self.items_of(backend), TWO)
            with pytest.raises(LookupError):
                backend.serve(first)
        assert len(rows_tables(admin, self.store.project)) == 4
        third = self.publish(backend, Model("v3", 9), 3)
        assert len(rows_tables(admin, self.store.project)) == 4
        assert backend.publications() == [second, third]

    def test_a_long_reader_does_not_hold_the_swap_up(self, backend, admin):
        self.publish(backend, ONE, 1)
        with admin.transaction():
            for name in (USER_VIEW, ITEM_VIEW):
                admin.execute(f'SELECT * FROM "{self.store.project}_{name}"')
            for table in rows_tables(admin, self.store.project):
                admin.execute(f"SELECT count(*) FROM {table}")
            self.publish(backend, TWO, 2)
            self.assert_items(self.items_of(backend), TWO)

    def test_what_was_deleted_is_not_in_memory_either(self, backend):
        first = self.publish(backend, ONE, 1)
        self.items_of(backend, first)
        [key] = entity_keys("item_id", [ONE.items.ids[0]])
        with backend.sole_publisher(5):
            backend.delete(self.view(ITEM_VIEW), [key])
        assert key not in self.items_of(backend, first).keys
        assert key not in self.items_of(backend).keys

    def test_search_by_both_interfaces_of_feast(self, backend):
        self.publish(backend, ONE, 1)
        query = ONE.items.matrix[7].tolist()
        wanted = np.linalg.norm(ONE.items.matrix - ONE.items.matrix[7], axis=1)
        best = np.argsort(wanted, kind="stable")[:3]
        view, config = self.view(ITEM_VIEW), self.store.config
        earlier = self.store.provider.retrieve_online_documents(
            config, view, [ITEM_VECTOR], query, 3
        )
        later = self.store.provider.retrieve_online_documents_v2(
            config, view, [ITEM_VECTOR], query, 3
        )
        assert [d[1].entity_values[0].int64_val for d in earlier] == [
            ONE.items.ids[n] for n in best
        ]
        assert {d[1].entity_values[0].int64_val for d in later} == {
            ONE.items.ids[n] for n in best
        }
        np.testing.assert_allclose(
            [d[4].float_val for d in earlier], wanted[best], rtol=1e-6, atol=1e-6
        )

    def test_a_forked_process_has_connections_of_its_own(self, backend):
        self.publish(backend, ONE, 1)
        wanted = self.first_number(backend, ONE.users.ids[0])
        pid = os.fork()
        if pid == 0:  # pragma: no cover
            found = self.first_number(backend, ONE.users.ids[0])
            os._exit(0 if found == wanted else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert self.first_number(backend, ONE.users.ids[0]) == wanted


class TestNames(Published):
    """Two projects in one database, whose names are alike."""

    def other(self, backend, repo, tmp_path, postgres, project):
        """Return the backend of another project in the same database."""
        store = configure(repo, postgres, project=project)
        data = tmp_path / "parquet"
        apply(store, list(embedding_definitions(DIM, user_id_type="string", data=data)))
        return store, backend_of(store)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("shop", "shop_item"),
            ("shop", "sh_p"),
            ("a" * 50, "a" * 50 + "_two"),
            ("b" * 46 + "1", "b" * 46 + "2"),
            ("shop_user_embeddings", "shop"),
        ],
    )
    def test_they_know_nothing_of_each_other(
        self, repo, tmp_path, postgres, admin, one, other
    ):
        (tmp_path / "parquet").mkdir()
        projects = [f"{name[:1]}{next(_PROJECTS)}{name[1:]}" for name in (one, other)]
        projects[1] = projects[0][: -len(one) + 1 or None] + other[1:]
        found = []
        for project, model in zip(projects, (ONE, TWO), strict=True):
            store, backend = self.other(None, repo, tmp_path, postgres, project)
            self.store = store
            self.publish(backend, model, 1)
            self.stage(backend, Model("x", 8), 2)
            found.append((store, backend))
        for (store, backend), model in zip(found, (ONE, TWO), strict=True):
            self.store = store
            self.assert_items(self.items_of(backend), model)
        self.store, backend = found[0]
        with backend.sole_publisher(5):
            backend.discard()
        self.store.teardown()
        self.store, backend = found[1]
        self.assert_items(self.items_of(backend), TWO)
        assert backend.staged().number == 2
        assert len(rows_tables(admin, projects[1])) == 4
        assert rows_tables(admin, projects[0]) == []

    def test_names_that_postgresql_cannot_tell_apart_are_refused(
        self, repo, tmp_path, postgres
    ):
        (tmp_path / "parquet").mkdir()
        name = f"c{next(_PROJECTS)}".ljust(63, "c")
        self.store, backend = self.other(None, repo, tmp_path, postgres, name + "1")
        self.publish(backend, ONE, 1)
        user, item = ONE.users.ids[0], ONE.items.ids[0]
        self.push(user, 5.0, START + DAY, "v1")  # users and items share a table
        assert self.first_number(backend, user) == 5
        self.assert_items(self.items_of(backend), ONE)
        assert len(backend.keys(self.view(ITEM_VIEW))) == len(ONE.items.ids)
        assert item in self.items_of(backend).ids
        first, served = self.store, backend
        self.store, backend = self.other(None, repo, tmp_path, postgres, name + "2")
        with pytest.raises(ValueError, match="would share a table"):
            self.publish(backend, TWO, 1)
        self.store = first
        self.assert_items(self.items_of(served), ONE)

    def test_schemas_keep_projects_of_one_name_apart(
        self, repo, tmp_path, postgres, admin
    ):
        (tmp_path / "parquet").mkdir()
        project = f"s{next(_PROJECTS)}"
        found = []
        for schema, model in ((f"a{project}", ONE), ("public", TWO)):
            settings = {**postgres, "db_schema": schema}
            self.store, backend = self.other(None, repo, tmp_path, settings, project)
            assert backend.served() is None
            self.publish(backend, model, 1)
            found.append((self.store, backend))
        for (store, backend), model in zip(found, (ONE, TWO), strict=True):
            self.store = store
            self.assert_items(self.items_of(backend), model)

    def test_the_stock_type_is_refused_by_name(self, repo, postgres):
        store = configure(repo, postgres, type="postgres")
        with pytest.raises(TypeError, match="ExactPostgresOnlineStore` in feature_st"):
            backend_of(store)


class TestTrouble(Published):
    def test_lost_connections_are_replaced(self, backend, admin):
        self.publish(backend, ONE, 1)
        wanted = self.first_number(backend, ONE.users.ids[0])
        self.end_sessions(admin)
        assert self.first_number(backend, ONE.users.ids[0]) == wanted

    def end_sessions(self, admin):
        admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )

    def test_a_connection_lost_while_recording_records_nothing(self, backend, admin):
        self.publish(backend, ONE, 1)

        def fail():
            with backend.exclusive():
                key = entity_keys("user_id", ["a"])[0]
                backend.append_feedback(Event(key, key, 1.0, START))
                self.end_sessions(admin)
                backend.append_feedback(Event(key, key, 1.0, START))

        with pytest.raises(StoreError, match="repeat this"):
            fail()
        assert backend.feedback(0).empty
        assert self.record(backend, "a", 1)

    def test_a_publisher_that_lost_its_connection_serves_nothing(self, backend, admin):
        """Another may have published meanwhile."""
        self.publish(backend, ONE, 1)

        def fail():
            with backend.sole_publisher(5):
                snapshot = self.complete(backend, TWO, 2)
                self.end_sessions(admin)
                backend.serve(snapshot)

        with pytest.raises(StoreError, match="connection was lost"):
            fail()
        self.assert_items(self.items_of(backend), ONE)
        self.publish(backend, TWO, 3)
        self.assert_items(self.items_of(backend), TWO)

    def test_a_server_that_is_not_there(self, repo, postgres, tmp_path):
        store = configure(repo, postgres, host="127.0.0.1", port=1)
        with pytest.raises(StoreError, match=r"PostgreSQL at 127\.0\.0\.1:1.*server"):
            backend_of(store).served()

    def test_a_server_that_only_reads_serves_reads(
        self, backend, admin, repo, postgres, tmp_path
    ):
        admin.execute(
            "DO $$ BEGIN CREATE ROLE reader LOGIN; "
            "EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
        admin.execute("ALTER ROLE reader SET default_transaction_read_only = on")
        admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        self.publish(backend, ONE, 1)
        self.record(backend, "a", 1)
        project = self.store.project
        admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        store = configure(repo, postgres, project=project, user="reader")
        reader = backend_of(store)
        self.assert_items(self.items_of(reader), ONE)
        assert self.user(reader, ONE.users.ids[0])
        assert len(reader.keys(self.view(USER_VIEW))) == len(ONE.users.ids)
        assert reader.publications() == backend.publications()
        assert reader.staged() is None
        assert reader.last_event() == 1
        assert len(reader.feedback(0)) == 1
        assert sum(map(len, reader.rows(self.view(USER_VIEW), reader.served()))) == 12
        for refused in (
            lambda: self.write_user(reader, ONE, "a", 1.0, START),
            lambda: self.record(reader, "a", 1),
            lambda: reader.begin(self.views, reader.served()),
        ):
            with pytest.raises(ReadOnlyStoreError, match="on the primary"):
                refused()

    def test_nothing_is_published_in_an_empty_database(self, repo, postgres, admin):
        """And asking for it makes no tables."""
        admin.execute("CREATE SCHEMA IF NOT EXISTS bare")
        backend = backend_of(configure(repo, postgres, db_schema="bare"))
        assert backend.served() is None
        assert backend.publications() == []
        tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'bare'"
        assert admin.execute(tables).fetchone() == (0,)

    @pytest.mark.parametrize(
        ("name", "kind", "says"),
        [
            ("DiskFull", FullStoreError, "what was served is still served"),
            ("ReadOnlySqlTransaction", ReadOnlyStoreError, "on the primary"),
            ("LockNotAvailable", BusyStoreError, "repeat this"),
            ("SerializationFailure", BusyStoreError, "repeat this"),
            ("QueryCanceled", BusyStoreError, "statement_timeout is too short"),
            ("OutOfMemory", FullStoreError, "give it more"),
            ("InsufficientPrivilege", StoreError, "grant it"),
        ],
    )
    def test_what_the_server_says_is_told_with_what_to_do(
        self, backend, name, kind, says
    ):
        from psycopg import errors

        connections = self.store.provider.online_store.engine(self.store.config)

        def fail():
            with connections.connections.get():
                raise getattr(errors, name)("no")

        with pytest.raises(kind, match=says):
            fail()

    def test_a_server_without_connections_left_is_told(self, repo, postgres, admin):
        """It is there, but for others."""
        admin.execute("CREATE ROLE crowd LOGIN CONNECTION LIMIT 0")
        store = configure(repo, postgres, user="crowd")
        with pytest.raises(BusyStoreError, match="max_conn in feature_store"):
            backend_of(store).served()
        admin.execute("DROP ROLE crowd")

    def test_a_view_without_a_table_is_told(self, repo, postgres, tmp_path):
        store = configure(repo, postgres)
        definitions = embedding_definitions(DIM, user_id_type="string", data=tmp_path)
        view = definitions.user_embeddings
        with pytest.raises(StoreError, match="feast apply"):
            backend_of(store).read(view, [b"key"], [USER_VECTOR])

    def test_no_more_connections_than_allowed(
        self, repo, postgres, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(
            "skmmrec.feature_store.backends.postgres._connections._WAIT", 0.1
        )
        store = configure(repo, postgres, conn_type="pool", max_conn=1)
        backend, held, errors = backend_of(store), threading.Event(), []
        done = threading.Event()

        def hold():
            with backend.exclusive():
                held.set()
                done.wait(30)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(30)
        with pytest.raises(BusyStoreError, match="max_conn"):
            backend.served()
        done.set()
        thread.join()
        assert backend.served() is None
        assert errors == []

    @pytest.mark.slow
    def test_killed_publishers_leave_what_was_served(self, backend, admin):
        began = time.monotonic()
        self.publish(backend, ONE, 1)
        # However busy the machine, some publish before they are killed.
        longest = max(0.3, 3 * (time.monotonic() - began))
        rng = np.random.default_rng(0)
        for _ in range(100):
            pid = os.fork()
            if pid == 0:
                self.publish_for_ever(backend)
            time.sleep(rng.uniform(0, longest))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            served = backend.served()
            self.assert_items(
                self.items_of(backend), {"v1": ONE, "v2": TWO}[served.version]
            )
            for name in (USER_VIEW, ITEM_VIEW):
                self.assert_checksum(backend, served, name)
        assert served.number > 5
        with backend.sole_publisher(30):
            backend.discard()
            for snapshot in backend.publications():
                if snapshot != backend.served():
                    backend.drop(snapshot.number)
        assert len(rows_tables(admin, self.store.project)) == 2

    def publish_for_ever(self, backend):
        try:
            while True:
                with backend.sole_publisher(30):
                    backend.discard()
                    for snapshot in backend.publications()[:-2]:
                        backend.drop(snapshot.number)
                    number = max(p.number for p in backend.publications()) + 1
                    snapshot = self.complete(backend, (ONE, TWO)[number % 2], number)
                    backend.serve(snapshot)
        finally:
            os._exit(1)


class TestWhatWasThere(Published):
    def test_rows_from_before_are_not_served_once_there_is_a_publication(self, backend):
        self.push(ONE.users.ids[0], 5.0, START, "v1")
        self.push("gone", 5.0, START, "v1")
        assert backend.served() is None
        self.publish(backend, ONE, 1)
        np.testing.assert_array_equal(
            backend.vectors(self.view(USER_VIEW), USER_VECTOR).matrix, ONE.users.matrix
        )
        with backend.sole_publisher(5):
            backend.discard()
        assert len(backend.keys(self.view(USER_VIEW))) == len(ONE.users.ids)

    def test_apply_leaves_publications_alone_and_teardown_leaves_nothing(
        self, backend, admin, tmp_path
    ):
        self.publish(backend, ONE, 1)
        self.record(backend, "a", 1)
        data = tmp_path / "parquet"
        definitions = list(embedding_definitions(DIM, user_id_type="string", data=data))
        apply(self.store, definitions)
        self.assert_items(self.items_of(backend), ONE)
        self.store.teardown()
        project = self.store.project
        assert rows_tables(admin, project) == []
        tables = "SELECT tablename FROM pg_tables WHERE tablename LIKE %s"
        assert admin.execute(tables, [f"{project}%"]).fetchall() == []
        apply(self.store, definitions)
        assert backend.served() is None
        assert backend.feedback(0).empty
        self.publish(backend, TWO, 1)
        self.assert_items(self.items_of(backend), TWO)


class TestOtherViews(Published):
    """Views of Feast's are as with its own class."""

    @pytest.fixture(params=[True, False], ids=["pgvector", "plain"])
    def store(self, repo, postgres, request):
        return configure(repo, postgres, vector_enabled=request.param)

    @pytest.fixture
    def other(self, store, tmp_path):
        (tmp_path / "parquet").mkdir()
        path = str(tmp_path / "parquet" / "things.parquet")
        entity = Entity(name="thing", join_keys=["thing"], value_type=ValueType.STRING)
        view = FeatureView(
            name="things",
            entities=[entity],
            schema=[
                Field(name="text", dtype=String),
                Field(name="number", dtype=Int64),
                Field(name="numbers", dtype=Array(Int64)),
                Field(
                    name="vector",
                    dtype=Array(Float32),
                    vector_index=True,
                    vector_search_metric="L2",
                ),
            ],
            source=FileSource(path=path, timestamp_field="event_timestamp"),
            ttl=timedelta(0),
        )
        frame = {"thing": ["a"], "event_timestamp": [pd.Timestamp.now(tz="UTC")]}
        pd.DataFrame(frame).to_parquet(path)
        apply(store, [entity, view])
        self.store = store
        return store.get_feature_view("things")

    def put(self, view, thing, when, **values):
        row = (entity_key_proto("thing", thing), values, from_us(when), None)
        self.store.provider.online_write_batch(self.store.config, view, [row], None)

    def get(self, thing, *features):
        names = [f"things:{name}" for name in features]
        answer = self.store.get_online_features(names, [{"thing": thing}]).to_dict()
        return [answer[name][0] for name in features]

    def test_values_of_all_kinds_come_back(self, other):
        for text, numbers, vector in [
            ("nul\0byte", [], []),
            ("", [1], [float("nan"), 1.0]),
            ("%s {} '\"", list(range(20_000)), [0.5] * 17_000),
            ("🦊", [-(2**63), 2**63 - 1], [1e30, -0.0]),
        ]:
            self.put(
                other,
                "a",
                START,
                text=Value(string_val=text),
                number=Value(int64_val=2**62),
                numbers=Value(int64_list_val={"val": numbers}),
                vector=Value(float_list_val={"val": vector}),
            )
            found = self.get("a", "text", "number", "numbers", "vector")
            assert found[:3] == [text, 2**62, numbers]
            np.testing.assert_array_equal(
                np.float32(found[3] or []), np.float32(vector)
            )

    def test_a_newer_value_stays(self, other):
        self.put(other, "a", START, number=Value(int64_val=1))
        self.put(other, "a", START - 1, number=Value(int64_val=2))
        assert self.get("a", "number") == [1]
        self.put(other, "a", START, number=Value(int64_val=3))
        self.put(other, "a", START + 1, text=Value(string_val="x"))
        assert self.get("a", "number", "text") == [3, "x"]

    def test_the_same_entity_twice_in_one_write(self, other):
        key = entity_key_proto("thing", "a")
        rows = [
            (key, {"number": Value(int64_val=n)}, from_us(START + when), None)
            for n, when in ((1, 5), (2, 9), (3, 7))
        ]
        done = []
        self.store.provider.online_write_batch(
            self.store.config, other, rows, done.append
        )
        assert self.get("a", "number") == [2]
        assert sum(done) == 3

    def test_many_rows_and_repeated_questions(self, other):
        keys = [entity_key_proto("thing", str(n)) for n in range(2500)]
        rows = [
            (key, {"number": Value(int64_val=n)}, from_us(START), None)
            for n, key in enumerate(keys)
        ]
        self.store.provider.online_write_batch(self.store.config, other, rows, None)
        asked = [{"thing": str(n)} for n in (7, 2499, 7, 99_999, 0)]
        answer = self.store.get_online_features(["things:number"], asked).to_dict()
        assert answer["number"] == [7, 2499, 7, None, 0]

    def test_search_sees_each_change(self, other):
        def nearest(k=2):
            found = self.store.provider.retrieve_online_documents_v2(
                self.store.config, other, ["vector"], [0.0, 0.0], k
            )
            return {d[1].entity_values[0].string_val for d in found}

        for n, thing in enumerate("abc"):
            vector = Value(float_list_val={"val": [n, n]})
            self.put(other, thing, START, vector=vector)
        assert nearest() == {"a", "b"}
        self.put(other, "a", START + 1, vector=Value(float_list_val={"val": [9, 9]}))
        assert nearest() == {"b", "c"}
        backend_of(self.store).delete(other, entity_keys("thing", ["b"]))
        assert nearest() == {"a", "c"}

    def test_an_id_that_no_index_takes_is_refused(self, other):
        thing = "".join(map(chr, np.random.default_rng(0).integers(33, 9999, 3000)))
        with pytest.raises(ValueError, match="too long for an index"):
            self.put(other, thing, START, number=Value(int64_val=1))


def test_a_row_of_a_long_id_is_refused_by_name(store, tmp_path):
    apply(store, list(embedding_definitions(DIM, user_id_type="string", data=tmp_path)))
    backend, view = backend_of(store), store.get_feature_view(USER_VIEW)
    row = {USER_VERSION: pack_text("v1"), USER_VECTOR: pack_vectors(np.ones((1, 5)))[0]}
    [key] = entity_keys("user_id", ["x" * 3000])
    with pytest.raises(
        ValueError, match=r"user_id .xxx.*PostgreSQL indexes up to 2000"
    ):
        backend.write(view, [Row(key, row, START + SECOND)])


def test_times_are_those_given_whatever_the_zone_of_the_server(
    store, tmp_path, admin, postgres
):
    admin.execute(f"ALTER DATABASE {postgres['database']} SET timezone = 'Asia/Tokyo'")
    try:
        contract = Published()
        (tmp_path / "parquet").mkdir()
        definitions = embedding_definitions(DIM, user_id_type="string", data=tmp_path)
        apply(store, list(definitions))
        contract.store = store
        backend = backend_of(store)
        first = contract.publish(backend, ONE, 1)
        contract.push("new", 5.0, first.served_us + 1, "v1")
        assert contract.first_number(backend, "new") == 5
        table = backend.vectors(contract.view(USER_VIEW), USER_VECTOR)
        assert table.event_us.max() == first.served_us + 1
    finally:
        admin.execute(f"ALTER DATABASE {postgres['database']} RESET timezone")


def test_a_rollback_does_not_read_the_rows_again(store, tmp_path, monkeypatch):
    """Only their times are new; it is 100,000 rows for some."""
    contract = Published()
    apply(store, list(embedding_definitions(DIM, user_id_type="string", data=tmp_path)))
    contract.store, backend = store, backend_of(store)
    first = contract.publish(backend, ONE, 1)
    second = contract.publish(backend, TWO, 2)
    contract.items_of(backend, first), contract.items_of(backend, second)
    monkeypatch.setattr(
        "skmmrec.feature_store.backends.postgres._vectors.page", lambda *_: 1 / 0
    )
    backend.serve(replace(first, served_us=second.served_us + 1))
    contract.assert_items(contract.items_of(backend), ONE)


@pytest.mark.parametrize("idle", [None, 77])
def test_connections_end_on_which_nobody_answers(idle):
    """Over TCP; how soon idle ones are asked is said in feature_store.yaml, or not."""
    from skmmrec.feature_store.backends.postgres._connections import Connections

    connections = Connections(SimpleNamespace(conn_type="any", keepalives_idle=idle))
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        info = SimpleNamespace(hostaddr="127.0.0.1")
        before = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        connections._keep_alive(SimpleNamespace(info=info, fileno=client.fileno))
        found = {o: client.getsockopt(socket.IPPROTO_TCP, o) for o in tcp_options()}
    kept = {} if idle is None else {socket.TCP_KEEPIDLE: before}
    assert found == {**tcp_options(), **kept}
