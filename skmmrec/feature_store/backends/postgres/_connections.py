"""Connections to PostgreSQL, one for each thread that needs one."""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from selectors import EVENT_READ, DefaultSelector
from typing import Any

from feast.infra.utils.postgres.connection_utils import _get_conn
from feast.infra.utils.postgres.postgres_config import ConnectionType
from psycopg import Connection, OperationalError
from psycopg.pq import TransactionStatus

from skmmrec.feature_store.backends.base import (
    KEEPALIVE_IDLE,
    KEEPALIVE_INTERVAL,
    BusyStoreError,
    tcp_options,
)

from ._errors import translated

# Idle connections that are kept where `max_conn` does not say; each costs the server
# some megabytes. No measurement chose this number.
_KEEP = 10
# Seconds to wait for a connection of `max_conn`, as Feast's own pool does.
_WAIT = 30.0
# Feast writes times without a zone and means UTC. A server that asks, as clients do,
# whether the other side is there ends the session, and with it the lock, of a publisher
# whose machine is gone; by itself, after two hours. Unix sockets ignore it.
_SESSION = f"""
SET TIME ZONE 'UTC';
SET tcp_keepalives_idle = {KEEPALIVE_IDLE};
SET tcp_keepalives_interval = {KEEPALIVE_INTERVAL};
SET tcp_keepalives_count = 3
"""


class Connections:
    """Connections of one process; no two threads share one.

    Parameters
    ----------
    settings : PostgreSQLOnlineStoreConfig
        With ``conn_type: pool``, no more than ``max_conn`` are open at a time.
    """

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        self._limit = (
            settings.max_conn if settings.conn_type == ConnectionType.pool else None
        )
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._idle: deque[Connection] = deque()
        self._local = threading.local()
        self._free = threading.Semaphore(self._limit) if self._limit else None

    @contextmanager
    def get(self) -> Iterator[Connection]:
        """Lend a connection in autocommit mode; nested calls of a thread get one.

        Raises StoreError, which says in words what PostgreSQL says.
        """
        if self._pid != os.getpid():  # a fork shares sockets with its parent
            self._inherited = self._idle, self._local  # never closed from here
            self._reset()
        lent = getattr(self._local, "conn", None)
        if lent is not None:
            yield lent
            return
        with translated(self._settings), self._turn():
            conn = self._local.conn = self._take()
            try:
                yield conn
            finally:
                self._local.conn = None
                self._put_back(conn)

    def close(self) -> None:
        """Close the idle ones."""
        while self._idle and self._pid == os.getpid():
            self._idle.pop().close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until fewer than `max_conn` are lent."""
        if self._free is None:
            yield
            return
        if not self._free.acquire(timeout=_WAIT):
            raise BusyStoreError(
                f"all {self._limit} connections have been in use for {_WAIT:g} s: "
                "raise max_conn of the online_store in feature_store.yaml"
            )
        try:
            yield
        finally:
            self._free.release()

    def _take(self) -> Connection:
        while self._idle:
            conn = self._idle.pop()
            if _alive(conn):
                return conn
            conn.close()
        conn = _get_conn(self._settings)
        conn.autocommit = True
        conn.execute(_SESSION)
        self._keep_alive(conn)
        return conn

    def _keep_alive(self, conn: Connection) -> None:
        """Notice a server that is gone without a word, unless it is on this machine."""
        if not conn.info.hostaddr:
            return
        options = tcp_options()
        if self._settings.keepalives_idle is not None:
            options.pop(getattr(socket, "TCP_KEEPIDLE", -1), None)
        known = socket.AF_INET, socket.SOCK_STREAM  # the options are of TCP, not of IP
        with socket.fromfd(conn.fileno(), *known) as same:
            for option, value in options.items():
                same.setsockopt(socket.IPPROTO_TCP, option, value)

    def _put_back(self, conn: Connection) -> None:
        idle = conn.info.transaction_status == TransactionStatus.IDLE
        if idle and len(self._idle) < (self._limit or _KEEP):
            self._idle.append(conn)
        else:
            conn.close()


def _alive(conn: Connection) -> bool:
    """Tell whether an idle connection can be used.

    A server that shut down, or ended it, has said so on it: only where there is
    something to read is the server asked, which takes a round trip.
    """
    try:
        with DefaultSelector() as selector:
            selector.register(conn, EVENT_READ)
            if selector.select(0):
                conn.execute("SELECT 1")
    except OperationalError:
        return False
    return not conn.closed
