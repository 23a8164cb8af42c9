"""Connections to PostgreSQL, one for each thread that needs one."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection


class Connections:
    """Idle connections of one process; no two threads share one."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._idle: deque[Connection] = deque()
        self._local = threading.local()
        self._pid = os.getpid()

    @contextmanager
    def get(self) -> Iterator[Connection]:
        """Lend a connection; nested calls of one thread get the same one."""
        lent = getattr(self._local, "conn", None)
        if lent is not None:
            yield lent
            return
        conn = self._local.conn = self._take()
        try:
            yield conn
        finally:
            self._local.conn = None
            if not conn.closed:
                self._idle.append(conn)

    def close(self) -> None:
        """Close the idle ones."""
        while self._idle and self._pid == os.getpid():
            self._idle.pop().close()

    def _take(self) -> Connection:
        if self._pid != os.getpid():  # a fork shares sockets with its parent
            self._idle, self._pid = deque(), os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            conn = self._connect()
            conn.autocommit = True
            return conn


def close_all(connections: Connections, online: Any) -> None:
    """Close our idle connections and the one that Feast keeps open."""
    connections.close()
    if online._conn is not None:
        online._conn.close()
