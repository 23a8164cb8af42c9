"""Feast's own messages, to write and read as Feast does."""

from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value


def entity_key_proto(join_key, value):
    """Make the message for one entity of one join key."""
    proto = Value(string_val=value) if isinstance(value, str) else None
    return EntityKey(
        join_keys=[join_key],
        entity_values=[proto or Value(int64_val=int(value))],
    )
