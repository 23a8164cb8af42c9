"""Kill saves at random moments; run as ``kill_save.py FOLDER TIMES``.

Runs in a process of its own because it forks, which only a process with one thread can
do safely.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from skmmrec.recommender import MatrixFactorizationRecommender, Training

load = MatrixFactorizationRecommender.load


def make_model(number):
    """Fit a model that `cold_popularity` tells from others."""
    rng = np.random.default_rng(number)
    X = pd.DataFrame(
        {"user_id": rng.integers(0, 50, 200), "item_id": np.arange(200) * 17}
    )
    return MatrixFactorizationRecommender(
        256,
        cold_popularity=float(number),
        training=Training(max_epochs=0),
        random_state=number,
        device="cpu",
    ).fit(X)


class Steps:
    """Counts what is done to files, and kills this process before a step."""

    def __init__(self):
        self.count, self.last = 0, None
        sys.addaudithook(self)

    def __call__(self, event, args):
        if event.startswith(("os.", "open", "fcntl.")):
            self.count += 1
            if self.count == self.last:
                os.kill(os.getpid(), signal.SIGKILL)


def save_and_die(model, path, steps, last, delay=None):
    """Save in a child, killed before its step `last` or after `delay` seconds."""
    child = os.fork()
    if not child:
        code = 1
        try:
            steps.count, steps.last = 0, last
            model.save(path)
            code = 0
        finally:
            os._exit(code)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] == 0


def main(folder, times):
    rng, path, steps = random.Random(0), Path(folder) / "model", Steps()
    models = {number: make_model(number) for number in (1, 2)}
    models[1].save(path)
    steps.count, start = 0, time.perf_counter()
    models[2].save(path)
    n_steps, duration = steps.count, time.perf_counter() - start
    there, killed, moved = 2, 0, 0
    for number in range(times):
        last, delay = rng.randrange(n_steps) + 1, None
        if number % 2:
            last, delay = None, rng.uniform(0, 2 * duration)
        done = save_and_die(models[3 - there], path, steps, last, delay)
        loaded = load(path)
        found = int(loaded.cold_popularity)
        expected = models[found].item_vectors_
        pd.testing.assert_frame_equal(loaded.item_vectors_, expected)
        assert found != there or not done
        killed += not done
        moved += found != there
        there = found
    models[1].save(path)
    assert os.listdir(folder) == ["model"], os.listdir(folder)
    print(f"{killed} of {times} saves killed, {moved} times a new model")
    # Every other one is killed before one of its steps, however fast the machine is.
    assert killed >= times // 2


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
