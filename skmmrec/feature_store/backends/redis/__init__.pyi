from ._backend import RedisBackend as RedisBackend
