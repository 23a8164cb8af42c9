"""Approximate search against exact search."""

import os
import pickle
import re
import sys
import warnings
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skmmrec.retrieval import ApproximateIndex, hash_rows

N_ITEMS, N_USERS, DIM = 300, 40, 6


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    ids = [f"i{n:03d}" for n in range(N_ITEMS)]
    lengths = np.exp(rng.normal(0, 0.3, (N_ITEMS, 1)))
    return pd.DataFrame(rng.normal(size=(N_ITEMS, DIM)) * lengths, index=ids)


@pytest.fixture(scope="module")
def queries():
    """Of a seed that leaves no two scores of a query closer than 1e-5."""
    return np.random.default_rng(245).normal(size=(N_USERS, DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def seen():
    """From nothing to all but three of the items."""
    rng = np.random.default_rng(2)
    share = np.linspace(0, 1, N_USERS)[:, None]
    seen = rng.random((N_USERS, N_ITEMS)) < share
    seen[-1] = np.arange(N_ITEMS) >= 3
    return csr_array(seen)


@pytest.fixture(scope="module")
def index(vectors, queries):
    """Reads all lists, so that nothing is missed; in shards of 70 items."""
    pytest.importorskip("faiss")
    every = ApproximateIndex(n_probes=N_ITEMS, shard_size=70)
    return every.fit(vectors, queries)


@pytest.fixture
def rough(vectors, queries):
    """Reads a few lists, and so misses some items; of its own for each test."""
    pytest.importorskip("faiss")
    return ApproximateIndex(n_probes=4, shard_size=120).fit(vectors, queries)


def exact(vectors, queries, k, seen=None):
    scores = queries.astype(np.float64) @ vectors.to_numpy(np.float32).T
    scores = scores.astype(np.float32)
    if seen is not None:
        scores[seen.toarray()] = -np.inf
    positions = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, positions, axis=1)
    return np.where(np.isfinite(scores), positions, -1), scores


@pytest.mark.parametrize("k", [1, 10, 299, 300, 500])
def test_looking_at_all_items_finds_the_best(index, vectors, queries, k):
    positions, scores = index.search(queries, k)
    expected, values = exact(vectors, queries, k)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(scores, values, rtol=1e-6, atol=1e-5)


def test_items_that_are_seen_again_are_left_out_once(index, vectors, queries, seen):
    """Users meet items again, and lists have as many others all the same."""
    again = np.repeat(np.arange(seen.nnz), 50)
    rows = np.repeat(np.arange(seen.shape[0]), np.diff(seen.indptr))[again]
    ends = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(queries)))])
    parts = np.ones(len(again), bool), seen.indices[again], ends
    repeated = csr_array(parts, shape=seen.shape)
    for found, wanted in zip(
        index.search(queries, 5, seen=repeated),
        index.search(queries, 5, seen=seen),
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)
    assert repeated.nnz == len(again)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_seen_items_are_replaced_by_the_next_best(index, vectors, queries, seen, k):
    positions, scores = index.search(queries, k, seen=seen)
    expected, values = exact(vectors, queries, k, seen)
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(scores, values, rtol=1e-6, atol=1e-5)
    assert (positions[-1] >= 0).sum() == min(k, 3)


def test_recall_is_the_share_of_the_best_that_is_found(rough, vectors, queries):
    found, best = rough.search(queries, 10)[0], exact(vectors, queries, 10)[0]
    shared = [len(set(a) & set(b)) for a, b in zip(found, best, strict=True)]
    wanted = np.mean(shared) / 10
    assert rough.recall(queries, 10) == pytest.approx(wanted, rel=1e-9, abs=1e-9)
    assert 0.2 < rough.recall(queries, 10) < 1


def test_as_many_lists_are_read_as_the_recall_needs(vectors, queries):
    pytest.importorskip("faiss")
    some = [ApproximateIndex(min_recall=r).fit(vectors, queries) for r in (0.5, 0.9, 1)]
    assert [i.n_lists_ for i in some] == [69] * 3
    assert some[0].n_probes_ < some[1].n_probes_ <= some[2].n_probes_ <= 69
    drawn = np.random.default_rng(0).permutation(N_USERS)
    for index, least in zip(some, (0.5, 0.9, 1), strict=True):
        chose, measured = queries[drawn[:20]], queries[drawn[20:]]
        assert index.recall(chose, 10) >= least
        assert index.recall_ == index.recall(measured, 10)


def test_other_queries_choose_other_lists(vectors, queries):
    pytest.importorskip("faiss")
    index = ApproximateIndex(min_recall=0.9).fit(vectors)  # measured by items
    before = index.n_probes_, index.recall_
    index.measure(queries)
    fitted = ApproximateIndex(min_recall=0.9).fit(vectors, queries)
    assert (index.n_probes_, index.recall_) == (fitted.n_probes_, fitted.recall_)
    assert (index.n_probes_, index.recall_) != before
    assert index.is_fast_ == (index.n_probes_ <= 6)


def test_scores_are_exact(rough, vectors, queries):
    positions, scores = rough.search(queries, 5)
    products = np.einsum("nd,nkd->nk", queries, vectors.to_numpy()[positions])
    np.testing.assert_allclose(scores, products, rtol=1e-5, atol=1e-5)


def test_two_builds_and_a_pickle_give_the_same(rough, vectors, queries):
    rough.partial_fit(vectors.head(9).rename("new {}".format)).remove(["i002"])
    again = clone(rough).fit(vectors, queries)
    again.partial_fit(vectors.head(9).rename("new {}".format)).remove(["i002"])
    for other in (again, pickle.loads(pickle.dumps(rough))):
        same_lists(rough, other, queries)


def same_lists(one, other, queries):
    for a, b in zip(one.search(queries, 7), other.search(queries, 7), strict=True):
        np.testing.assert_array_equal(a, b)
    assert other.item_index_.equals(one.item_index_)
    np.testing.assert_array_equal(other.item_vectors_, one.item_vectors_)
    assert other.holds(one.item_index_, one.item_hashes_)


@pytest.mark.parametrize("n_threads", [0, 2])
def test_threads_change_nothing(vectors, queries, rough, n_threads):
    more = ApproximateIndex(n_probes=4, shard_size=120, n_threads=n_threads)
    found = more.fit(vectors, queries).search(queries, 7)
    assert found[0].shape == rough.search(queries, 7)[0].shape
    products = np.einsum("nd,nkd->nk", queries, vectors.to_numpy()[found[0]])
    np.testing.assert_allclose(found[1], products, rtol=1e-5, atol=1e-5)


_INHERITED = []


def _search_inherited(queries):
    return _INHERITED[0].search(queries, 3)[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="cannot fork here")
def test_a_forked_child_searches(index, queries):
    parallel = pickle.loads(pickle.dumps(index)).set_params(n_threads=2)
    _INHERITED[:] = [parallel]
    wanted = parallel.search(queries, 3)[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        with get_context("fork").Pool(1) as p:
            found = p.apply_async(_search_inherited, (queries,)).get(60)
    np.testing.assert_array_equal(found, wanted)


def test_one_item_and_no_query(vectors, queries):
    pytest.importorskip("faiss")
    index = ApproximateIndex().fit(vectors.head(1))
    assert index.search(queries, 3)[0].tolist() == [[0]] * N_USERS
    assert index.search(queries[:0], 3)[0].shape == (0, 1)
    assert index.recall_ == 1.0


# -- changes -------------------------------------------------------------------------


def test_new_items_are_found_without_a_rebuild(rough, vectors, queries):
    centres, first = rough._contents.centres, rough._contents.shards[:3]
    best = pd.DataFrame(queries[:5] * 3, index=[f"new {n}" for n in range(5)])
    rough.partial_fit(best.head(2)).partial_fit(best.tail(3))
    found = rough.item_index_[rough.search(queries[:5], 1)[0][:, 0]]
    assert found.tolist() == best.index.tolist()
    assert rough._contents.centres is centres
    assert rough._contents.shards[:3] == first
    assert len(rough._contents.shards) == 4  # small additions share one


def test_removed_items_are_not_found_and_the_others_move_up(index, vectors, queries):
    gone = ["i000", "i007", "i299"]
    left = vectors.drop(gone)
    index = pickle.loads(pickle.dumps(index)).remove(gone)
    assert index.item_index_.equals(left.index)
    np.testing.assert_array_equal(index.item_vectors_, left.to_numpy(np.float32))
    for k in (5, 400):
        positions, scores = index.search(queries, k)
        expected, values = exact(left, queries, k)
        np.testing.assert_array_equal(positions, expected)
        np.testing.assert_allclose(scores, values, rtol=1e-6, atol=1e-5)


@settings(max_examples=30)
@given(data=st.data())
def test_an_update_gives_what_a_build_gives(data):
    """Of any items, in any order, some with other vectors, k from 1 to all."""
    pytest.importorskip("faiss")
    draw = np.random.default_rng(data.draw(st.integers(0, 99)))
    table = pd.DataFrame(draw.integers(-3, 4, (40, 3)).astype(np.float32))
    index = ApproximateIndex(n_probes=40, shard_size=13).fit(table.head(25))
    for _ in range(data.draw(st.integers(1, 3))):
        kept = data.draw(st.lists(st.integers(0, 39), min_size=1, unique=True))
        table.iloc[draw.integers(0, 40, 3), 1] += 1
        index.update(table.loc[kept])
        assert index.item_index_.tolist() == kept
        queries = draw.integers(-3, 4, (4, 3)).astype(np.float32)
        # All of them: where scores are equal, a list of fewer may have either.
        positions, scores = index.search(queries, len(kept))
        expected, values = exact(table.loc[kept], queries, len(kept))
        np.testing.assert_array_equal(positions, expected)
        np.testing.assert_array_equal(scores, values)
        assert index.holds(pd.Index(kept), hash_rows(table.loc[kept].to_numpy()))


def test_few_changes_leave_the_lists_and_many_build_others(rough, vectors):
    centres = rough._contents.centres
    moved = vectors[::-1].copy()
    moved.iloc[:40] *= 2
    rough.update(moved)
    assert rough._contents.centres is centres
    moved.iloc[:200] *= 2
    rough.update(moved)
    assert rough._contents.centres is not centres
    np.testing.assert_array_equal(rough.item_vectors_, moved.to_numpy(np.float32))


def test_what_updates_leave_behind_does_not_pile_up(rough, vectors):
    moved = vectors.copy()
    for start in range(0, 400, 20):
        moved.iloc[start : start + 20] *= 2
        rough.update(moved)
        assert len(rough._contents.hashes) <= 1.5 * len(vectors)
    np.testing.assert_array_equal(rough.item_vectors_, moved.to_numpy(np.float32))


def test_recall_is_measured_anew_after_many_changes(vectors, queries):
    pytest.importorskip("faiss")
    index = ApproximateIndex(n_probes=1).fit(vectors, queries)
    before = index.recall_
    index.partial_fit(vectors.head(20).rename("few {}".format) * 3)
    assert index.recall_ == before
    index.partial_fit(vectors.head(60).rename("many {}".format) * 5)
    rest = queries[np.random.default_rng(0).permutation(N_USERS)[20:]]
    assert index.recall_ != before
    assert index.recall_ == index.recall(rest, 10)


def test_changes_that_cannot_be_are_refused_and_change_nothing(rough, vectors, queries):
    before = rough.search(queries, 5)
    with pytest.raises(ValueError, match=r"item 'i000' \(row 0\) is in the index"):
        rough.partial_fit(vectors.head(2))
    with pytest.raises(ValueError, match=r"items: id 'x' repeats \(row 1"):
        rough.partial_fit(vectors.head(2).set_axis(["x", "x"]))
    with pytest.raises(ValueError, match="items must have 6 numbers"):
        rough.update(vectors.iloc[:, 1:])
    odd = vectors.copy()
    odd.iloc[3, 2] = np.inf
    with pytest.raises(ValueError, match=r"item 'i003' \(row 3\) is not finite"):
        rough.update(odd)
    with pytest.raises(ValueError, match="an array has no ids like those of the index"):
        rough.partial_fit(vectors.to_numpy())
    numbered = ApproximateIndex().fit(vectors.head(9).set_axis([*"123456789"]))
    with pytest.raises(ValueError, match="give a DataFrame with the ids"):
        numbered.partial_fit(vectors.to_numpy())
    with pytest.raises(ValueError, match="item 'nobody' is not in the index"):
        rough.remove(["i000", "nobody"])
    with pytest.raises(ValueError, match="no item would be left"):
        rough.remove(vectors.index)
    for a, b in zip(before, rough.search(queries, 5), strict=True):
        np.testing.assert_array_equal(a, b)


# -- memory and files ----------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_mapped_vectors_give_what_a_table_gives(vectors, queries, tmp_path, dtype):
    pytest.importorskip("faiss")
    np.save(tmp_path / "v.npy", vectors.to_numpy(dtype))
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    table = pd.DataFrame(np.asarray(mapped, np.float32))
    one = ApproximateIndex(n_probes=4, shard_size=70).fit(mapped, queries)
    same_lists(one, clone(one).fit(table, queries), queries)
    assert np.shares_memory(one._contents.rows.parts[0], mapped)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("as_table", [np.asarray, pd.DataFrame])
def test_what_becomes_of_the_callers_vectors_changes_nothing(queries, dtype, as_table):
    pytest.importorskip("faiss")
    first, more = np.random.default_rng(0).normal(size=(2, 200, DIM)).astype(dtype)
    index = ApproximateIndex(n_probes=4).fit(as_table(first), queries)
    index.partial_fit(pd.DataFrame(more, index=range(200, 400), copy=False))
    vectors, lists = index.item_vectors_.copy(), index.search(queries, k=5)
    first[:] = more[:] = 0
    np.testing.assert_array_equal(index.item_vectors_, vectors)
    for one, other in zip(index.search(queries, k=5), lists, strict=True):
        np.testing.assert_array_equal(one, other)


def test_vectors_that_nobody_may_change_are_not_copied(vectors, queries):
    pytest.importorskip("faiss")
    kept = np.array(vectors, np.float32, order="C")
    kept.flags.writeable = False
    index = ApproximateIndex(n_probes=4).fit(pd.DataFrame(kept, copy=False), queries)
    assert np.shares_memory(index.item_vectors_, kept)


def test_an_index_in_a_folder_is_that_in_memory(rough, vectors, queries, tmp_path):
    folder = tmp_path / "deep" / "index"
    built = clone(rough).fit(vectors, queries, folder=folder)
    same_lists(rough, built, queries)
    assert all(shard.is_mapped for shard in built._contents.shards)
    loaded = ApproximateIndex.load(folder)
    same_lists(rough, loaded, queries)
    assert loaded.get_params() == rough.get_params()
    assert (loaded.n_probes_, loaded.recall_) == (rough.n_probes_, rough.recall_)
    # What was changed is saved over what it is read from, and so is what is pickled.
    loaded.partial_fit(vectors.head(3).rename("new {}".format)).remove(["i001"])
    loaded.save(folder)
    same_lists(loaded, ApproximateIndex.load(folder), queries)
    same_lists(loaded, pickle.loads(pickle.dumps(loaded)), queries)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("index", [[1, 2, 3], ["a", "b", "c"], ["a", None, "b"]])
def test_ids_come_back_as_they_were(vectors, tmp_path, index):
    pytest.importorskip("faiss")
    ids = pd.Index(index)
    ApproximateIndex().fit(vectors.head(3).set_axis(ids)).save(tmp_path / "i")
    loaded = ApproximateIndex.load(tmp_path / "i").item_index_
    assert loaded.equals(ids)
    assert loaded.dtype == ids.dtype


def test_a_build_that_fails_leaves_the_index_before(rough, vectors, queries, tmp_path):
    rough.save(tmp_path / "i")
    odd = vectors.copy()
    odd.iloc[299, 0] = np.nan
    with pytest.raises(ValueError, match="row 299"):
        ApproximateIndex(shard_size=70).fit(odd, queries, folder=tmp_path / "i")
    mixed = vectors.set_axis([1, *vectors.index[1:]])
    with pytest.raises(ValueError, match="ids of the items cannot be written"):
        ApproximateIndex().fit(mixed, queries, folder=tmp_path / "i")
    same_lists(rough, ApproximateIndex.load(tmp_path / "i"), queries)
    assert len(list((tmp_path / "i").iterdir())) == 2


def test_what_a_killed_writer_left_goes_with_the_next(rough, tmp_path):
    rough.save(tmp_path / "i")
    left = tmp_path / "i" / "files-000000000000"
    left.mkdir()
    (left / "lists-00000.faiss").write_bytes(b"half")
    rough.save(tmp_path / "i")
    assert not left.exists()


@pytest.mark.parametrize("check", [True, False])
def test_damage_is_named(rough, tmp_path, check):
    with pytest.raises(FileNotFoundError, match="no index in"):
        ApproximateIndex.load(tmp_path)
    folder = tmp_path / "i"
    rough.save(folder)
    record = folder / "index.json"
    good = record.read_text()
    record.write_text(good.replace('"recall": ', '"recall": 1'))
    with pytest.raises(ValueError, match=r"index.json is damaged or was edited"):
        ApproximateIndex.load(folder, check=check)
    record.write_text(re.sub('"format": [0-9]+', '"format": 99', good))
    with pytest.raises(ValueError, match=r"is of format 99, and [0-9]+ is read"):
        ApproximateIndex.load(folder, check=check)
    record.write_text(good[:50])
    with pytest.raises(ValueError, match=r"index.json is damaged"):
        ApproximateIndex.load(folder, check=check)
    record.write_text(good)
    [lists, *_] = folder.glob("files-*/lists-00001.faiss")
    lists.write_bytes(lists.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"lists-00001.faiss is damaged"):
        ApproximateIndex.load(folder, check=check)
    lists.unlink()
    with pytest.raises(FileNotFoundError, match=r"lists-00001.faiss is not there"):
        ApproximateIndex.load(folder, check=check)


def test_other_files_are_not_written_over(rough, tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(FileExistsError, match="is not the folder of an index"):
        rough.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


# -- bad input -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"min_recall": 0}, ValueError, r"min_recall must be in \(0, 1\]"),
        ({"min_recall": 1.5}, ValueError, r"min_recall must be in \(0, 1\]"),
        ({"n_probes": 0}, ValueError, "n_probes must be at least 1"),
        ({"n_lists": 2.5}, TypeError, "n_lists must be an integer"),
        ({"shard_size": None}, TypeError, "shard_size must be an integer"),
    ],
)
def test_parameters_out_of_range_are_refused(vectors, params, error, message):
    pytest.importorskip("faiss")
    with pytest.raises(error, match=message):
        ApproximateIndex(**params).fit(vectors)


def test_bad_vectors_are_refused(index, vectors, queries, seen):
    with pytest.raises(ValueError, match=r"items is empty"):
        ApproximateIndex().fit(vectors.head(0))
    with pytest.raises(ValueError, match=r"items must be a table of vectors"):
        ApproximateIndex().fit([[1.0, 2.0]])
    odd = vectors.copy()
    odd.iloc[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"item 'i003' \(row 3\) is not finite"):
        ApproximateIndex().fit(odd)
    with pytest.raises(ValueError, match=r"queries must have shape \(n, 6\)"):
        ApproximateIndex().fit(vectors, queries[:, 1:])
    with pytest.raises(ValueError, match=r"queries is empty: its shape is \(0, 6\)"):
        ApproximateIndex().fit(vectors, queries[:0])
    with pytest.raises(ValueError, match="queries must be finite"):
        ApproximateIndex().fit(vectors, queries * np.inf)
    with pytest.raises(ValueError, match=r"shape \(n, 6\) like the items"):
        index.search(queries[:, 1:], 3)
    with pytest.raises(ValueError, match=r"seen must have shape \(40, 300\)"):
        index.search(queries, 3, seen=seen[:5])
    with pytest.raises(NotFittedError):
        ApproximateIndex().search(queries, 3)
    with pytest.raises(NotFittedError):
        ApproximateIndex().holds(vectors.index, np.zeros(len(vectors), np.uint64))


def test_the_extra_is_named_where_faiss_is_missing(vectors, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'skmmrec\[index\]'"):
        ApproximateIndex().fit(vectors)
