"""Kill publishers and recorders at random; run as ``kill_publish.py REPO TIMES``.

Runs in a process of its own because it forks, which only a process with one thread can
do safely.
"""

import os
import random
import select
import signal
import sys
import time
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import yaml

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from skmmrec.feature_store import (
        OnlineRecommender,
        open_store,
        publications,
        publish,
        verify,
    )
    from skmmrec.feature_store.backends import backend_of
    from tests.feature_store.conftest import make_recommender, new_repo
    from tests.feature_store.test_fold_in import history_model

KEEP = 2


def model(n):
    return make_recommender(
        n_users=60, n_items=100 + n % 7, dim=4, seed=n, version=f"v{n}"
    )


def in_child(do, delay, begun=lambda: None):
    """Do something in a child, killed `delay` seconds after `begun` unless None."""
    child = os.fork()
    if not child:
        do()
        os._exit(0)
    if delay is not None:
        begun()
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


def publish_and_die(repo, n, delay):
    return in_child(lambda: publish(model(n), repo, chunk_size=5, keep=KEEP), delay)


def record_and_die(repo, first, delay):
    """Record events 1, 2, ...; return how many a killed child says it has recorded."""
    reader, writer = os.pipe()

    def record():
        online = OnlineRecommender(repo)
        for n in range(1000):
            assert online.record(1000 + first + n, n % 25)
            os.write(writer, b".")

    def first_is_recorded():
        """However long a busy machine takes to start."""
        assert select.select([reader], [], [], 60)[0]

    in_child(record, delay, first_is_recorded)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        return len(pipe.read())


def check_nothing_left(repo):
    """What is on the disk is what publications are listed, and no more."""
    data, table = Path(repo) / "data", publications(repo)
    assert len(table) == KEEP, table
    assert backend_of(open_store(repo)).staged() is None
    for name in ("user", "item"):
        rows = pq.read_table(data / f"{name}_embeddings.parquet").to_pandas()
        sizes = rows.groupby("event_timestamp").size()
        assert sizes.tolist() == table[f"n_{name}s"].tolist(), (sizes, table)
        assert sizes.index.tolist() == table["timestamp"].tolist()
    files = sorted(path.name for path in data.iterdir())
    left = [name for name in files if "partial" in name or name.startswith(".")]
    assert not left, left
    if (data / "online.db").exists():
        assert len(list((data / "online.db.publications").iterdir())) == KEEP


def kill_publishers(repo, times):
    rng = random.Random(0)
    publish(model(0), repo)
    start = time.perf_counter()
    assert publish_and_die(repo, 1, delay=None)
    duration = time.perf_counter() - start
    served, killed, current, versions = 1, 0, 2, {1}
    for _ in range(times):
        # now and then the killed version again: it is taken up where it stopped
        completed = publish_and_die(repo, current, rng.uniform(0, 1.3 * duration))
        version = OnlineRecommender(repo).model_version
        assert version in (f"v{served}", f"v{current}"), version
        served = int(version[1:])
        versions.add(served)
        assert verify(model(served), repo).ok, f"mixture in {version}"
        assert verify(repo).ok
        killed += not completed
        if completed:
            check_nothing_left(repo)
        if served == current or rng.random() < 0.5:
            current += 1
    publish(model(current), repo, keep=KEEP)
    assert verify(model(current), repo).ok
    check_nothing_left(repo)
    print(f"{killed} of {times} publishers killed, {len(versions)} versions served")
    assert killed > times / 4
    assert len(versions) > 1


def kill_recorders(repo, times):
    """What was said to be recorded is there; at most the last one is there besides."""
    rng, said, before = random.Random(0), 0, 0
    users = history_model()
    publish(users, repo, keep=KEEP)
    online = OnlineRecommender(repo)
    for _ in range(times):
        said += record_and_die(repo, before, rng.uniform(0.2, 0.6))
        events = online.feedback()
        assert events.index.tolist() == list(range(1, len(events) + 1))
        assert said <= len(events), "an event is lost"
        assert events["user_id"].is_unique
        assert len(events) - said <= 1
        served = OnlineRecommender(repo).recommend(events["user_id"], k=1)
        assert len(served) == len(events), "a vector is lost"
        said = before = len(events)
    print(f"{said} events of {times} killed recorders")
    assert said > times
    publish(users, repo, feedback=online.feedback(), keep=KEEP)
    assert online.feedback().empty
    check_nothing_left(repo)


def configure_like(repo, fresh):
    """Give another repository the same online store, in a project of its own."""
    settings = yaml.safe_load((Path(repo) / "feature_store.yaml").read_text())
    settings["project"] += "_recorders"
    (fresh / "feature_store.yaml").write_text(yaml.safe_dump(settings))


def shorten_leases(repo):
    """Do not wait half a minute for each that was killed on Redis."""
    if "Redis" in (Path(repo) / "feature_store.yaml").read_text():
        from skmmrec.feature_store.backends.redis import _writer

        _writer._PUBLISHER = _writer._RECORDER = 5.0


def main(repo, times):
    shorten_leases(repo)
    kill_publishers(repo, times)
    with new_repo() as fresh:
        configure_like(repo, fresh)
        kill_recorders(fresh, max(times // 5, 1))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
