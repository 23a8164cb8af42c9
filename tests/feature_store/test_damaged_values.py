"""Damage that is met on reading: blocks by checksums, values as they are parsed."""

import sqlite3
from contextlib import closing

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store import (
    DamagedStoreError,
    OnlineRecommender,
    open_store,
    publish,
    read_vectors,
    verify,
)
from skmmrec.feature_store.backends.base import (
    Place,
    VectorTable,
    pack_ids,
    pack_int,
    pack_text,
    pack_vectors,
    vector_table,
    with_later,
)
from skmmrec.feature_store.backends.redis._packed import pack_rows, unpack_rows

from .conftest import make_recommender

PLACE = Place("item_embeddings", "item_id", "item_vector")
VECTOR = pack_vectors(np.ones((1, 5), np.float32))[0]


def publish_prices(repo):
    prices = pd.DataFrame({"price": np.arange(30.0)})
    publish(make_recommender(), repo, features=prices)


@pytest.fixture
def published(repo, filled):
    return filled(publish_prices, repo)


def publication_file(repo):
    [path] = (repo / "data" / "online.db.publications").glob("*.db")
    return path


def change(repo, statement, *values):
    path = publication_file(repo)
    path.chmod(0o644)
    with closing(sqlite3.connect(path)) as conn, conn:
        assert conn.execute(statement, values).rowcount == 1


def column(repo, view, feature):
    with closing(sqlite3.connect(publication_file(repo))) as conn:
        query = "SELECT 'f' || place FROM features WHERE view = ? AND name = ?"
        return conn.execute(query, (view, feature)).fetchone()[0]


def damage(repo, kind, feature, entity, value):
    """Put a value in the place of a published one."""
    view = f"{kind}_embeddings"
    name = column(repo, view, feature)
    text = entity.encode() if isinstance(entity, str) else entity.to_bytes(8, "little")
    where = f"substr(entity_key, -{len(text)}) = ?"
    change(repo, f"UPDATE {view} SET {name} = ? WHERE {where}", value, text)


# Blocks


@pytest.mark.parametrize("part", ["lengths", "keys", "matrix"])
@pytest.mark.parametrize("kind", ["item", "user"])
def test_a_flipped_byte_of_a_block_is_noticed_when_it_is_loaded(published, part, kind):
    view = f"{kind}_embeddings"
    with closing(sqlite3.connect(publication_file(published))) as conn:
        query = f"SELECT {part} FROM blocks WHERE view = ?"
        content = bytearray(conn.execute(query, (view,)).fetchone()[0])
    content[7] ^= 1
    change(
        published, f"UPDATE blocks SET {part} = ? WHERE view = ?", bytes(content), view
    )
    store = open_store(published)
    with pytest.raises(DamagedStoreError, match=f"_vector of {view} are not those"):
        store.provider.online_store.vectors(
            store.config, store.get_feature_view(view), f"{kind}_vector"
        )
    assert not verify(published).ok


def test_checksums_that_are_cut_off_are_noticed(published):
    change(
        published,
        "UPDATE blocks SET sums = ? WHERE view = ?",
        b"abc",
        "item_embeddings",
    )
    with pytest.raises(DamagedStoreError, match="item_embeddings are not those"):
        OnlineRecommender(published).recommend("101")
    assert not verify(published).ok


@given(st.data())
@settings(max_examples=50)
def test_a_flipped_byte_of_a_piece_of_redis_is_noticed(data):
    rng = np.random.default_rng(0)
    keys = [bytes([n]) * n for n in range(1, 6)]
    piece = bytearray(pack_rows(keys, pack_vectors(rng.normal(size=(5, 3)))))
    place = data.draw(st.integers(0, len(piece) - 1))
    piece[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="the vectors from row 0 on"):
        list(unpack_rows([(0, bytes(piece))]))


# Values


@pytest.mark.parametrize(
    ("feature", "value", "why"),
    [
        ("user_vector", VECTOR[:-1], "it holds no vector"),
        ("user_vector", b"\xff" + VECTOR[1:], "it holds no vector"),
        ("user_vector", pack_text("a vector"), "it holds no vector"),
        ("user_vector", pack_vectors(np.ones((1, 4)))[0], "it has 4 numbers, not 5"),
        ("user_seen_items", pack_ids([1, 2], "int64")[:-1], "Error parsing"),
        ("user_seen_items", pack_text("1, 2"), "it is of type str"),
        ("user_history_size", pack_text("three"), "it is of type str"),
        ("user_model_version", pack_text("v1")[:-1], "Error parsing"),
        ("user_model_version", pack_int(3), "it is of type int"),
    ],
)
def test_a_damaged_user_is_named(published, feature, value, why):
    damage(published, "user", feature, "101", value)
    online = OnlineRecommender(published)
    words = rf"{feature} of user_id '101' in user_embeddings is damaged \({why}"
    with pytest.raises(DamagedStoreError, match=words):
        online.recommend(["100", "101"])
    with pytest.raises(DamagedStoreError, match=words):
        online.record("101", 1)
    assert len(online.feedback()) == 0  # all or nothing
    assert len(online.recommend(["100", "102"], k=2)) == 4


def test_a_damaged_vector_is_named_where_vectors_are_read(published):
    damage(published, "item", "item_vector", 4, VECTOR[:-3])
    words = "item_vector of item_id 4 in item_embeddings is damaged"
    with pytest.raises(DamagedStoreError, match=words):
        read_vectors(published, "item", [999, 3, 4])
    assert read_vectors(published, "item", [3, 5])[1].all()


def test_a_damaged_value_is_named_in_conditions_and_by_feast(published):
    damage(published, "item", "price", 4, b"\xff\xff")
    words = r"price of item_id 4 in item_embeddings is damaged .*publish the model"
    with pytest.raises(DamagedStoreError, match=words):
        OnlineRecommender(published).recommend("101", where="price < 3")
    store = open_store(published)
    with pytest.raises(DamagedStoreError, match=words):
        store.get_online_features(["item_embeddings:price"], [{"item_id": 4}])


def test_rows_that_were_written_later_are_named(repo, recommender):
    publish(recommender, repo)
    online = OnlineRecommender(repo)
    online.add_items([77], [[1.0, 2.0, 3.0, 4.0]])
    with closing(sqlite3.connect(repo / "data" / "online.db")) as conn, conn:
        name = "skmmrec_item_embeddings"
        query = f"UPDATE {name} SET value = ? WHERE feature_name = 'item_vector'"
        assert conn.execute(query, (VECTOR[:-1],)).rowcount == 1
    with pytest.raises(DamagedStoreError, match="item_vector of item_id 77 in item_e"):
        online.recommend("101")


def cells(*values):
    from skmmrec.feature_store.backends.base import entity_keys

    keys = entity_keys("item_id", list(range(len(values))))
    return [(key, value, 0) for key, value in zip(keys, values, strict=True)]


def test_tables_name_the_row_that_cannot_be_read():
    empty = pack_vectors(np.ones((1, 0)))[0]
    rows = cells(VECTOR, empty, VECTOR[:-1], b"\xff" * 9)
    with pytest.raises(DamagedStoreError, match="item_vector of item_id 2 in item_em"):
        vector_table(PLACE, rows, None)
    sound = vector_table(PLACE, rows[:2], "v1")
    assert isinstance(sound, VectorTable)
    assert sound.ids.tolist() == [0]
    with pytest.raises(DamagedStoreError, match="item_vector of item_id 2 in item_em"):
        with_later(sound, PLACE, rows)


def test_vectors_of_two_lengths_are_no_damage():
    rows = cells(VECTOR, pack_vectors(np.ones((1, 4)))[0])
    with pytest.raises(ValueError, match="differ in length: 5 and 4 numbers"):
        vector_table(PLACE, rows, None)


def test_users_of_another_version_are_left_out_as_before(repo):
    publish(make_recommender(n_users=3), repo)
    damage(repo, "user", "user_model_version", "101", pack_text("v0"))
    online = OnlineRecommender(repo, unknown="skip")
    assert set(online.recommend(["100", "101"])["user_id"]) == {"100"}


def test_verify_tells_of_a_vector_that_cannot_be_read(published):
    damage(published, "item", "item_vector", 4, VECTOR[:-3])
    [found] = verify(published).damage
    assert "two copies of item_vector differ" in found.message
