"""What every engine must do for publications; see `BackendContract`."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from feast.protos.feast.types.Value_pb2 import FloatList, Value

from skmmrec.feature_store import embedding_definitions
from skmmrec.feature_store._batches import serving_batches
from skmmrec.feature_store._repo import apply
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import (
    CATEGORY,
    EVENT_VIEW,
    HISTORY_SIZE,
    ITEM_VECTOR,
    ITEM_VERSION,
    ITEM_VIEW,
    SEEN,
    USER_VECTOR,
    USER_VERSION,
    USER_VIEW,
    Checksum,
    Event,
    Row,
    Snapshot,
    _backend as base_backend,
    entity_keys,
    from_us,
    key_ids,
    pack_ids,
    pack_int,
    pack_text,
    pack_vectors,
    to_us,
    unpack,
)

from ..conftest import make_recommender
from ..messages import entity_key_proto

DIM = 5
START = to_us(datetime(2026, 6, 1, tzinfo=UTC))
SECOND, DAY = 1_000_000, 86_400_000_000
USERS, ITEMS = 12, 30


class Model:
    """Rows of one model, to be published."""

    def __init__(self, version, seed, n_items=ITEMS):
        self.version = version
        recommender = make_recommender(
            n_users=USERS, n_items=n_items, dim=DIM, seed=seed, version=version
        )
        self.batches = serving_batches(recommender.serving_vectors())
        self.fingerprint = b"".join(b.fingerprint() for b in self.batches)

    @property
    def users(self):
        return self.batches[0]

    @property
    def items(self):
        return self.batches[1]


ONE, TWO, THREE = Model("v1", 1), Model("v2", 2, ITEMS - 4), Model("v1", 3)


class BackendContract:
    """Tests of a `Backend`; a subclass gives the fixture `store`.

    The store is one that nothing was applied to.
    """

    @pytest.fixture(autouse=True)
    def forget_stores(self):
        """Pytest keeps the instance, which would keep its connections."""
        yield
        vars(self).clear()

    @pytest.fixture
    def backend(self, store, tmp_path):
        (tmp_path / "parquet").mkdir()
        data = tmp_path / "parquet"
        apply(store, list(embedding_definitions(DIM, user_id_type="string", data=data)))
        self.store = store
        return backend_of(store)

    def view(self, name):
        return self.store.get_feature_view(name)

    @property
    def views(self):
        return [self.view(USER_VIEW), self.view(ITEM_VIEW)]

    def stage(self, backend, model, number, event_us=None, chunk_size=7):
        event_us = START + number * SECOND if event_us is None else event_us
        snapshot = Snapshot(
            number, model.version, model.fingerprint, event_us, event_us
        )
        backend.begin(self.views, snapshot)
        checksums = {
            b.view: backend.stage(self.view(b.view), b, chunk_size, lambda _: None)
            for b in model.batches
        }
        counts = {batch.view: len(batch.ids) for batch in model.batches}
        return replace(snapshot, counts=counts, checksums=checksums)

    def complete(self, backend, model, number, event_us=None):
        snapshot = self.stage(backend, model, number, event_us)
        backend.complete(self.views, snapshot)
        return snapshot

    def publish(self, backend, model, number, event_us=None):
        with backend.sole_publisher(5):
            snapshot = self.complete(backend, model, number, event_us)
            backend.serve(snapshot)
        return snapshot

    def items_of(self, backend, snapshot=None):
        return backend.vectors(self.view(ITEM_VIEW), ITEM_VECTOR, snapshot)

    def user(self, backend, user, snapshot=None, features=(USER_VECTOR, USER_VERSION)):
        [key] = entity_keys("user_id", [user])
        rows = backend.read(self.view(USER_VIEW), [key], features, snapshot)
        return rows.get(key, {})

    def assert_items(self, table, model):
        assert table.version == model.version
        np.testing.assert_array_equal(table.ids, model.items.ids)
        np.testing.assert_array_equal(table.matrix, model.items.matrix)
        assert table.keys == entity_keys("item_id", model.items.ids)

    def write_user(self, backend, model, user, value, event_us, version=None):
        row = {
            USER_VECTOR: pack_vectors(np.full((1, DIM), value, np.float32))[0],
            USER_VERSION: pack_text(version or model.version),
        }
        [key] = entity_keys("user_id", [user])
        with backend.exclusive():
            backend.write(self.view(USER_VIEW), [Row(key, row, event_us)])

    def push(self, user, value, when, version):
        """Write as Feast does."""
        values = {
            USER_VECTOR: Value(float_list_val=FloatList(val=[value] * DIM)),
            USER_VERSION: Value(string_val=version),
        }
        row = (entity_key_proto("user_id", user), values, from_us(when), None)
        view = self.view(USER_VIEW)
        self.store.provider.online_write_batch(self.store.config, view, [row], None)

    def first_number(self, backend, user, snapshot=None):
        value = self.user(backend, user, snapshot)[USER_VECTOR]
        return unpack(value)[0]

    # Publications

    def test_nothing_is_published_at_first(self, backend):
        assert backend.served() is None
        assert backend.staged() is None
        assert backend.publications() == []
        table = self.items_of(backend)
        assert table.version is None
        assert len(table.keys) == 0
        assert backend.feedback(0).empty
        assert backend.last_event() == 0

    def test_what_is_published_is_read_bit_for_bit(self, backend):
        self.publish(backend, ONE, 1)
        self.assert_items(self.items_of(backend), ONE)
        for batch in ONE.batches:
            view = self.view(batch.view)
            keys = entity_keys(batch.join_key, batch.ids)
            rows = backend.read(view, [*keys, b"unknown"], batch.feature_names)
            assert set(rows) == set(keys)
            for stored, columns in batch.serialized_chunks(4):
                for name, values in columns:
                    found = backend.read_column(view, stored, name)
                    wanted = dict(zip(stored, values, strict=True))
                    assert found == {k: v for k, v in wanted.items() if v}
                    for key, value in found.items():
                        assert rows[key][name] == value
            assert sorted(backend.keys(view)) == sorted(keys)

    def test_nothing_is_served_before_serve(self, backend):
        first = self.publish(backend, ONE, 1)
        second = self.complete(backend, TWO, 2)
        assert backend.served() == first
        self.assert_items(self.items_of(backend), ONE)
        assert backend.publications() == [first, second]
        assert backend.staged() is None
        backend.serve(second)
        assert backend.served() == second
        self.assert_items(self.items_of(backend), TWO)

    def test_a_rollback_serves_the_earlier_rows(self, backend):
        first, second = self.publish(backend, ONE, 1), self.publish(backend, TWO, 2)
        again = replace(first, served_us=second.served_us + 1)
        backend.serve(again)
        assert backend.served() == again
        assert backend.publications() == [again, second]
        self.assert_items(self.items_of(backend), ONE)
        assert self.user(backend, ONE.users.ids[0])[USER_VERSION] == pack_text("v1")

    def test_the_time_of_what_is_read_is_that_of_serving(self, backend):
        first, second = self.publish(backend, ONE, 1), self.publish(backend, TWO, 2)
        assert set(self.items_of(backend).event_us) == {second.served_us}
        backend.serve(replace(first, served_us=second.served_us + 7))
        assert set(self.items_of(backend).event_us) == {second.served_us + 7}
        key = entity_key_proto("item_id", ONE.items.ids[0])
        view = self.view(ITEM_VIEW)
        [(when, _)] = self.store.provider.online_read(self.store.config, view, [key])
        assert when == from_us(second.served_us + 7)

    def test_reads_are_pinned_to_a_publication(self, backend):
        first, second = self.publish(backend, ONE, 1), self.publish(backend, TWO, 2)
        user = ONE.users.ids[3]
        for snapshot, model in ((first, ONE), (second, TWO), (first, ONE)):
            self.assert_items(self.items_of(backend, snapshot), model)
            row = self.user(backend, user, snapshot)
            assert row[USER_VERSION] == pack_text(model.version)
            assert row[USER_VECTOR] == pack_vectors(model.users.matrix[3:4])[0]
            key = entity_keys("user_id", [user])
            view = self.view(USER_VIEW)
            column = backend.read_column(view, key, USER_VERSION, snapshot)
            assert column == {key[0]: pack_text(model.version)}

    def test_a_publication_that_was_dropped_is_gone(self, backend):
        first, second = self.publish(backend, ONE, 1), self.publish(backend, TWO, 2)
        self.items_of(backend, first)
        with backend.sole_publisher(5):
            with pytest.raises(ValueError, match="publication 2 is served"):
                backend.drop(2)
            backend.drop(1)
            with pytest.raises(LookupError, match="publication 1"):
                backend.drop(1)
        assert backend.publications() == [second]
        with pytest.raises(LookupError, match="publication 1"):
            self.items_of(backend, first)
        with pytest.raises(LookupError, match="publication 1"):
            self.user(backend, ONE.users.ids[0], first)
        with pytest.raises(LookupError, match="publication 1"):
            list(backend.rows(self.view(ITEM_VIEW), first))
        with pytest.raises(LookupError, match="publication 1"):
            backend.serve(first)
        self.assert_items(self.items_of(backend), TWO)

    def test_a_number_that_comes_again_is_another_publication(self, backend):
        first = self.publish(backend, ONE, 1)
        second = self.publish(backend, TWO, 2)
        backend.serve(replace(first, served_us=second.served_us + 1))
        with backend.sole_publisher(5):
            backend.drop(2)
        other = self.publish(backend, THREE, 2, START + 9 * SECOND)
        with pytest.raises(LookupError):
            self.items_of(backend, second)
        self.assert_items(self.items_of(backend, other), THREE)

    def test_rows_are_those_published_with_their_checksums(self, backend):
        first = self.publish(backend, ONE, 1)
        later = first.served_us + SECOND
        self.write_user(backend, ONE, ONE.users.ids[0], 7, later)
        for batch in ONE.batches:
            checksum, keys = Checksum(), []
            for part in backend.rows(self.view(batch.view), first):
                checksum.update_rows(
                    [row.key for row in part], [row.features for row in part]
                )
                keys += [row.key for row in part]
                assert {row.event_us for row in part} == {first.event_us}
            assert keys == sorted(entity_keys(batch.join_key, batch.ids))
            assert checksum.hexdigest() == first.checksums[batch.view]
            assert checksum.n == first.counts[batch.view]

    def test_what_is_recorded_of_a_publication_comes_back(self, backend):
        snapshot = replace(
            self.complete(backend, ONE, 1),
            feedback=3,
            exponent=0.5,
            half_life=10.0,
            served_us=START + DAY,
        )
        backend.serve(snapshot)
        assert backend.served() == snapshot == backend.publications()[0]

    def test_a_model_without_users_or_categories(self, backend):
        model = Model("empty", 4)
        users = replace(
            model.users,
            ids=[],
            matrix=model.users.matrix[:0],
            columns=tuple(c._replace(values=[]) for c in model.users.columns),
        )
        model.batches = (users, model.items)
        self.publish(backend, model, 1)
        assert backend.keys(self.view(USER_VIEW)) == []
        assert self.user(backend, "nobody") == {}
        self.assert_items(self.items_of(backend), model)

    # Staging

    def test_staging_is_resumed_where_it_ended(self, backend):
        with backend.sole_publisher(5):
            whole = self.stage(backend, ONE, 1)
            backend.begin(self.views, replace(whole, counts={}, checksums={}))
            view, batch = self.view(USER_VIEW), ONE.users
            [first, *_] = batch.serialized_chunks(5)
            backend.stage_rows(view, *first)
            staged = backend.staged()
            assert (staged.number, staged.fingerprint) == (1, ONE.fingerprint)
            assert backend.count_staged(view) == 5
            assert backend.count_staged(self.view(ITEM_VIEW)) == 0
            done = []
            checksums = {
                b.view: backend.stage(self.view(b.view), b, 4, done.append)
                for b in ONE.batches
            }
            assert sum(done) == USERS + ITEMS
            assert checksums == whole.checksums
            backend.complete(self.views, whole)
            backend.serve(whole)
        self.assert_items(self.items_of(backend), ONE)
        assert len(backend.keys(view)) == USERS

    def test_what_was_staged_is_discarded(self, backend):
        first = self.publish(backend, ONE, 1)
        with backend.sole_publisher(5):
            self.stage(backend, TWO, 2)
            backend.discard()
            assert backend.staged() is None
            assert backend.publications() == [first]
        self.publish(backend, TWO, 2)
        self.assert_items(self.items_of(backend), TWO)

    def test_only_one_publishes(self, backend, store):
        with (
            backend.sole_publisher(5),
            pytest.raises(TimeoutError, match="has been publishing"),
            type(backend)(store).sole_publisher(0.1),
        ):
            pass
        with type(backend)(store).sole_publisher(5):
            pass

    # Rows that were written afterwards

    def test_later_rows_of_the_model_are_read_in_the_place_of_the_published(
        self, backend
    ):
        first = self.publish(backend, ONE, 1)
        known, new = ONE.users.ids[0], "new user"
        later = first.served_us + SECOND
        self.write_user(backend, ONE, known, 7, later)
        self.write_user(backend, ONE, new, 8, later)
        assert self.first_number(backend, known) == 7
        assert self.first_number(backend, new) == 8
        table = backend.vectors(self.view(USER_VIEW), USER_VECTOR)
        assert list(table.ids) == sorted([*ONE.users.ids, new])
        assert table.matrix[list(table.ids).index(known), 0] == 7
        assert table.event_us[list(table.ids).index(new)] == later
        assert len(backend.keys(self.view(USER_VIEW))) == USERS + 1
        # What was not written is read as it was published.
        assert SEEN in self.user(backend, known, features=[USER_VECTOR, SEEN])

    def test_a_table_is_another_one_when_anything_of_its_rows_changes(self, backend):
        """What is kept with a table, such as prices, is then read again."""
        first = self.publish(backend, ONE, 1)
        before = self.items_of(backend)
        assert self.items_of(backend) is before
        row = {ITEM_VERSION: pack_text("v1"), CATEGORY: pack_text("rock")}
        with backend.exclusive():
            backend.write(
                self.view(ITEM_VIEW), [Row(before.keys[0], row, first.served_us + 1)]
            )
        after = self.items_of(backend)
        assert after is not before
        self.assert_items(after, ONE)
        assert self.items_of(backend) is after

    @pytest.mark.parametrize("ahead", [-DAY, -1, 0, 1, DAY])
    def test_recorders_need_no_common_clock(self, backend, ahead):
        first = self.publish(backend, ONE, 1)
        user = ONE.users.ids[0]
        self.write_user(backend, ONE, user, 1, first.served_us + ahead)
        assert self.first_number(backend, user) == 1
        self.write_user(backend, ONE, user, 2, first.served_us - ahead)
        assert self.first_number(backend, user) == 2
        second = self.publish(backend, TWO, 2)
        assert self.user(backend, user)[USER_VERSION] == pack_text("v2")
        self.write_user(backend, TWO, user, 3, second.served_us - DAY)
        assert self.first_number(backend, user) == 3

    @pytest.mark.parametrize("ahead", [1, DAY])
    def test_what_was_written_before_belongs_to_no_publication_of_the_same_version(
        self, backend, ahead
    ):
        first = self.publish(backend, ONE, 1)
        known, new = ONE.users.ids[0], "new user"
        for user in (known, new):
            self.write_user(backend, ONE, user, 7, first.served_us + SECOND + ahead)
        self.items_of(backend)
        second = self.publish(backend, THREE, 2)
        vector = pack_vectors(THREE.users.matrix[:1])[0]
        assert self.user(backend, known)[USER_VECTOR] == vector
        assert self.user(backend, new) == {}
        self.write_user(backend, THREE, known, 8, second.served_us + ahead)
        assert self.first_number(backend, known) == 8
        backend.vectors(self.view(USER_VIEW), USER_VECTOR)
        backend.serve(second)
        assert self.first_number(backend, known) == 8  # it was served all the time
        backend.serve(replace(first, served_us=second.served_us))
        table = backend.vectors(self.view(USER_VIEW), USER_VECTOR)
        assert set(table.ids) == set(ONE.users.ids)
        np.testing.assert_array_equal(
            table.matrix[list(table.ids).index(known)], ONE.users.matrix[0]
        )

    def test_what_is_pushed_counts_if_it_is_of_the_served_model(self, backend):
        first = self.publish(backend, ONE, 1)
        user, now = ONE.users.ids[0], first.served_us
        published = self.first_number(backend, user)
        self.push(user, 5, now, "v1")  # the time of what was published
        self.push(user, 6, now + DAY, "v0")
        assert self.first_number(backend, user) == published
        self.push(user, 7, now + SECOND, "v1")
        assert self.first_number(backend, user) == 7
        self.push(user, 8, now + SECOND // 2, "v1")  # an older one
        assert self.first_number(backend, user) == 7

    def test_rows_of_another_model_are_never_read(self, backend):
        user = ONE.users.ids[0]
        first = self.publish(backend, ONE, 1)
        self.write_user(backend, ONE, user, 7, first.served_us + DAY)
        self.write_user(backend, ONE, "new", 8, first.served_us + DAY)
        second = self.publish(backend, TWO, 2)
        view = self.view(USER_VIEW)
        for _ in range(2):  # before and after they are removed
            table = backend.vectors(view, USER_VECTOR)
            np.testing.assert_array_equal(table.matrix, TWO.users.matrix)
            assert self.user(backend, "new") == {}
            assert len(backend.keys(view)) == USERS
            row = self.user(backend, user)
            assert row[USER_VECTOR] == pack_vectors(TWO.users.matrix[:1])[0]
            backend.discard()
        # A pushed row takes their place, though they are newer.
        self.write_user(backend, ONE, user, 7, first.served_us + DAY, version="v1")
        self.push(user, 9, second.served_us + SECOND, "v2")
        assert self.first_number(backend, user) == 9

    def test_the_same_model_again_starts_without_what_was_written(self, backend):
        """Versions may repeat: a publication's time tells its rows from others."""
        first = self.publish(backend, ONE, 1)
        user = ONE.users.ids[0]
        self.write_user(backend, ONE, user, 7, first.served_us + SECOND // 2)
        second = self.publish(backend, TWO, 2)
        backend.serve(replace(first, served_us=second.served_us + 1))
        row = self.user(backend, user)
        assert row[USER_VECTOR] == pack_vectors(ONE.users.matrix[:1])[0]

    def test_discard_keeps_what_belongs_to_the_model(self, backend):
        first = self.publish(backend, ONE, 1)
        self.write_user(backend, ONE, "new", 8, first.served_us + SECOND)
        with backend.sole_publisher(5):
            backend.discard()
        assert self.first_number(backend, "new") == 8

    def test_without_a_publication_feast_writes_and_reads(self, backend):
        self.push("somebody", 4, START, "any")
        found = self.store.get_online_features(
            features=[f"{USER_VIEW}:{USER_VECTOR}"],
            entity_rows=[{"user_id": "somebody"}],
        ).to_dict()
        assert found[USER_VECTOR] == [[4] * DIM]
        self.publish(backend, ONE, 1)
        assert self.user(backend, "somebody") == {}

    # Deletion

    def test_deleted_rows_are_gone_from_all_publications(self, backend):
        first = self.publish(backend, ONE, 1)
        second = self.publish(backend, TWO, 2)
        gone, kept = ONE.users.ids[0], ONE.users.ids[1]
        self.write_user(backend, TWO, gone, 5, second.served_us + SECOND)
        view = self.view(USER_VIEW)
        with backend.sole_publisher(5):
            backend.delete(view, entity_keys("user_id", [gone, "nobody"]))
        for snapshot in backend.publications():
            assert self.user(backend, gone, snapshot) == {}
            assert self.user(backend, kept, snapshot)
            self.assert_checksum(backend, snapshot, USER_VIEW, USERS - 1)
            self.assert_checksum(backend, snapshot, ITEM_VIEW)
        for snapshot in (first, second):  # those from before are as good
            assert self.user(backend, gone, snapshot) == {}
        assert backend.served().checksums != second.checksums
        assert len(backend.vectors(view, USER_VECTOR).ids) == USERS - 1
        self.assert_items(self.items_of(backend), TWO)

    def test_deleting_nobody_changes_nothing(self, backend):
        first = self.publish(backend, ONE, 1)
        with backend.sole_publisher(5):
            backend.delete(self.view(USER_VIEW), entity_keys("user_id", ["nobody"]))
            backend.delete(self.view(USER_VIEW), [])
        assert backend.publications() == [first]

    def test_values_are_changed_in_all_publications(self, backend):
        self.publish(backend, ONE, 1)
        second = self.publish(backend, TWO, 2)
        [key] = entity_keys("user_id", ["new"])
        row = {
            USER_VERSION: pack_text("v2"),
            SEEN: pack_ids([1, 2, 3], "int64"),
            HISTORY_SIZE: pack_int(3),
        }
        view = self.view(USER_VIEW)
        backend.write(view, [Row(key, row, second.served_us + 1)])

        def without(value):
            seen = unpack(value) or []
            return pack_ids([i for i in seen if i != 2], "int64") if 2 in seen else None

        with backend.sole_publisher(5):
            backend.change(view, SEEN, without)
        assert unpack(self.user(backend, "new", features=[SEEN])[SEEN]) == [1, 3]
        for snapshot, model in zip(backend.publications(), (ONE, TWO), strict=True):
            keys = entity_keys("user_id", model.users.ids)
            found = backend.read_column(view, keys, SEEN, snapshot)
            [met] = [c.values for c in model.users.columns if c.name == SEEN]
            wanted = [[i for i in seen if i != 2] for seen in met]
            assert [unpack(found[key]) for key in keys] == wanted
            self.assert_checksum(backend, snapshot, USER_VIEW, USERS)

    def assert_checksum(self, backend, snapshot, view, n=None):
        checksum = Checksum()
        for part in backend.rows(self.view(view), snapshot):
            features = [row.features for row in part]
            checksum.update_rows([row.key for row in part], features)
        assert snapshot.checksums[view] == checksum.hexdigest()
        assert snapshot.counts[view] == checksum.n
        assert n is None or checksum.n == n

    # Feedback

    def record(self, backend, user, item, pushed=None, y=1.0):
        [user_key], [item_key] = (
            entity_keys("user_id", [user]),
            entity_keys("item_id", [item]),
        )
        with backend.exclusive():
            return backend.append_feedback(Event(user_key, item_key, y, START, pushed))

    def test_events_are_numbered_in_the_order_they_came(self, backend):
        for item in (5, 3, 4):
            assert self.record(backend, "a", item, y=item / 2)
        events = backend.feedback(0)
        assert list(events["item_id"]) == [5, 3, 4]
        assert list(events["y"]) == [2.5, 1.5, 2.0]
        numbers = list(events.index)
        assert events.index.name == "event"
        assert numbers == sorted(set(numbers))
        assert numbers[0] >= 1
        pd.testing.assert_frame_equal(backend.feedback(numbers[0]), events.iloc[1:])
        assert backend.feedback(numbers[-1]).empty

    def test_events_come_in_parts(self, backend, monkeypatch):
        for item in (5, 3, 4):
            self.record(backend, "a", item)
        events = backend.feedback(0)
        for limit in (1, 2, 3, 2**63 - 1):
            part = backend.feedback(0, limit)
            pd.testing.assert_frame_equal(part, events.iloc[:limit])
        assert backend.feedback(2**63 - 1, 2).empty
        monkeypatch.setattr(base_backend, "EVENTS_PER_PAGE", 2)
        pages = list(backend.feedback_pages())
        assert [len(page) for page in pages] == [2, 1]
        pd.testing.assert_frame_equal(pd.concat(pages), events)

    def test_a_pushed_event_is_kept_once(self, backend):
        assert self.record(backend, "a", 1, b"push 1")
        assert not self.record(backend, "b", 2, b"push 1")
        assert self.record(backend, "a", 2, b"push 2")
        assert self.record(backend, "a", 2)
        assert self.record(backend, "a", 2)
        assert list(backend.feedback(0)["item_id"]) == [1, 2, 2, 2]
        assert backend.recorded([b"push 1", b"push 3"]) == {b"push 1"}
        assert backend.recorded([]) == set()
        first, _, last, _ = backend.feedback(0).index
        both = [b"push 1", b"push 2"]
        assert backend.recorded(both, until=first) == {b"push 1"}
        assert backend.recorded(both, until=last) == set(both)

    def test_numbers_are_never_used_again(self, backend):
        for item in (1, 2, 3):
            self.record(backend, "a", item)
        numbers = list(backend.feedback(0).index)
        assert backend.prune_feedback(numbers[1]) == 2
        assert list(backend.feedback(0).index) == numbers[2:]
        assert backend.prune_feedback(numbers[2]) == 1
        assert backend.prune_feedback(numbers[2]) == 0
        assert backend.last_event() == numbers[2]
        self.record(backend, "a", 4)
        [last] = backend.feedback(0).index
        assert last > numbers[-1]
        backend.delete_feedback("user_id", entity_keys("user_id", ["a"]))
        self.record(backend, "b", 5)
        assert backend.feedback(0).index[0] > last

    def test_events_are_deleted_by_user_and_by_item(self, backend):
        for user, item in (("a", 1), ("b", 1), ("b", 2), ("c", 3)):
            self.record(backend, user, item)
        backend.delete_feedback("user_id", entity_keys("user_id", ["a", "nobody"]))
        backend.delete_feedback("item_id", entity_keys("item_id", [2]))
        left = backend.feedback(0)
        assert list(zip(left["user_id"], left["item_id"], strict=True)) == [
            ("b", 1),
            ("c", 3),
        ]

    def test_an_event_and_a_row_are_written_together_or_not_at_all(self, backend):
        first = self.publish(backend, ONE, 1)
        user = ONE.users.ids[0]
        before = self.first_number(backend, user)
        [key] = entity_keys("user_id", [user])
        row = {
            USER_VECTOR: pack_vectors(np.ones((1, DIM), np.float32))[0],
            USER_VERSION: pack_text("v1"),
        }
        event = Event(key, entity_keys("item_id", [1])[0], 1.0, START)
        rows = [Row(key, row, first.served_us + SECOND)]

        def fail():
            with backend.exclusive():
                backend.append_feedback(event)
                backend.write(self.view(USER_VIEW), rows)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert backend.feedback(0).empty
        assert self.first_number(backend, user) == before

    def test_other_views_are_feasts_alone(self, backend):
        """They keep newer-wins, and know nothing of publications."""
        view = self.view(EVENT_VIEW)

        def push(y, when):
            values = {"event_y": Value(double_val=y)}
            row = (entity_key_proto("event_id", "e"), values, from_us(when), None)
            self.store.provider.online_write_batch(self.store.config, view, [row], None)

        def read():
            keys = entity_keys("event_id", ["e"])
            return [
                unpack(v["event_y"])
                for v in backend.read(view, keys, ["event_y"]).values()
            ]

        push(1.0, START)
        self.publish(backend, ONE, 1, START + DAY)
        push(2.0, START + 1)
        push(3.0, START)
        assert read() == [2.0]
        assert list(key_ids("event_id", backend.keys(view))) == ["e"]
        backend.delete(view, entity_keys("event_id", ["e"]))
        assert read() == []

    def test_expired_values_are_not_read(self, backend, tmp_path):
        ttl = timedelta(hours=1)
        definitions = embedding_definitions(
            DIM, user_id_type="string", data=tmp_path / "parquet", ttl=ttl
        )
        apply(self.store, list(definitions))
        now = to_us(datetime.now(UTC))
        old = self.publish(backend, ONE, 1, now - 2 * 3600 * SECOND)
        user = ONE.users.ids[0]
        assert self.user(backend, user) == {}
        self.write_user(backend, ONE, user, 7, now)
        assert self.first_number(backend, user) == 7
        backend.serve(replace(old, served_us=now))
        assert self.user(backend, user)[USER_VERSION] == pack_text("v1")
        assert self.user(backend, ONE.users.ids[1])
