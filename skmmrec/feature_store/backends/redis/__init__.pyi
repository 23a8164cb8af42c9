from ._backend import RedisBackend as RedisBackend
from ._store import (
    ExactRedisOnlineStore as ExactRedisOnlineStore,
    ExactRedisOnlineStoreConfig as ExactRedisOnlineStoreConfig,
)
