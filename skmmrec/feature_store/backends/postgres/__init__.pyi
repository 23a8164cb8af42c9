from ._backend import PostgresBackend as PostgresBackend
from ._store import (
    ExactPostgresOnlineStore as ExactPostgresOnlineStore,
    ExactPostgresOnlineStoreConfig as ExactPostgresOnlineStoreConfig,
)
