"""Tables in memory: each made once, and those that are there wait for no other."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from skmmrec.feature_store import open_store, publish
from skmmrec.feature_store.backends import backend_of
from skmmrec.feature_store.backends.base import ITEM_VECTOR, RecentTables, VectorTable
from skmmrec.feature_store.backends.sqlite import _vectors

from ..test_publications import model

LONG = 60.0  # seconds, after which a test fails


def table(version):
    return VectorTable(
        [], np.empty(0), np.empty((0, 0)), np.empty(0, np.int64), str(version)
    )


class Slow:
    """Makes a table when it is told to, and counts how often."""

    def __init__(self, make):
        self.make, self.n = make, 0
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, *args):
        self.n += 1
        self.begun.set()
        assert self.open.wait(LONG)
        return self.make(*args)


def test_a_table_is_made_by_one_thread_while_others_are_read():
    tables, slow = RecentTables(2), Slow(lambda: table(2))
    first = tables.get(("view", "feature", 1), 0, lambda: table(1))
    with ThreadPoolExecutor(4) as pool:
        made = [
            pool.submit(tables.get, ("view", "feature", 2), 0, slow) for _ in range(4)
        ]
        assert slow.begun.wait(LONG)
        assert tables.get(("view", "feature", 1), 0, lambda: None) is first
        # Made anew meanwhile, too: what was there has changed.
        changed = tables.get(("view", "feature", 1), 1, lambda: table(3))
        assert changed.version == "3"
        slow.open.set()
        assert {future.result().version for future in made} == {"2"}
    assert slow.n == 1
    assert tables.get(("view", "feature", 1), 1, lambda: None) is changed


def test_the_earliest_of_a_feature_is_forgotten():
    tables = RecentTables(2)
    for n in range(3):
        tables.get(("view", "feature", n), 0, lambda n=n: table(n))
        tables.get(("view", "other", n), 0, lambda n=n: table(n))
    assert [
        tables.get(("view", "feature", n), 0, lambda: table("anew")).version
        for n in (2, 1, 0)
    ] == ["2", "1", "anew"]


def test_a_publication_is_read_while_the_next_one_is_loaded(repo, monkeypatch):
    publish(model(1), repo)
    backend = backend_of(open_store(repo))
    view, first = open_store(repo).get_feature_view("item_embeddings"), backend.served()
    before = backend.vectors(view, ITEM_VECTOR, first)
    publish(model(2), repo)
    slow = Slow(_vectors.load_published)
    monkeypatch.setattr(_vectors, "load_published", slow)
    with ThreadPoolExecutor(2) as pool:
        made = [pool.submit(backend.vectors, view, ITEM_VECTOR) for _ in range(2)]
        assert slow.begun.wait(LONG)
        again = backend.vectors(view, ITEM_VECTOR, first)
        slow.open.set()
        assert {future.result().version for future in made} == {"v2"}
    assert slow.n == 1
    assert again.version == "v1"
    np.testing.assert_array_equal(again.matrix, before.matrix)
