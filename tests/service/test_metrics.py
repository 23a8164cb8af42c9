"""What several workers count together, and the space that it takes."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, values

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


def worker_after_feast():
    """Another has opened files there, as Feast does when it is imported."""
    values.ValueClass = values.MultiProcessValue()
    Counter("of_others", "Theirs.", registry=CollectorRegistry()).inc(7)
    return worker_beside(Metrics())


def worker_beside(metrics):
    metrics.answered("/recommend", "POST", 200, 0.1)
    metrics.serves("v1")
    return os.getpid(), metrics.text().decode()


def preloaded():
    """The application is made, and then the workers are forked."""
    values.ValueClass = values.MultiProcessValue()
    metrics = Metrics()

    def forked():
        metrics.start()
        return worker_beside(metrics)

    return in_child(forked)


def worker_on_a_full_disk():
    write = Path.write_bytes

    def full(path, data):
        write(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Path.write_bytes = full
    return worker()


COUNTED = 'skmmrec_requests_total{method="POST",route="/recommend",status="200"} '


def beside_feast():
    folder = Path(os.environ[FOLDER])
    values.ValueClass = values.MultiProcessValue()
    metrics = Metrics()
    metrics.start()
    shutil.rmtree(folder)
    return worker_beside(metrics)[1]


def test_one_process_needs_no_folder(folder, monkeypatch):
    """Feast makes one, which the system may remove when nobody writes to it."""
    (folder / "feast_metrics_1").mkdir()
    monkeypatch.setenv(FOLDER, str(folder / "feast_metrics_1"))
    text = in_child(beside_feast)
    assert f"{COUNTED}1.0" in text
    assert 'skmmrec_served{version="v1"} 1.0' in text


def one_after_the_other():
    """Serve versions; what is told then."""
    metrics = Metrics()
    for number in range(5):
        metrics.serves(f"v{number}")
    return metrics.text().decode()


def shared_one_after_the_other():
    values.ValueClass = values.MultiProcessValue()
    return one_after_the_other()


def alone_one_after_the_other():
    values.ValueClass = values.MutexValue
    return one_after_the_other()


@pytest.mark.parametrize(
    "publish", [alone_one_after_the_other, shared_one_after_the_other]
)
def test_versions_that_nobody_answers_by_are_gone(folder, publish):
    """Over a year they would be thousands."""
    text = in_child(publish)
    told = [line for line in text.splitlines() if line.startswith("skmmrec_served")]
    assert told == ['skmmrec_served{version="v4"} 1.0']
    assert "skmmrec_reloads_total 4.0" in text


def many_one_after_the_other():
    """Serve versions of long names; the space after the first and the last of them."""
    values.ValueClass = values.MultiProcessValue()
    metrics, sizes = Metrics(), []
    for number in range(1000):
        metrics.serves(f"{number:0300}")
        sizes.append(space_of(Path(os.environ[FOLDER])))
    return sizes[0], sizes[-1], metrics.text().decode()


def space_of(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def test_no_version_takes_space_once_another_is_served(folder):
    first, last, text = in_child(many_one_after_the_other)
    assert last == first
    assert f'skmmrec_served{{version="{999:0300}"}} 1.0' in text


def test_no_count_is_written_to_a_hole_of_a_file(folder):
    """Where the disk is full by then, a worker would be ended by SIGBUS."""
    number, text = in_child(worker)
    assert f"{COUNTED}1.0" in text
    assert 'skmmrec_served{version="v2"} 1.0' in text
    names = {f"{name}_{number}.db" for name in _metrics._FILES}
    names.add(f"skmmrec_served_{number}")
    assert {path.name for path in folder.iterdir()} == names
    assert_without_holes(folder, number)


def assert_without_holes(folder, process):
    for name in _metrics._FILES:
        file = (folder / f"{name}_{process}.db").stat()
        assert file.st_size == _metrics._SPACE
        assert file.st_blocks * 512 >= _metrics._SPACE


def test_holes_of_files_that_others_have_opened_are_filled(folder):
    number, text = in_child(worker_after_feast)
    assert "of_others_total 7.0" in text
    assert f"{COUNTED}1.0" in text
    assert_without_holes(folder, number)


def test_workers_that_are_forked_later_count_for_themselves(folder):
    number, text = in_child(preloaded)
    assert f"{COUNTED}1.0" in text
    assert 'skmmrec_served{version="v1"} 1.0' in text
    assert_without_holes(folder, number)


def test_a_worker_without_space_for_counts_answers_all_the_same(folder):
    first, _ = in_child(worker)
    second, text = in_child(worker_on_a_full_disk)
    assert f"{COUNTED}1.0" in text  # that of the first
    assert "skmmrec_served{" not in text  # which is no more
    assert all(path.name.endswith(f"_{first}.db") for path in folder.iterdir())
    assert first != second
