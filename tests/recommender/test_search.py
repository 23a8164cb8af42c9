"""Lists by an approximate index: given, built on demand, or built by itself."""

import copy
import pickle
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError

from skmmrec.metrics import make_ranking_scorer
from skmmrec.recommender import PopularityRecommender, _search
from skmmrec.retrieval import ApproximateIndex, _index

EXACT = {"search": "exact", "recall": 1.0}


def all_lists(**params):
    """An index that reads all lists, and so finds what exact search finds."""
    pytest.importorskip("faiss")
    return ApproximateIndex(n_probes=10**6, **params)


@pytest.fixture
def own(make, catalog, X, y):
    """A recommender that the test may change."""
    return make(copy.deepcopy(catalog)).fit(X, y)


@pytest.fixture
def low_bounds(monkeypatch):
    """Few items and users are many, and any index is fast."""
    pytest.importorskip("faiss")
    monkeypatch.setattr(_search, "MANY_ITEMS", 3)
    monkeypatch.setattr(_search, "AUTO_USERS", 2)
    monkeypatch.setattr(_index, "WORTH", 1.0)


@pytest.fixture
def builds(monkeypatch):
    """Sizes of the indexes that were built."""
    sizes, fit = [], ApproximateIndex.fit

    def counted(self, items, *args, **kwargs):
        sizes.append(len(items))
        return fit(self, items, *args, **kwargs)

    monkeypatch.setattr(ApproximateIndex, "fit", counted)
    return sizes


def same(found, exact):
    pd.testing.assert_frame_equal(found, exact, rtol=1e-5, atol=1e-5)


# -- an index that is given ----------------------------------------------------------


@pytest.mark.parametrize("params", [{}, {"objective": "mse"}, {"n_members": 2}])
def test_an_index_finds_what_the_exact_search_finds(make, catalog, X, y, params):
    rec = make(catalog, **params).fit(X, y)
    index = all_lists().fit(rec.serving_vectors().items)
    users = [*rec.user_index_, 1]
    for exclude_seen in (True, False):
        exact = rec.recommend(users, k=99, exclude_seen=exclude_seen)
        found = rec.recommend(users, k=99, exclude_seen=exclude_seen, index=index)
        same(found, exact)
        assert exact.attrs == EXACT
        assert found.attrs == {"search": "approximate", "recall": index.recall_}


def test_an_index_of_other_items_or_vectors_is_refused(make, catalog, X, y, fitted):
    items = fitted.serving_vectors().items
    with pytest.raises(ValueError, match="other items than this recommender"):
        fitted.recommend(k=1, index=all_lists().fit(items.iloc[1:]))
    other = make(catalog, random_state=1).fit(X, y)
    index = all_lists().fit(other.serving_vectors().items)
    with pytest.raises(ValueError, match=r"other vectors of these items.*update\("):
        fitted.recommend(k=1, index=index)
    same(fitted.recommend(k=3, index=index.update(items)), fitted.recommend(k=3))


def test_an_index_that_is_not_fitted_says_so(fitted):
    with pytest.raises(NotFittedError, match="ApproximateIndex"):
        fitted.recommend(k=1, index=ApproximateIndex())


def test_an_index_searches_all_items(fitted):
    index = all_lists().fit(fitted.serving_vectors().items)
    with pytest.raises(ValueError, match="items must be None"):
        fitted.recommend(k=1, items=["i01"], index=index)


@pytest.mark.parametrize("index", ["exact", True, object()])
def test_what_is_no_index_is_refused(fitted, index):
    with pytest.raises(ValueError, match="index must be 'auto', None or an Approx"):
        fitted.recommend(k=1, index=index)


# -- an index that is built by itself ------------------------------------------------


def test_few_items_are_all_scored(fitted, builds):
    assert fitted.recommend(k=3).attrs == EXACT
    assert fitted.recommend(k=3, index=None).attrs == EXACT
    assert PopularityRecommender().fit([["u", "i"]]).recommend(k=1).attrs == EXACT
    assert builds == []


def test_the_share_that_is_found_survives_pandas(fitted):
    table = fitted.recommend(k=3)
    joined = pd.concat([table, fitted.recommend(k=2)])
    assert joined.attrs == table[table["rank"] == 1].attrs == EXACT
    assert pickle.loads(pickle.dumps(table)).attrs == EXACT


@pytest.mark.usefixtures("low_bounds")
def test_many_users_build_an_index_once_and_few_use_it(own, builds):
    few, everyone = own.user_index_[:2], own.user_index_
    exact = own.recommend(everyone, k=5, index=None)
    assert own.recommend(few, k=5).attrs == EXACT  # it does not pay for them
    found = own.recommend(everyone, k=5)
    assert found.attrs["search"] == "approximate"
    assert 0 < found.attrs["recall"] <= 1
    shared = found.merge(exact, on=["user_id", "item_id"])
    assert len(shared) > 0.8 * len(exact)
    np.testing.assert_allclose(shared.score_x, shared.score_y, rtol=1e-5, atol=1e-5)
    assert own.recommend(few, k=5).attrs["search"] == "approximate"
    assert builds == [len(own.item_index_)]
    assert own.recommend(everyone, k=5, items=own.item_index_).attrs == EXACT


@pytest.mark.usefixtures("low_bounds")
def test_an_index_that_would_be_slower_is_not_used(own, builds, monkeypatch):
    monkeypatch.setattr(_index, "WORTH", 0.0)
    for _ in range(2):
        assert own.recommend(k=5).attrs == EXACT
    assert len(builds) == 1


@pytest.mark.usefixtures("low_bounds")
def test_without_the_extra_the_search_is_exact(own, monkeypatch):
    monkeypatch.setattr(_search, "find_spec", lambda name: None)
    assert own.recommend(k=5).attrs == EXACT
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'skmmrec\[index\]'"):
        own.build_index()


@pytest.mark.usefixtures("low_bounds")
def test_what_is_judged_is_found_by_exact_search(own, X, y, builds):
    scorer = make_ranking_scorer("ndcg@5")
    with pytest.warns(UserWarning, match="seen"):
        scorer(own, X, y)
    assert builds == []


# -- an index that is asked for ------------------------------------------------------


def test_a_built_index_is_kept_up_to_date(own, items, X, y, builds):
    index = own.build_index(all_lists())
    assert own.recommend(k=5).attrs == {
        "search": "approximate",
        "recall": index.recall_,
    }
    new = items.head(2).assign(item_id=["new 1", "new 2"])
    own.add_items(new)
    same(own.recommend(k=99), own.recommend(k=99, index=None))
    own.partial_fit(pd.DataFrame({"user_id": [100], "item_id": ["new 1"]}), [1.0])
    same(own.recommend(k=99), own.recommend(k=99, index=None))
    own.forget(own.user_index_[:1])
    same(own.recommend(k=99), own.recommend(k=99, index=None))
    assert len(builds) == 1
    assert "new 1" not in index.item_index_  # that is what was handed out
    own.fit(X, y)
    assert own.recommend(k=5).attrs == EXACT


def test_what_is_done_to_a_built_index_does_not_change_the_recommender(
    make, catalog, own, X, y
):
    index = own.build_index(all_lists())
    expected = own.recommend(k=5, index=None)
    index.remove(expected["item_id"].iloc[:1])
    same(own.recommend(k=5), expected)
    other = make(catalog, random_state=1).fit(X, y)
    assert other.build_index(index) is index
    same(own.recommend(k=5), expected)
    same(other.recommend(k=5), other.recommend(k=5, index=None))


def test_a_built_index_is_in_no_pickle_and_no_copy(own):
    before = len(pickle.dumps(own))
    own.build_index(all_lists())
    assert len(pickle.dumps(own)) == before
    for other in (pickle.loads(pickle.dumps(own)), copy.copy(own)):
        assert other.recommend(k=5).attrs == EXACT
    assert own.recommend(k=5).attrs["search"] == "approximate"


def test_a_saved_index_serves_a_loaded_recommender(own, tmp_path):
    own.build_index(all_lists()).save(tmp_path / "index")
    own.save(tmp_path / "model")
    loaded = type(own).load(tmp_path / "model")
    index = ApproximateIndex.load(tmp_path / "index")
    same(loaded.recommend(k=5, index=index), own.recommend(k=5, index=None))
