from ._backend import PostgresBackend as PostgresBackend
