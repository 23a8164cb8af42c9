from ._backend import SqliteBackend as SqliteBackend
from ._store import (
    ExactSqliteOnlineStore as ExactSqliteOnlineStore,
    ExactSqliteOnlineStoreConfig as ExactSqliteOnlineStoreConfig,
)
