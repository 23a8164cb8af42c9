"""Large arrays find the memory of those before them, which is given back at last."""

import ctypes
import subprocess
import sys
from contextlib import nullcontext
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skmmrec import MultimodalFusionRecommender
from skmmrec.recommender import Training
from skmmrec.recommender.training import _loop
from skmmrec.runtime import _kept_memory, keeping_memory

needs_glibc = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallinfo2")),
    reason="the C library is not glibc from 2.33 on",
)
# Above the 32 MiB from which on glibc maps each block anew.
N_BYTES = 2**26
# How many pages a process clears for tensors made one after the other, by glibc's own
# rules and by ours; each time once others were there, whose memory they can take.
COUNTS_PAGES = f"""
import resource, torch
from skmmrec.runtime import keeping_memory

def cleared():
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for number in range(8):
            torch.full(({N_BYTES} // 4,), float(number))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

theirs = cleared()
with keeping_memory():
    print(theirs, cleared())
"""


def told(script: str) -> list[int]:
    """Numbers that a process prints."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return [int(number) for number in done.stdout.split()]


@needs_glibc
def test_large_tensors_find_the_memory_of_those_before_them():
    # Apart, since what other tests have freed may hold a large tensor by chance.
    theirs, ours = told(COUNTS_PAGES)
    # Small objects that come to lie in between may cost some their place.
    assert ours < theirs / 2


@pytest.fixture
def calls(monkeypatch):
    """Calls of a C library that does nothing, with 1 GB free."""
    made = []
    library = SimpleNamespace(
        mallopt=lambda *what: made.append(what),
        mallinfo2=lambda: SimpleNamespace(fordblks=10**9),
        malloc_trim=made.append,
    )
    heap = _kept_memory._Heap()
    heap.library = library
    monkeypatch.setattr(_kept_memory, "_heap", heap)
    return made


def test_the_last_of_several_who_ask_for_it_ends_it(calls):
    with keeping_memory():
        begun = list(calls)
        with pytest.raises(KeyError), keeping_memory():
            raise KeyError
        assert begun == calls == [(-4, 0), (-1, -1)]
    assert calls[2:] == [(-4, 2**16), (-3, 2**25), (-1, 2**26), 0]


def test_little_that_is_free_is_left_where_it_is(calls):
    library = _kept_memory._heap.library
    library.mallinfo2 = lambda: SimpleNamespace(fordblks=10**8)
    with keeping_memory():
        pass
    assert 0 not in calls


def test_another_library_is_left_alone(monkeypatch):
    heap = _kept_memory._Heap()
    heap.library = None
    monkeypatch.setattr(_kept_memory, "_heap", heap)
    with keeping_memory():
        assert heap.n_users == 1
    assert heap.n_users == 0


@needs_glibc
def test_it_holds_in_other_threads():
    found = []
    with keeping_memory():
        torch.ones(N_BYTES // 4)
        other = Thread(target=lambda: found.append(torch.ones(N_BYTES // 4).sum()))
        other.start()
        other.join()
    assert float(found[0]) == N_BYTES // 4


# Apart, since others' objects may lie above.
TELLS_MEMORY = f"""
from pathlib import Path
import numpy as np
from skmmrec.runtime import keeping_memory

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024

before = resident()
with keeping_memory():
    parts = [np.ones({N_BYTES} // 8) for _ in range(10)]
    pinned = [bytes(1000) for _ in range(1000)]  # they may lie above the parts
    del parts
    kept = resident() - before
print(kept, resident() - before, len(pinned))
"""


@needs_glibc
def test_memory_is_given_back_at_the_end():
    kept, left, _ = told(TELLS_MEMORY)
    assert kept > 9 * N_BYTES
    assert left < N_BYTES


@pytest.mark.parametrize(
    ("batch_size", "n_factors", "is_large"),
    [(2**14, 8, True), (2**14 - 1, 8, False), (2**11, 512, True), (2**11, 64, False)],
)
def test_a_fit_keeps_memory_where_its_steps_are_large(
    batch_size, n_factors, is_large, monkeypatch
):
    rng, asked = np.random.default_rng(0), []
    rows = np.column_stack([rng.integers(0, 20, 100), rng.integers(0, 9, 100)])
    monkeypatch.setattr(
        _loop, "keeping_memory", lambda: asked.append(True) or nullcontext()
    )
    training = Training(max_epochs=1, batch_size=batch_size)
    MultimodalFusionRecommender(
        n_factors=n_factors, training=training, memory=None, device="cpu"
    ).fit(rows)
    assert bool(asked) == is_large
