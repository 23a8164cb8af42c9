"""What Redis alone does: leases, pieces, eviction, replicas, what was there before."""

import asyncio
import itertools
import os
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module

import numpy as np
import pytest
import yaml
from feast import Entity, FeatureView, Field, FileSource
from feast.protos.feast.types.Value_pb2 import FloatList, Value
from feast.types import Array, Float32, Int64
from feast.value_type import ValueType
from hypothesis import HealthCheck, given, settings, strategies as st

from skmmrec.feature_store import open_store
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    DISLIKED,
    ITEM_VECTOR,
    ITEM_VERSION,
    ITEM_VIEW,
    USER_VECTOR,
    USER_VERSION,
    USER_VIEW,
    BusyStoreError,
    DamagedStoreError,
    Event,
    FullStoreError,
    ReadOnlyStoreError,
    Row,
    StoreError,
    entity_keys,
    from_us,
    pack_text,
    pack_vectors,
    to_us,
    unpack,
)

from ..messages import entity_key_proto
from ..services import redis_settings
from .contract import DIM, ITEMS, ONE, SECOND, START, TWO, BackendContract

pytestmark = pytest.mark.services
_PROJECTS = itertools.count()
# Examples share a server, each with keys of its own.
on_a_server = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def open_project(repo, online, project=None):
    """Open a repository of a project of its own on a server."""
    path = repo / "feature_store.yaml"
    text = yaml.safe_load(path.read_text())
    text["online_store"] = online
    text["project"] = project or f"p{os.getpid()}_{next(_PROJECTS)}"
    path.write_text(yaml.safe_dump(text))
    return open_store(repo)


class Redis(BackendContract):
    @pytest.fixture
    def store(self, repo, redis):
        return open_project(repo, redis)

    def names(self, backend):
        """Names of all entries of the project, in Redis."""
        client = backend._server.client
        end = backend.project.encode()
        return {n for n in client.scan_iter(count=1000) if end in n}

    def event(self, user="a", pushed=None):
        [key] = entity_keys("user_id", [user])
        return Event(key, entity_keys("item_id", [1])[0], 1.0, START, pushed)

    def others(self, store):
        """Return the backend of another process, as good as."""
        return type(backend_of(store))(open_store(store.repo_path))


class TestContract(Redis):
    """All that every engine must do."""


# The other classes have the contract's fixtures and steps, but not its tests.
for name in [n for n in dir(BackendContract) if n.startswith("test_")]:
    setattr(Redis, name, None)
    setattr(TestContract, name, getattr(BackendContract, name))


class TestLeases(Redis):
    def take_over(self, backend):
        """Let the publisher's lease run out, as if its process had been paused."""
        backend._server.client.delete(backend._names.publisher)

    @pytest.mark.parametrize("step", ["begin", "stage", "complete", "serve", "drop"])
    def test_who_lost_the_lease_changes_nothing(self, backend, store, step):
        first = self.publish(backend, ONE, 1)
        second = self.publish(backend, TWO, 2)
        backend.serve(replace(first, served_us=second.served_us + 1))
        with backend.sole_publisher(5):
            staged = self.stage(backend, TWO, 3)
            before = backend.publications(), backend.served()
            self.take_over(backend)
            with self.others(store).sole_publisher(5):
                actions = {
                    "begin": lambda: backend.begin(self.views, staged),
                    "stage": lambda: backend.stage_rows(
                        self.views[1], [b"zz"], [(ITEM_VERSION, [b"x"])]
                    ),
                    "complete": lambda: backend.complete(self.views, staged),
                    "serve": lambda: backend.serve(second),
                    "drop": lambda: backend.drop(2),
                }
                with pytest.raises(BusyStoreError, match="nothing was written, try"):
                    actions[step]()
                assert (backend.publications(), backend.served()) == before
                assert backend.staged().number == 3
                assert backend.count_staged(self.views[1]) == ITEMS - 4
        self.assert_items(self.items_of(backend), ONE)

    def test_a_lease_is_renewed_while_something_else_is_done(
        self, backend, store, monkeypatch
    ):
        monkeypatch.setattr(
            "skmmrec.feature_store.backends.redis._writer._PUBLISHER", 0.3
        )
        with backend.sole_publisher(5):
            staged = self.stage(backend, ONE, 1)
            busy = self.others(store)
            with pytest.raises(BusyStoreError, match="another process has been publ"):
                busy._writer.sole_publisher(1.0).__enter__()
            backend.complete(self.views, staged)
            backend.serve(staged)
        self.assert_items(self.items_of(backend), ONE)

    def test_a_killed_holder_is_waited_for_and_no_longer(self, backend):
        client, names = backend._server.client, backend._names
        client.set(names.recorder, b"killed", px=300)
        client.set(names.publisher, b"killed", px=300)
        with backend.exclusive():
            assert backend.append_feedback(self.event())
        self.publish(backend, ONE, 1)
        assert len(backend.feedback(0)) == 1

    def test_who_records_for_too_long_records_nothing(self, backend):
        self.publish(backend, ONE, 1)

        def record():
            with backend.exclusive():
                backend.append_feedback(self.event())
                backend._server.client.delete(backend._names.recorder)

        with pytest.raises(BusyStoreError, match="nothing was written, try again"):
            record()
        assert backend.feedback(0).empty
        assert backend.last_event() == 0

    def test_serve_waits_for_who_records(self, backend):
        first = self.publish(backend, ONE, 1)
        second = self.complete(backend, TWO, 2)
        user = ONE.users.ids[0]
        thread = threading.Thread(target=backend.serve, args=(second,))
        with backend.exclusive():
            thread.start()
            time.sleep(0.2)
            assert backend.served() == first
            self.write_user_inside(backend, user)
        thread.join()
        assert backend.served() == second
        assert self.user(backend, user)[USER_VERSION] == pack_text("v2")

    def write_user_inside(self, backend, user):
        row = {USER_VERSION: pack_text("v1"), USER_VECTOR: b"\1"}
        [key] = entity_keys("user_id", [user])
        backend.write(self.view(USER_VIEW), [Row(key, row, START)])

    @pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
    def test_a_connection_that_breaks_records_once(self, backend, monkeypatch, done):
        """Before or after the server has done what was asked."""
        from redis.client import Pipeline
        from redis.exceptions import ConnectionError as Broken

        monkeypatch.setattr("redis.retry.sleep", lambda seconds: None)
        whole, broken = Pipeline._execute_pipeline, []

        def breaking(pipe, connection, commands, raise_on_error):
            asked = commands, raise_on_error
            if broken or commands[0][0][0] != "EVAL":
                return whole(pipe, connection, *asked)
            broken.append(whole(pipe, connection, *asked) if done else None)
            raise Broken

        monkeypatch.setattr(Pipeline, "_execute_pipeline", breaking)
        with backend.exclusive():
            backend.append_feedback(self.event(pushed=b"p"))
        assert broken
        assert len(backend.feedback(0)) == 1
        assert backend.recorded([b"p"]) == {b"p"}

    def test_events_of_many_recorders_are_all_kept(self, backend, store):
        def record(n):
            mine = self.others(store)
            for i in range(8):
                with mine.exclusive():
                    mine.append_feedback(self.event(f"{n} {i}"))

        threads = [threading.Thread(target=record, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        events = backend.feedback(0)
        assert list(events.index) == list(range(1, 33))
        assert events.user_id.nunique() == 32


class TestPublications(Redis):
    def test_nothing_is_left_of_what_was_dropped(self, backend):
        self.publish(backend, ONE, 1)
        self.publish(backend, TWO, 2)
        with backend.sole_publisher(5):
            backend.drop(1)
        sizes = set()
        for number in range(3, 12):
            self.publish(backend, TWO, number)
            with backend.sole_publisher(5):
                backend.drop(number - 1)
            sizes.add(len(self.names(backend)))
        assert len(sizes) == 1

    def test_no_step_is_large(self, backend, monkeypatch):
        sizes, whole = [], backend._server.together_while

        def spying(holds, parts, sign):
            for commands in parts:
                sizes.append(sum(len(str(word)) for c in commands for word in c))
            return whole(holds, parts, sign)

        monkeypatch.setattr(backend._server, "together_while", spying)
        monkeypatch.setattr(
            "skmmrec.feature_store.backends.redis._backend._PIECE", 1000
        )
        with backend.sole_publisher(5):
            backend.serve(self.complete_in_one_chunk(backend))
        # Bytes take up to four characters here, and vectors come twice.
        assert max(sizes) < 12_000
        self.assert_items(self.items_of(backend), ONE)

    def complete_in_one_chunk(self, backend):
        snapshot = self.stage(backend, ONE, 1, chunk_size=10**6)
        backend.complete(self.views, snapshot)
        return snapshot

    def test_staging_in_other_pieces_gives_the_same(self, backend, monkeypatch):
        """What a killed process wrote beyond its last chunk is written again."""
        pieces = "skmmrec.feature_store.backends.redis._backend._PIECE_ROWS"
        whole = backend._writer.publish
        calls = itertools.count()

        def dying(*parts):
            for part in parts:
                if next(calls) == 9:
                    raise InterruptedError
                whole(part)

        monkeypatch.setattr(backend._writer, "publish", dying)
        monkeypatch.setattr(pieces, 3)
        with backend.sole_publisher(5):
            with pytest.raises(InterruptedError):
                self.stage(backend, ONE, 1, chunk_size=100)
            staged = backend.staged()
            monkeypatch.setattr(backend._writer, "publish", whole)
            monkeypatch.setattr(pieces, 4)
            for batch in ONE.batches:
                view = self.view(batch.view)
                backend.stage(view, batch, 5, lambda _: None)
            counts = {batch.view: len(batch.ids) for batch in ONE.batches}
            staged = replace(staged, counts=counts)
            backend.complete(self.views, staged)
            backend.serve(staged)
        self.assert_items(self.items_of(backend), ONE)

    def test_a_number_is_not_given_twice(self, backend):
        self.publish(backend, ONE, 1)
        with (
            backend.sole_publisher(5),
            pytest.raises(ValueError, match="there is a publication 1 already"),
        ):
            self.stage(backend, TWO, 1)
        self.assert_items(self.items_of(backend), ONE)

    def test_vectors_are_read_after_a_deletion(self, backend):
        """The packed pieces, which hold the deleted, are gone then."""
        first = self.publish(backend, ONE, 1)
        view, gone = self.view(ITEM_VIEW), ONE.items.ids[4]
        assert backend._names.packed(1) in self.names(backend)
        with backend.sole_publisher(5):
            backend.delete(view, entity_keys("item_id", [gone]))
        assert backend._names.packed(1) not in self.names(backend)
        for snapshot in (None, first):
            table = self.items_of(backend, snapshot)
            assert list(table.ids) == [i for i in ONE.items.ids if i != gone]
            kept = np.array(ONE.items.ids) != gone
            np.testing.assert_array_equal(table.matrix, ONE.items.matrix[kept])

    def test_what_is_deleted_while_vectors_are_read_is_not_among_them(
        self, backend, monkeypatch
    ):
        """As many are left then as were read before the rest was gone."""
        redis = "skmmrec.feature_store.backends.redis"
        read, ids = import_module(f"{redis}._vectors").packed_pieces, ONE.items.ids
        view, gone = self.view(ITEM_VIEW), entity_keys("item_id", ids[:-7])

        def interrupted(*args):
            for n, piece in enumerate(read(*args)):
                yield piece
                if n == 0:
                    with backend.sole_publisher(5):
                        backend.delete(view, gone)

        monkeypatch.setattr(f"{redis}._backend._PIECE_ROWS", 7)
        monkeypatch.setattr(f"{redis}._vectors._PIECES", 1)
        monkeypatch.setattr(f"{redis}._vectors.packed_pieces", interrupted)
        self.publish(backend, ONE, 1)
        table = self.items_of(backend)
        assert list(table.ids) == ids[-7:]
        np.testing.assert_array_equal(table.matrix, ONE.items.matrix[-7:])

    def test_checksums_are_made_after_a_kill(self, backend, monkeypatch):
        self.publish(backend, ONE, 1)
        view, keys = self.view(USER_VIEW), entity_keys("user_id", ONE.users.ids[:2])
        with monkeypatch.context() as patch:
            patch.setattr(backend._edits, "make_checksums", lambda: 1 / 0)
            with backend.sole_publisher(5), pytest.raises(ZeroDivisionError):
                backend.delete(view, keys)
        with backend.sole_publisher(5):
            backend.discard()
        [snapshot] = backend.publications()
        assert backend.served() == snapshot
        self.assert_checksum(backend, snapshot, USER_VIEW, len(ONE.users.ids) - 2)

    def test_a_server_that_evicts_is_told_of(self, backend):
        client = backend._server.client
        policy = {"maxmemory": "1gb", "maxmemory-policy": "allkeys-lru"}
        for name, value in policy.items():
            client.config_set(name, value)
        try:
            with pytest.warns(UserWarning, match="maxmemory-policy allkeys-lru"):
                self.publish(backend, ONE, 1)
        finally:
            client.config_set("maxmemory", 0)
            client.config_set("maxmemory-policy", "noeviction")

    @pytest.mark.parametrize("feature", [ITEM_VECTOR, ITEM_VERSION])
    def test_what_was_evicted_is_damage(self, backend, feature):
        first = self.publish(backend, ONE, 1)
        client, names = backend._server.client, backend._names
        client.delete(names.column(1, ITEM_VIEW, feature), names.packed(1))
        view, keys = self.view(ITEM_VIEW), entity_keys("item_id", ONE.items.ids)
        with pytest.raises(DamagedStoreError, match=f"has lost {feature} of item_emb"):
            backend.read(view, keys, [feature])
        rows = [row for part in backend.rows(view, first) for row in part]
        assert len(rows) == (0 if feature == ITEM_VERSION else ITEMS)
        if feature == ITEM_VECTOR:
            with pytest.raises(DamagedStoreError, match="30 of 30 vectors of item_em"):
                self.items_of(backend)
        self.publish(backend, TWO, 2)
        self.assert_items(self.items_of(backend), TWO)

    @pytest.mark.parametrize("gone", ["last_event", "events", "last_event events"])
    def test_events_that_were_evicted_are_told_of(self, backend, gone):
        """And no number is given twice: the model has taken two of them in."""
        with backend.sole_publisher(5):
            snapshot = self.complete(backend, ONE, 1)
            for item in range(3):
                self.record(backend, "a", item)
            backend.serve(replace(snapshot, feedback=2))
        left = [0, 1, 2] if gone == "last_event" else []
        number = 3 if gone == "last_event events" else 4
        backend._server("DEL", *map(backend._names.own, gone.split()))
        told = nullcontext() if left else pytest.warns(UserWarning, match="lost the ev")
        with told:
            assert list(backend.feedback(0)["item_id"]) == left
        damage = nullcontext() if left else pytest.raises(DamagedStoreError)
        with damage:
            backend.check_feedback()
        with nullcontext() if left else pytest.warns(UserWarning, match="lost the ev"):
            self.record(backend, "a", 7)
        backend.check_feedback()
        assert list(backend.feedback(2)["item_id"]) == [*left[2:], 7]
        assert backend.last_event() == number

    def test_pushed_events_whose_numbers_were_evicted_count_once(self, backend):
        self.record(backend, "a", 1, b"push 1")
        self.record(backend, "a", 2)
        self.record(backend, "a", 3, b"push 2")
        backend._server("DEL", backend._names.pushed)
        both = [b"push 1", b"push 2", b"push 3"]
        assert backend.recorded(both, until=2) == {b"push 1"}
        backend._server("DEL", backend._names.pushed)
        assert not self.record(backend, "a", 3, b"push 2")
        assert self.record(backend, "a", 4, b"push 3")
        assert backend.recorded(both) == set(both)
        assert list(backend.feedback(0)["item_id"]) == [1, 2, 3, 4]
        backend.prune_feedback(3)
        assert backend.recorded(both) == {b"push 3"}

    @pytest.mark.parametrize(
        "gone",
        [
            (USER_VERSION,),
            (USER_VECTOR,),
            (USER_VECTOR, USER_VERSION),
            (USER_VERSION, "changes"),
            (USER_VERSION, "list"),
            (USER_VECTOR, "list", "changes"),
        ],
    )
    def test_rows_written_since_that_were_evicted_are_told_of(self, backend, gone):
        """Until others are written; what was published counts meanwhile."""
        self.publish(backend, ONE, 1)
        user, view = ONE.users.ids[0], self.view(USER_VIEW)
        before = self.user(backend, user)
        self.write_user(backend, ONE, user, 7, START)
        backend.check_later(view)
        names = backend._names
        own = {"changes": names.changes, "list": names.later_columns()}
        columns = [own.get(each) or names.later(USER_VIEW, each) for each in gone]
        backend._server("DEL", *columns)
        with pytest.warns(UserWarning, match="has lost rows of user_embeddings"):
            assert self.user(backend, user) == before
        with pytest.warns(UserWarning, match="has lost rows of user_embeddings"):
            assert len(backend.vectors(view, USER_VECTOR).ids) == len(ONE.users.ids)
        with pytest.raises(DamagedStoreError, match="most likely evicted"):
            backend.check_later(view)
        backend.check_later(self.view(ITEM_VIEW))
        self.write_user(backend, ONE, user, 8, START)
        backend.check_later(view)
        assert self.user(backend, user) != before
        with backend.sole_publisher(5):
            backend.delete(view, entity_keys("user_id", [user]))
        assert self.user(backend, user) == {}
        backend.check_later(view)  # what was deleted is not lost

    def test_features_that_came_later_are_not_taken_for_lost(self, backend):
        self.publish(backend, ONE, 1)
        [user, other] = ONE.users.ids[:2]
        key = entity_keys("user_id", [user])[0]
        row = Row(key, {USER_VERSION: pack_text("v1")}, START)
        view = self.view(USER_VIEW)
        backend.write(FeatureView(name=USER_VIEW, entities=[], schema=[]), [row])
        before = self.user(backend, other)
        assert self.user(backend, user, features=[USER_VECTOR, DISLIKED])
        assert self.user(backend, other) == before
        backend.check_later(view)

    def test_rows_written_since_whose_list_was_evicted_are_deleted(self, backend):
        self.publish(backend, ONE, 1)
        self.write_user(backend, ONE, "new", 7, START)
        [key] = entity_keys("user_id", ["new"])
        backend._server("DEL", backend._names.later_columns())
        with backend.sole_publisher(5):
            backend.delete(self.view(USER_VIEW), [key])
        start = backend._names.later(USER_VIEW, "")
        columns = [n for n in self.names(backend) if n.startswith(start)]
        assert columns
        for column in columns:
            assert not backend._server("HEXISTS", column, key)

    @pytest.mark.parametrize("drop", [False, True])
    def test_rows_whose_list_was_evicted_are_deleted(self, backend, drop):
        self.publish(backend, ONE, 1)
        self.publish(backend, TWO, 2)
        backend._server("DEL", backend._names.columns(1))
        with backend.sole_publisher(5):
            if drop:
                backend.drop(1)
            else:
                for view, ids in zip(self.views, (ONE.users, ONE.items), strict=True):
                    keys = entity_keys(view.join_keys[0], ids.ids)
                    backend.delete(view, keys)
        rows = backend._names.own("rows:1:")
        assert not [name for name in self.names(backend) if name.startswith(rows)]

    def test_a_publication_whose_record_was_evicted(self, backend):
        """Nothing of it is left, neither when rows are deleted nor in the next one."""
        first = self.publish(backend, ONE, 1)
        backend._server("DEL", backend._names.publications)
        keys = entity_keys("item_id", ONE.items.ids)
        with pytest.raises(DamagedStoreError, match="has lost the record of publ"):
            backend.read(self.view(ITEM_VIEW), keys, [ITEM_VECTOR], first)
        rows = backend._names.own("rows:")
        with backend.sole_publisher(5):
            backend.discard()  # as `delete_ids` does before all else
        assert not [name for name in self.names(backend) if name.startswith(rows)]
        backend._server("DEL", backend._names.served)
        second = self.publish(backend, TWO, 1)
        self.assert_items(self.items_of(backend), TWO)
        for view, batch in zip(self.views, TWO.batches, strict=True):
            rows = [row.key for part in backend.rows(view, second) for row in part]
            assert rows == sorted(entity_keys(view.join_keys[0], batch.ids))

    def test_a_feature_and_the_list_that_has_it_were_evicted(self, backend):
        self.publish(backend, ONE, 1)
        backend._server("DEL", backend._names.columns(1))
        assert self.user(backend, ONE.users.ids[0], features=[DISLIKED]) == {}
        self.assert_items(self.items_of(backend), ONE)
        names, keys = backend._names, entity_keys("item_id", ONE.items.ids)
        gone = names.column(1, ITEM_VIEW, ITEM_VECTOR), names.columns(1)
        backend._server("DEL", *gone)
        with pytest.raises(DamagedStoreError, match=f"has lost {ITEM_VECTOR}"):
            backend.read(self.view(ITEM_VIEW), keys, [ITEM_VECTOR])

    def test_a_feature_that_was_deleted_to_its_last_value_is_no_damage(self, backend):
        """Redis forgets a hash with its last field, whoever has taken it out."""
        popular = [f for f in ONE.items.feature_names if f == "item_popularity"]
        [key, other] = entity_keys("item_id", ONE.items.ids[:2])
        view = self.view(ITEM_VIEW)
        with backend.sole_publisher(5):
            self.stage(backend, ONE, 1)
            backend._server("DEL", backend._names.column(1, ITEM_VIEW, popular[0]))
            backend._server(
                "HSET", backend._names.column(1, ITEM_VIEW, popular[0]), key, b"x"
            )
            staged = replace(backend.staged(), counts={ITEM_VIEW: ITEMS})
            backend.complete(self.views, staged)
            backend.serve(staged)
            done = []
            checksums = backend._edits.make_checksums

            def reading():
                done.append(backend.read(view, [key, other], popular))
                checksums()
                done.append(backend.read(view, [key, other], popular))

            backend._edits.make_checksums = reading
            backend.delete(view, [key])
        assert done == [{}, {}]
        assert self.user(backend, ONE.users.ids[0])

    def test_who_is_unknown_is_no_damage(self, backend):
        self.publish(backend, ONE, 1)
        for view in self.views:
            names = [field.name for field in view.features]
            assert backend.read(view, [b"unknown"], names) == {}

    def test_teardown_leaves_nothing(self, backend, store):
        self.publish(backend, ONE, 1)
        self.write_user(backend, ONE, "new", 7, START)
        with backend.exclusive():
            backend.append_feedback(self.event(pushed=b"p"))
        with backend.sole_publisher(5):
            self.stage(backend, TWO, 2)
        key = entity_key_proto("event_id", "e")
        row = (key, {"event_y": Value(double_val=1.0)}, datetime.now(UTC), None)
        view = self.view("feedback_events")
        store.provider.online_write_batch(store.config, view, [row], None)
        assert self.names(backend)
        store.teardown()
        assert self.names(backend) == set()


class TestLater(Redis):
    @given(
        pushes=st.lists(
            st.tuples(
                st.sampled_from(["v1", "v0"]),
                st.integers(-3, 3),
                st.sampled_from([USER_VECTOR, "both"]),
            ),
            max_size=6,
        )
    )
    @on_a_server
    def test_pushes_in_any_order_give_the_newest_of_the_model(
        self, backend, store, pushes
    ):
        if backend.served() is None:
            self.publish(backend, ONE, 1)
        served = backend.served()
        user = f"u{next(_PROJECTS)}"
        view, newest = self.view(USER_VIEW), {}
        for n, (version, ahead, what) in enumerate(pushes, 1):
            values = {
                USER_VECTOR: Value(float_list_val=FloatList(val=[n] * DIM)),
                USER_VERSION: Value(string_val=version),
            }
            if what == "both":
                values["user_history_size"] = Value(int64_val=n)
            when = from_us(served.served_us + ahead)
            row = (entity_key_proto("user_id", user), values, when, None)
            store.provider.online_write_batch(store.config, view, [row], None)
            if version == "v1" and ahead > 0:
                for name in values.keys() - {USER_VERSION}:
                    newest[name] = max(newest.get(name, (0, 0)), (ahead, n))
        features = [USER_VECTOR, "user_history_size"]
        row = self.user(backend, user, features=features)
        found = {name: unpack(value) for name, value in row.items()}
        if USER_VECTOR in found:
            found[USER_VECTOR] = found[USER_VECTOR][0]
        assert found == {name: n for name, (_, n) in newest.items()}

    def test_what_feasts_own_class_wrote_is_not_read(self, backend, store):
        from feast.infra.online_stores.redis import RedisOnlineStore

        first = self.publish(backend, ONE, 1)
        user = ONE.users.ids[0]
        before = self.user(backend, user)
        values = {USER_VERSION: Value(string_val="v1")}
        when = from_us(first.served_us + SECOND)
        row = (entity_key_proto("user_id", user), values, when, None)
        view = self.view(USER_VIEW)
        stock = RedisOnlineStore()
        stock.online_write_batch(store.config, view, [row], None)
        assert self.user(backend, user) == before
        assert len(backend.keys(view)) == len(ONE.users.ids)

    def test_rows_without_a_version_are_listed_while_nothing_is_published(
        self, backend, store
    ):
        values = {USER_VECTOR: Value(float_list_val=FloatList(val=[1.0] * DIM))}
        row = (entity_key_proto("user_id", "a"), values, from_us(START), None)
        view = self.view(USER_VIEW)
        store.provider.online_write_batch(store.config, view, [row], None)
        assert backend.keys(view) == entity_keys("user_id", ["a"])
        table = store.provider.online_store.vectors(store.config, view, USER_VECTOR)
        assert list(table.ids) == ["a"]
        self.publish(backend, ONE, 1)
        backend.discard()
        later = [name for name in self.names(backend) if b"later:" in name]
        assert {backend._server("HLEN", name) for name in later} == {1}  # its mark
        assert len(backend.keys(view)) == len(ONE.users.ids)

    def test_a_vector_of_another_length_is_refused(self, backend, store):
        self.publish(backend, ONE, 1)
        values = {
            USER_VECTOR: Value(float_list_val=FloatList(val=[1.0, 2.0])),
            USER_VERSION: Value(string_val="v1"),
        }
        when = datetime.now(UTC) + timedelta(days=1)
        row = (entity_key_proto("user_id", "a"), values, when, None)
        view = self.view(USER_VIEW)
        with pytest.raises(ValueError, match="user_vector of 'a' has 2 numbers"):
            store.provider.online_write_batch(store.config, view, [row], None)

    def test_many_items_are_added_among_the_published(self, backend):
        first = self.publish(backend, ONE, 1)
        rng = np.random.default_rng(0)
        ids = [-5, 3, 7, 1000, *range(40, 400, 2)]
        matrix = rng.normal(size=(len(ids), DIM)).astype(np.float32)
        rows = [
            Row(key, {ITEM_VECTOR: v, ITEM_VERSION: pack_text("v1")}, START)
            for key, v in zip(
                entity_keys("item_id", ids), pack_vectors(matrix), strict=True
            )
        ]
        backend.write(self.view(ITEM_VIEW), rows)
        wanted = dict(zip(ONE.items.ids, ONE.items.matrix, strict=True))
        wanted |= dict(zip(ids, matrix, strict=True))
        table = self.items_of(backend)
        assert list(table.ids) == sorted(wanted)
        assert table.keys == entity_keys("item_id", sorted(wanted))
        np.testing.assert_array_equal(table.matrix, [wanted[i] for i in table.ids])
        new = np.isin(table.ids, ids)
        assert set(table.event_us[new]) == {first.served_us + 1}
        assert set(table.event_us[~new]) == {first.served_us}

    def test_feast_reads_alike_in_all_its_ways(self, backend, store):
        first = self.publish(backend, ONE, 1)
        self.write_user(backend, ONE, ONE.users.ids[0], 7, first.served_us + 1)
        request = {
            "features": [f"{USER_VIEW}:{USER_VECTOR}", f"{ITEM_VIEW}:{ITEM_VECTOR}"],
            "entity_rows": [
                {"user_id": u, "item_id": i}
                for u, i in zip(ONE.users.ids, ONE.items.ids, strict=False)
            ],
        }
        found = store.get_online_features(**request).to_dict()
        again = asyncio.run(store.get_online_features_async(**request)).to_dict()
        assert found == again
        wanted = ONE.users.matrix.copy()
        wanted[0] = 7
        np.testing.assert_array_equal(np.float32(found[USER_VECTOR]), wanted)

    def test_feast_writes_alike_in_both_its_ways(self, backend, store):
        first = self.publish(backend, ONE, 1)
        view = self.view(USER_VIEW)
        for n, (version, counts) in enumerate([("v0", False), ("v1", True)], 1):
            values = {
                USER_VECTOR: Value(float_list_val=FloatList(val=[n] * DIM)),
                USER_VERSION: Value(string_val=version),
            }
            when = from_us(first.served_us + n)
            row = (entity_key_proto("user_id", "a"), values, when, None)
            provider = store.provider
            asyncio.run(
                provider.online_write_batch_async(store.config, view, [row], None)
            )
            assert bool(self.user(backend, "a")) == counts


class TestOtherViews(Redis):
    """Views of which nothing is published are where Feast's own class has them."""

    def one(self, backend, name, join_key="shop", tmp="x"):
        entity = Entity(name=join_key, join_keys=[join_key], value_type=ValueType.INT64)
        source = FileSource(path=f"{tmp}.parquet", timestamp_field="event_timestamp")
        vector = Field(
            name="place",
            dtype=Array(Float32),
            vector_index=True,
            vector_length=2,
            vector_search_metric="L2",
        )
        fields = [Field(name="visits", dtype=Int64), vector]
        view = FeatureView(
            name=name, entities=[entity], schema=fields, source=source, online=True
        )
        self.store.apply([entity, view])
        return self.store.get_feature_view(name)

    def put(self, view, ids, when, visits=None):
        rows = []
        for n in ids:
            values = {"place": Value(float_list_val=FloatList(val=[n, 0.0]))}
            if visits is not None:
                values["visits"] = Value(int64_val=visits)
            rows.append((entity_key_proto(view.join_keys[0], n), values, when, None))
        self.store.provider.online_write_batch(self.store.config, view, rows, None)

    @pytest.fixture
    def shops(self, backend, tmp_path):
        return self.one(backend, "shops", tmp=tmp_path / "shops")

    times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))

    @given(
        first=times, second=times | st.timedeltas(timedelta(0), timedelta(seconds=1))
    )
    @on_a_server
    def test_the_newer_stays_to_the_microsecond(self, backend, shops, first, second):
        if isinstance(second, timedelta):
            second = first + second
        one, other = first.replace(tzinfo=UTC), second.replace(tzinfo=UTC)
        number = next(_PROJECTS)
        self.put(shops, [number], one, visits=1)
        self.put(shops, [number], other, visits=2)
        key = entity_keys("shop", [number])
        [row] = backend.read(shops, key, ["visits"]).values()
        assert unpack(row["visits"]) == (1 if one > other else 2)
        keys = [entity_key_proto("shop", number)]
        [(when, _)] = self.store.provider.online_read(self.store.config, shops, keys)
        assert to_us(when) == to_us(max(one, other))

    def test_a_batch_in_any_order_leaves_its_newest(self, backend, shops):
        key = entity_key_proto("shop", 1)
        rows = [
            (key, {"visits": Value(int64_val=n)}, from_us(START + ahead), None)
            for n, ahead in [(1, 5), (2, 9), (3, 7)]
        ]
        done = []
        self.store.provider.online_write_batch(
            self.store.config, shops, rows, done.append
        )
        found = backend.read(shops, entity_keys("shop", [1]), ["visits"])
        assert [unpack(row["visits"]) for row in found.values()] == [2]
        assert sum(done) == 3

    def test_they_are_searched_exactly(self, backend, shops):
        self.put(shops, range(1, 300), from_us(START))
        for _ in range(2):
            found = self.store.retrieve_online_documents_v2(
                features=["shops:place"], query=[17.2, 0.0], top_k=3
            ).to_dict()
            assert [place[0] for place in found["place"]] == [16, 17, 18]
        assert len(backend.keys(shops)) == 299

    def test_feasts_own_class_reads_what_is_written(self, backend, shops):
        from feast.infra.online_stores.redis import RedisOnlineStore

        self.put(shops, [5], from_us(START + 123_456), visits=8)
        [(when, row)] = RedisOnlineStore().online_read(
            self.store.config, shops, [entity_key_proto("shop", 5)]
        )
        assert to_us(when) == START + 123_456
        assert row["visits"].int64_val == 8

    def test_entries_live_as_long_as_feast_says(self, repo, redis, tmp_path):
        self.store = open_project(repo, {**redis, "key_ttl_seconds": 50})
        backend = backend_of(self.store)
        shops = self.one(backend, "shops", tmp=tmp_path / "shops")
        self.put(shops, [1], from_us(START))
        client = backend._server.client
        [name] = entity_keys("shop", [1])
        assert 0 < client.ttl(name + backend.project.encode()) <= 50

    def test_projects_with_names_alike_are_apart(self, repo, redis, tmp_path):
        """Feast's names end in the project's; a join key may hold patterns."""
        backends = []
        for project in ("ab", "xab", "b"):
            folder = tmp_path / project
            folder.mkdir()
            text = (repo / "feature_store.yaml").read_text()
            (folder / "feature_store.yaml").write_text(text)
            self.store = open_project(folder, redis, f"{project}{os.getpid()}")
            backend = backend_of(self.store)
            odd = self.one(backend, "odd", "a" * 42, tmp=tmp_path / project)
            self.put(odd, range(7), from_us(START))
            backends.append((self.store, backend, odd))
        store, backend, odd = backends[0]
        assert len(backend.keys(odd)) == 7
        store.teardown()
        assert backend.keys(odd) == []
        for _, other, view in backends[1:]:
            assert len(other.keys(view)) == 7

    def test_a_view_that_is_removed_leaves_others_of_its_entity(self, backend, shops):
        other = self.one(backend, "more", tmp="more")
        for view in (shops, other):
            self.put(view, [1, 2], from_us(START))
        self.store.delete_feature_view("more")
        self.store.provider.online_store.delete_table(self.store.config, other)
        assert backend.keys(other) == []
        assert len(backend.keys(shops)) == 2


class TestTrouble(Redis):
    @pytest.fixture
    def own(self, tmp_path_factory):
        """Give a server that may be stopped, filled, and so on."""
        with redis_settings(tmp_path_factory) as online:
            yield online

    @pytest.fixture
    def store(self, repo, own):
        return open_project(repo, own)

    def test_a_full_server_leaves_the_old_model(self, backend):
        first = self.publish(backend, ONE, 1)
        client = backend._server.client
        client.config_set("maxmemory", client.info("memory")["used_memory"])
        view, message = self.view(USER_VIEW), "reached its maxmemory"
        with pytest.raises(FullStoreError, match=message):
            self.publish(backend, TWO, 2)
        row = Row(b"x", {USER_VERSION: pack_text("v1")}, START)

        def record():
            with backend.exclusive():
                backend.append_feedback(self.event())

        for write in (lambda: backend.write(view, [row]), record):
            with pytest.raises(FullStoreError, match=message):
                write()
        with pytest.raises(FullStoreError, match=message):
            self.push("a", 1, first.served_us + 1, "v1")
        client.config_set("maxmemory", 0)
        assert backend.served() == first
        self.assert_items(self.items_of(backend), ONE)
        assert backend.feedback(0).empty
        self.publish(backend, TWO, 2)
        self.assert_items(self.items_of(backend), TWO)

    def test_a_replica_serves_reads(self, backend, own, tmp_path_factory, repo):
        first = self.publish(backend, ONE, 1)
        self.write_user(backend, ONE, "new", 7, START)
        host, port = own["connection_string"].split(":")
        with redis_settings(tmp_path_factory, "--replicaof", host, port) as replica:
            path = repo.parent / "replica"
            path.mkdir()
            text = (repo / "feature_store.yaml").read_text()
            (path / "feature_store.yaml").write_text(text)
            store = open_project(path, replica, self.store.project)
            other = type(backend)(store)
            deadline = time.monotonic() + 30
            while other.served() != first or not self.user(other, "new"):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            self.assert_items(self.items_of(other), ONE)
            assert self.first_number(other, "new") == 7
            assert other.feedback(0).empty
            row = Row(b"x", {USER_VERSION: pack_text("v1")}, START)
            for write in (
                lambda: other.sole_publisher(1).__enter__(),
                lambda: other.exclusive().__enter__(),
                lambda: other.write(self.view(USER_VIEW), [row]),
                lambda: other.prune_feedback(3) or other.serve(first),
            ):
                with pytest.raises(ReadOnlyStoreError, match="write to its master"):
                    write()

    def test_a_server_that_is_gone_is_named(self, repo, monkeypatch):
        monkeypatch.setattr("redis.retry.sleep", lambda seconds: None)
        online = {
            "type": "skmmrec.feature_store.ExactRedisOnlineStore",
            "connection_string": "127.0.0.1:1,password=secret",
        }
        backend = backend_of(open_project(repo, online))
        for action in (backend.served, lambda: backend.feedback(0)):
            with pytest.raises(StoreError, match=r"Redis at 127\.0\.0\.1:1 ") as error:
                action()
            assert "secret" not in str(error.value)

    def test_connections_that_were_closed_are_opened_again(self, backend):
        self.publish(backend, ONE, 1)
        client = backend._server.client
        with backend.exclusive():
            backend.append_feedback(self.event())
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert len(backend.feedback(0)) == 1
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self.assert_items(self.items_of(backend), ONE)
