"""Keys of whole tables are sorted as those of a few are read."""

import numpy as np
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store.backends.base import (
    entity_keys,
    key_ids,
    sorted_joined,
    sorted_keys,
)

numbers = st.lists(st.integers(-(2**63), 2**63 - 1), unique=True)
texts = st.lists(st.text(max_size=8), unique=True)


def composite(*values):
    key = EntityKey(
        join_keys=[f"k{n}" for n in range(len(values))],
        entity_values=[Value(string_val=value) for value in values],
    )
    return serialize_entity_key(key, 3)


@given(st.one_of(numbers, texts))
@settings(max_examples=100)
def test_sorted_keys_are_those_of_sorted_ids(ids):
    found = sorted_keys("item_id", entity_keys("item_id", ids))
    assert found.ids.tolist() == sorted(ids)
    assert found.keys == entity_keys("item_id", sorted(ids))
    assert [ids[row] for row in found.order] == sorted(ids)
    assert found.ids.dtype == key_ids("item_id", found.keys).dtype


def test_texts_come_as_python_sorts_them():
    ids = ["b", "", "é", "z", "\U0001f600", "￿", "Z", "a\0", "a"]
    found = sorted_keys("k", entity_keys("k", ids))
    assert found.ids.tolist() == sorted(ids)
    assert {type(value) for value in found.ids} == {str}
    assert {type(key) for key in found.keys} == {bytes}


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [composite("b", "a"), composite("a", "b"), composite("a", "a")],
        [*entity_keys("item_id", ["b"]), *entity_keys("other_id", ["a"])],
        [*entity_keys("item_id", [5, 3]), composite("a", "b")][:2],
    ],
)
def test_keys_of_any_kind_are_sorted(keys):
    found, ids = sorted_keys("item_id", keys), key_ids("item_id", keys)
    order = np.argsort(ids, kind="stable")
    assert found.order.tolist() == order.tolist()
    assert found.ids.tolist() == ids[order].tolist()
    assert found.keys == [keys[row] for row in order]


def test_a_text_that_is_none_is_refused():
    [key] = entity_keys("item_id", ["abc"])
    with pytest.raises(ValueError, match="UTF"):
        sorted_joined("item_id", key[:-1] + b"\xff", np.array([len(key)]))
