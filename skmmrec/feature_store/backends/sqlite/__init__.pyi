from ._backend import SqliteBackend as SqliteBackend
from ._config import ExactSqliteOnlineStoreConfig as ExactSqliteOnlineStoreConfig
from ._store import ExactSqliteOnlineStore as ExactSqliteOnlineStore
