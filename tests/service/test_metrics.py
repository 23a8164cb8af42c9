"""What several workers count together, and the space that it takes."""

import errno
import os
from pathlib import Path

import pytest
from prometheus_client import values

from skmmrec.service import _metrics
from skmmrec.service._metrics import FOLDER, Metrics
from tests.forks import in_child, needs_fork, quietly

pytestmark = [needs_fork, quietly]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return tmp_path


def worker():
    """Count as a worker does; its number, and what `/metrics` tells then."""
    values.ValueClass = values.MultiProcessValue()
    metrics = Metrics()
    metrics.answered("/recommend", "POST", 200, 0.1)
    metrics.serves("v1")
    metrics.serves("v2")
    return os.getpid(), metrics.text().decode()


def worker_on_a_full_disk():
    write = Path.write_bytes

    def full(path, data):
        write(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Path.write_bytes = full
    return worker()


COUNTED = 'skmmrec_requests_total{method="POST",route="/recommend",status="200"} '


def test_no_count_is_written_to_a_hole_of_a_file(folder):
    """Where the disk is full by then, a worker would be ended by SIGBUS."""
    number, text = in_child(worker)
    assert f"{COUNTED}1.0" in text
    assert 'skmmrec_served{version="v2"} 1.0' in text
    names = {f"{name}_{number}.db" for name in _metrics._FILES}
    assert {path.name for path in folder.iterdir()} == names
    for path in folder.iterdir():
        assert path.stat().st_size == _metrics._SPACE
        assert path.stat().st_blocks * 512 >= _metrics._SPACE


def test_a_worker_without_space_for_counts_answers_all_the_same(folder):
    first, _ = in_child(worker)
    second, text = in_child(worker_on_a_full_disk)
    assert f"{COUNTED}1.0" in text  # that of the first
    assert all(path.name.endswith(f"_{first}.db") for path in folder.iterdir())
    assert first != second
