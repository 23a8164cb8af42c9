"""Large arrays find the memory of those before them, which is given back at last."""

import ctypes
import resource
import subprocess
import sys
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from skmmrec import MultimodalFusionRecommender
from skmmrec.runtime import _kept_memory, keeping_memory

needs_glibc = pytest.mark.skipif(
    not (sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallinfo2")),
    reason="the C library is not glibc from 2.33 on",
)
# Above the 32 MiB from which on glibc maps each block anew, in pages of 4 KiB.
N_BYTES, PAGE = 2**26, 2**12
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


def faults() -> int:
    """Pages that the system had to clear so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def resident() -> int:
    """Bytes of the process in memory that belong to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


@needs_glibc
def test_large_tensors_find_the_memory_of_those_before_them():
    # Apart, since what other tests have freed may hold a large tensor by chance.
    done = subprocess.run(
        [sys.executable, "-c", COUNTS_PAGES], capture_output=True, text=True, check=True
    )
    theirs, ours = map(int, done.stdout.split())
    assert theirs >= 8 * N_BYTES // PAGE
    # Small objects that come to lie in between may cost one its place.
    assert ours < 4 * N_BYTES // PAGE


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


@needs_glibc
def test_memory_is_given_back_at_the_end():
    with keeping_memory():
        before = resident()
        parts = [np.ones(N_BYTES // 8) for _ in range(10)]
        pinned = [bytes(1000) for _ in range(1000)]  # they may lie above the parts
        del parts
        assert resident() - before > 9 * N_BYTES
    assert resident() - before < N_BYTES
    assert len(pinned) == 1000


@needs_glibc
def test_a_fit_of_large_batches_clears_no_pages_anew():
    # Scores of a batch against 512 negatives are 37 MB, some of them in each step.
    rng, n = np.random.default_rng(0), 18_000
    rows = np.column_stack([rng.integers(0, 2000, n), rng.integers(0, 900, n)])

    def faults_with(n_epochs: int) -> int:
        recommender = MultimodalFusionRecommender(
            n_factors=8, random_state=0, device="cpu", verbose=False
        )
        recommender.set_params(
            training__max_epochs=n_epochs,
            training__batch_size=n,
            regularization__id_l2=1.0,
            memory=None,
        )
        before = faults()
        recommender.fit(rows)
        return faults() - before

    faults_with(1)
    more = faults_with(9) - faults_with(1)
    # Eight steps with a single new table of scores each would clear eight such tables.
    assert more < 4 * n * 512 * 4 // PAGE
