"""What PostgreSQL says went wrong, as errors that tell what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from psycopg import Error, OperationalError, errors

from skmmrec.feature_store.backends.base import (
    BusyStoreError,
    DamagedStoreError,
    FullStoreError,
    ReadOnlyStoreError,
    StoreError,
)

# Kinds of psycopg's errors, the more special ones first, and what is raised for each.
_Kind: TypeAlias = tuple[tuple[type[Error], ...], type[Exception], str]
_KINDS: list[_Kind] = [
    (
        (errors.DiskFull,),
        FullStoreError,
        "its disk is full; what was served is still served: free space and repeat this",
    ),
    (
        (errors.ReadOnlySqlTransaction,),
        ReadOnlyStoreError,
        "it is read-only (a standby, or default_transaction_read_only): reads are "
        "served, publish and record on the primary",
    ),
    (
        (errors.DataCorrupted, errors.IndexCorrupted, errors.UndefinedFile),
        DamagedStoreError,
        "a table is damaged: restore the database, or drop the table and publish again",
    ),
    (
        (errors.IoError,),
        DamagedStoreError,
        "its disk cannot be read or written: see to the disk, then publish again",
    ),
    (
        (
            errors.LockNotAvailable,
            errors.DeadlockDetected,
            errors.IdleInTransactionSessionTimeout,
            # A standby ends what would hold its primary's changes up.
            errors.SerializationFailure,
        ),
        BusyStoreError,
        "others hold what is needed: repeat this",
    ),
    (
        (errors.QueryCanceled,),
        BusyStoreError,
        "others hold what is needed, or statement_timeout is too short for this: "
        "repeat this, or raise the limit for this user",
    ),
    (
        (errors.OutOfMemory,),
        FullStoreError,
        "it has no memory left; what was served is still served: give it more (shared "
        "memory: max_locks_per_transaction), then repeat this",
    ),
    (
        (errors.InsufficientPrivilege,),
        StoreError,
        "the user may not do this: grant it, or name another user in "
        "feature_store.yaml",
    ),
    (
        (errors.UndefinedTable, errors.UndefinedColumn),
        StoreError,
        "a table or column is missing: run `feast apply` first, and publish again if "
        "a published view is concerned (views with online=False and on-demand views "
        "without write_to_online_store have no table)",
    ),
    (
        (errors.UndefinedObject,),
        StoreError,
        "something that feature_store.yaml asks for is not there; if it is the type "
        "of pgvector: run `CREATE EXTENSION vector` in this database, or write "
        "vector_enabled: false, as nothing here needs it",
    ),
    (
        (errors.ProgramLimitExceeded,),
        ValueError,
        "an id or name is too long for an index of PostgreSQL (up to 2,704 bytes): "
        "use shorter ids",
    ),
    (
        (OperationalError,),
        StoreError,
        "it cannot be reached, or the connection was lost: see to server and settings "
        "(host, port, user, sslmode), then repeat this",
    ),
]


# Whom a server refuses to connect is told so in words alone, without a code.
_TOO_MANY = re.compile("too many (clients|connections)|connection slots are reserved")


def _refused(error: Error) -> list[_Kind]:
    """Tell a server that has no connection left from one that is not there."""
    if not _TOO_MANY.search(str(error)):
        return []
    advice = (
        "all connections that it allows are in use: repeat this, raise max_connections "
        "of the server, or set conn_type: pool and max_conn in feature_store.yaml"
    )
    return [((OperationalError,), BusyStoreError, advice)]


@contextmanager
def translated(settings: Any) -> Iterator[None]:
    """Raise errors of the server as `StoreError`, chained from psycopg's own."""
    try:
        yield
    except Error as error:
        for kinds, new, advice in [*_refused(error), *_KINDS]:
            if isinstance(error, kinds):
                place = f"PostgreSQL at {settings.host}:{settings.port}"
                said = str(error).strip().split("\n")[0]
                message = f"{place}, database {settings.database!r}: {advice} ({said})"
                raise new(message) from error
        raise
