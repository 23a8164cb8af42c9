from ._engines import (
    backend_of as backend_of,
    refuse_online_type as refuse_online_type,
)
from .postgres import (
    ExactPostgresOnlineStore as ExactPostgresOnlineStore,
    ExactPostgresOnlineStoreConfig as ExactPostgresOnlineStoreConfig,
)
from .redis import (
    ExactRedisOnlineStore as ExactRedisOnlineStore,
    ExactRedisOnlineStoreConfig as ExactRedisOnlineStoreConfig,
)
from .sqlite import (
    ExactSqliteOnlineStore as ExactSqliteOnlineStore,
    ExactSqliteOnlineStoreConfig as ExactSqliteOnlineStoreConfig,
)
