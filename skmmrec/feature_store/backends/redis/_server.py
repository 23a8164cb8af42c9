"""Commands to a Redis server, and what their errors mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from redis.exceptions import BusyLoadingError, RedisError

from skmmrec.feature_store.backends.base import (
    BusyStoreError,
    FullStoreError,
    ReadOnlyStoreError,
    StoreError,
)

from ._scripts import WHILE

# A command's name and its arguments.
Command = tuple[Any, ...]

# Elements in one step of a scan. Redis serves nobody else meanwhile: 0.3 ms for vectors
# of 64 numbers.
SCAN = 1000

# Keys in one command: 0.5 ms.
KEYS = 1000

_KEPT = "what is served is unchanged"
# What Redis writes in its errors, also where a script met them. The client cuts off
# the first word where it has a class for it.
_MEANINGS = {
    "command not allowed when used memory": (
        FullStoreError,
        f"has reached its maxmemory and refuses to write; {_KEPT}. Give it more "
        "memory, or publish with a smaller keep=",
    ),
    "MISCONF": (
        FullStoreError,
        f"cannot save to its disk and therefore refuses to write; {_KEPT}. Make room "
        "on the disk of the server",
    ),
    "read only replica": (
        ReadOnlyStoreError,
        "is a replica, which serves reads; write to its master",
    ),
}


class Server:
    """A Redis client whose errors say what to do.

    Parameters
    ----------
    client : redis.Redis
    place : str
        Host and port, for messages.
    """

    def __init__(self, client: Any, place: str) -> None:
        self.client = client
        self.place = place

    def __call__(self, *command: Any) -> Any:
        """Run one command."""
        with self.errors():
            return self.client.execute_command(*command)

    def together(
        self, commands: Sequence[Command], *, atomic: bool = True
    ) -> list[Any]:
        """Run commands, in one transaction if `atomic`."""
        with self.errors(), self.client.pipeline(transaction=atomic) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            answers: list[Any] = pipe.execute()
            return answers

    def together_while(
        self,
        holds: dict[bytes, bytes],
        parts: Sequence[Sequence[Command]],
        sign: bytes,
    ) -> bool:
        """Run commands in one step a part, if entries have certain values.

        `holds` are entries and their values. `sign` names an entry that tells what ran
        last, so that nothing runs twice where the connection breaks before the answer.
        Returns False if nothing was done of some parts.
        """
        names = [sign, *holds]
        scripts: list[Command] = []
        for commands in parts:
            values = [uuid4().bytes, *holds.values()]
            words = [word for c in commands for word in (len(c), *c)]
            scripts.append(("EVAL", WHILE, len(names), *names, *values, *words))
        return all(self.together(scripts, atomic=False))

    def names(self, pattern: bytes) -> Iterator[bytes]:
        """List the entries that match a pattern; one may come twice."""
        with self.errors():
            yield from self.client.scan_iter(pattern, SCAN)

    def scan(self, name: bytes) -> Iterator[dict[bytes, bytes]]:
        """Read a hash in pages; a field may come twice."""
        cursor = 0
        while True:
            cursor, page = self("HSCAN", name, cursor, "COUNT", SCAN)
            if page:
                yield page
            if not cursor:
                return

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise errors that name the server and what to do."""
        try:
            yield
        except BusyLoadingError as error:
            raise BusyStoreError(
                f"Redis at {self.place} is still loading its data; try again later"
            ) from error
        except RedisError as error:
            raise self._meaning(str(error)) from error

    def _meaning(self, text: str) -> StoreError:
        for sign, (kind, meaning) in _MEANINGS.items():
            if sign in text:
                return kind(f"Redis at {self.place} {meaning}")
        return StoreError(f"Redis at {self.place} did not do what was asked: {text}")
