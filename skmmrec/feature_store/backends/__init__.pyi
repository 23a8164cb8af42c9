from ._engines import backend_of as backend_of
from .sqlite import (
    ExactSqliteOnlineStore as ExactSqliteOnlineStore,
    ExactSqliteOnlineStoreConfig as ExactSqliteOnlineStoreConfig,
)
