"""Names and statements of SQL."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from psycopg import Connection, sql
from psycopg.pq import TransactionStatus


@lru_cache(maxsize=512)  # statements in use at once; more only cost time
def statement(query: str, *names: str) -> bytes:
    """Put quoted names in the places of ``{}``."""
    quoted = (sql.Identifier(name).as_string(None) for name in names)
    return query.format(*(name.replace("%", "%%") for name in quoted)).encode()


def regclass(name: str) -> str:
    """Write a table's name as `to_regclass` reads it."""
    return sql.Identifier(name).as_string(None)


def table_exists(conn: Connection, name: str) -> bool:
    """Tell whether there is a table of this name."""
    found = one(conn, "SELECT to_regclass(%s)", [regclass(name)])
    return found is not None


def column(position: int) -> str:
    """Name the column of a view's feature; features may have names of any length."""
    return f"f{position}"


def one(conn: Connection, query: bytes | str, arguments: Any = ()) -> Any:
    """Return the first value that a query gives, None without a row."""
    text = query.encode() if isinstance(query, str) else query
    row = conn.execute(text, arguments).fetchone()
    return None if row is None else row[0]


def lock(conn: Connection, name: str) -> None:
    """Wait for a lock that ends with the transaction."""
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def share(conn: Connection, name: str) -> None:
    """Wait for a lock that others may share until the transaction ends.

    Who waits for the whole of it has its turn before those that come later. With a lock
    of a row (``FOR SHARE``), those that share it could keep it for ever.
    """
    conn.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))", [name])


def idle(conn: Connection) -> bool:
    """Tell whether no transaction is open."""
    return conn.info.transaction_status == TransactionStatus.IDLE
