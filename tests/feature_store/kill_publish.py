"""Kill publishers at random moments; run as ``kill_publish.py REPO TIMES``.

Runs in a process of its own because it forks, which only a process with one thread can
do safely.
"""

import os
import random
import signal
import sys
import time
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from skmmrec.feature_store import OnlineRecommender, publish, verify
    from tests.feature_store.conftest import make_recommender


def model(n):
    return make_recommender(
        n_users=60, n_items=100 + n % 7, dim=4, seed=n, version=f"v{n}"
    )


def publish_and_die(repo, n, delay):
    """Publish version n in a child, killed after `delay` seconds unless None."""
    child = os.fork()
    if not child:
        publish(model(n), repo, chunk_size=5)
        os._exit(0)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


def main(repo, times):
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
        killed += not completed
        if served == current or rng.random() < 0.5:
            current += 1
    publish(model(current), repo)
    assert verify(model(current), repo).ok
    print(f"{killed} of {times} publishers killed, {len(versions)} versions served")
    assert killed > times / 4
    assert len(versions) > 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
