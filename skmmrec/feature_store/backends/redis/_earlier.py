"""What the release before this one left in Redis.

It kept published rows in Feast's own hashes, staged rows beside them, and events in a
list. Nothing of it is served; events are taken over, the rest is deleted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from feast import FeatureView

from skmmrec.feature_store.backends.base import PUBLISHED_VIEWS, Event, chunks

from ._feast import FeastHashes
from ._feedback import Feedback
from ._format import glob_literal, read_earlier_event
from ._server import SCAN, Command, Server


class Earlier:
    """Entries of one project, named by an earlier release."""

    def __init__(self, server: Server, project: str) -> None:
        self._server = server
        self._prefix = f"skmmrec:{project}:".encode()
        self.events = self._prefix + b"feedback"
        self.publication = self._prefix + b"publication"

    def served(self) -> str | None:
        """Return the version that was served."""
        text = self._server("HGET", self.publication, "served")
        return None if text is None else str(json.loads(text)["version"])

    def has_events(self) -> bool:
        """Tell whether there are events to take over."""
        return bool(self._server("EXISTS", self.events))

    def next_events(self, feedback: Feedback) -> list[Command]:
        """Return the commands that take over the oldest events."""
        packed = self._server("LRANGE", self.events, 0, SCAN - 1)
        number = feedback.last()
        commands: list[Command] = []
        for n, event in enumerate(map(read_earlier_event, packed), number + 1):
            commands += feedback.append(n, Event(*event))
        return [*commands, ("LTRIM", self.events, len(packed), -1)]

    def delete_rows(self, feast: FeastHashes, views: Sequence[FeatureView]) -> None:
        """Delete rows that were published or staged; once, as it lists all keys."""
        if not self._server("EXISTS", self.publication):
            return
        for view in views:
            if view.name in PUBLISHED_VIEWS:
                feast.delete_all(view)
        for part in chunks(self._staged(), SCAN):
            self._server("UNLINK", *part)
        self._server("UNLINK", self.publication)

    def _staged(self) -> list[bytes]:
        """Name all staged rows, and the lists of them."""
        names = self._server.names(glob_literal(self._prefix) + b"*")
        kinds = (self._prefix + b"row:", self._prefix + b"staged:")
        return [name for name in names if name.startswith(kinds)]
