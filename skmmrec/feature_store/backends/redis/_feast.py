"""Rows of all other views: Feast's own hashes, one for each entity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from feast import FeatureView
from feast.infra.key_encoding_utils import (
    serialize_entity_key,
    serialize_entity_key_prefix,
)
from feast.infra.online_stores.helpers import _mmh3, compute_versioned_name
from feast.repo_config import RepoConfig

from skmmrec.feature_store.backends.base import (
    Cells,
    WriteRow,
    chunks,
    to_us,
)

from ._format import (
    feast_time,
    glob_literal,
    is_whole,
    read_feast_time,
    time_field,
)
from ._names import Names
from ._scripts import PUT_FEAST
from ._server import SCAN, Command, Server

# Entities in one go: about 1 MB of answers with vectors of 128 numbers.
_ENTITIES = 2000
# Rows in one script, of which Redis serves nobody else: below 1 ms.
ROWS = 100


class FeastHashes:
    """What Feast keeps of a project in one server."""

    def __init__(self, server: Server, names: Names, config: RepoConfig) -> None:
        self._server = server
        self._names = names
        self._config = config
        self._end = config.project.encode()

    def _name(self, view: FeatureView) -> str:
        versioning = self._config.registry.enable_online_feature_view_versioning
        return str(compute_versioned_name(view, versioning))

    def fields(self, view: FeatureView, features: Sequence[str]) -> list[bytes]:
        """Name the fields of some features, and of their time."""
        name = self._name(view)
        return [*(_mmh3(f"{name}:{f}") for f in features), time_field(name)]

    def read(
        self, view: FeatureView, keys: Sequence[bytes], features: Sequence[str]
    ) -> dict[bytes, Cells]:
        """Read cells by entity key."""
        fields = self.fields(view, features)
        found: dict[bytes, Cells] = {}
        for key, (*values, time) in self._hashes(keys, fields):
            if time is not None:
                at = read_feast_time(time)
                row = zip(features, values, strict=True)
                found[key] = {name: (v, at) for name, v in row if v is not None}
        return found

    def _hashes(
        self, keys: Sequence[bytes], fields: Sequence[bytes]
    ) -> Iterator[tuple[bytes, list[bytes | None]]]:
        for part in chunks(keys, _ENTITIES):
            commands = [("HMGET", key + self._end, *fields) for key in part]
            answers = self._server.together(commands, atomic=False)
            yield from zip(part, answers, strict=True)

    def keys(self, view: FeatureView) -> list[bytes]:
        """Return the keys of all entities that have a row of a view."""
        fields, keys = self.fields(view, []), self.entities(view.join_keys)
        return [key for key, values in self._hashes(keys, fields) if values[0]]

    def entities(self, join_keys: Sequence[str]) -> list[bytes]:
        """Return the keys of all entities of this project alone.

        Feast's names end in the project's, which may be the end of another's.
        """
        start = serialize_entity_key_prefix(list(join_keys))
        pattern = glob_literal(start) + b"*" + glob_literal(self._end)
        names = self._server.names(pattern)
        found = {name[: len(name) - len(self._end)] for name in names}
        return [key for key in found if is_whole(key, len(start), len(join_keys))]

    def write(
        self,
        view: FeatureView,
        data: Sequence[WriteRow],
        progress: Callable[[int], object] | None,
    ) -> None:
        """Write rows, unless there is one with a newer event time."""
        ttl = self._config.online_store.key_ttl_seconds or 0
        [time] = self.fields(view, [])
        head: list[object] = [view.name, time, ttl]
        for part in chunks(data, ROWS):
            rows = [self._row(view, row) for row in part]
            names = [name for name, _ in rows]
            values = [value for _, row in rows for value in row]
            self._server(
                "EVAL",
                PUT_FEAST,
                len(rows) + 1,
                self._names.changes,
                *names,
                *head,
                *values,
            )
            if progress:
                progress(len(part))

    def _row(self, view: FeatureView, row: WriteRow) -> tuple[bytes, list[object]]:
        """Return an entity's name, and what the script is told of the row."""
        entity_key, values, event, _ = row
        version = self._config.entity_key_serialization_version
        stamp = feast_time(to_us(event))
        head = [stamp.seconds, stamp.nanos, stamp.SerializeToString(), len(values)]
        fields = self.fields(view, list(values))[:-1]
        cells = zip(fields, values.values(), strict=True)
        pairs = [text for f, v in cells for text in (f, v.SerializeToString())]
        return serialize_entity_key(entity_key, version) + self._end, [*head, *pairs]

    def deletions(self, view: FeatureView, keys: Sequence[bytes]) -> list[Command]:
        """Return the commands that delete the rows of a view; others stay."""
        fields = self.fields(view, [field.name for field in view.features])
        return [("HDEL", key + self._end, *fields) for key in keys]

    def delete_all(self, view: FeatureView) -> None:
        """Delete all rows of a view."""
        for part in chunks(self.entities(view.join_keys), _ENTITIES):
            self._server.together(self.deletions(view, part), atomic=False)

    def delete_entities(self, join_keys: Sequence[str]) -> None:
        """Delete all rows of all entities."""
        names = [key + self._end for key in self.entities(join_keys)]
        for part in chunks(names, SCAN):
            self._server("UNLINK", *part)
