"""Approximate search beside the store: when, how it is kept, and what it must equal."""

import numpy as np
import pandas as pd
import pytest

from skmmrec.feature_store import OnlineRecommender, _approximate, delete_ids, publish
from skmmrec.retrieval import ApproximateIndex, _index

from .conftest import make_recommender
from .test_online import expected

EXACT = {"search": "exact", "recall": 1.0, "model_version": "v1"}


@pytest.fixture
def model(repo):
    """Published, with more items than lists."""
    pytest.importorskip("faiss")
    model = make_recommender(n_items=400, dim=8)
    publish(model, repo)
    return model


@pytest.fixture
def low_bounds(monkeypatch):
    """A few items are many, and any index is fast."""
    monkeypatch.setattr(_approximate, "MANY_ITEMS", 30)
    monkeypatch.setattr(_index, "WORTH", 1.0)


@pytest.fixture
def builds(monkeypatch):
    """Sizes of the indexes that were built from nothing."""
    sizes, build = [], ApproximateIndex._build

    def counted(self, matrix, *args):
        sizes.append(len(matrix))
        return build(self, matrix, *args)

    monkeypatch.setattr(ApproximateIndex, "_build", counted)
    return sizes


def all_lists():
    """An index that reads all lists, and so finds what exact search finds."""
    return ApproximateIndex(n_probes=10**6)


def built(online):
    """Wait until the index is up to date."""
    return online._graph.wait(online._served.items())


def same(found, exact):
    pd.testing.assert_frame_equal(found, exact, rtol=1e-6, atol=1e-6)


# -- with an index that is given -----------------------------------------------------


def test_an_index_answers_when_it_is_built(repo, model):
    exact = OnlineRecommender(repo, index=None)
    online = OnlineRecommender(repo, index=ApproximateIndex(min_recall=0.95))
    users = list(model.vectors.users.index)
    wanted = exact.recommend(users, k=5)
    same(online.recommend(users, k=5), wanted)
    assert online.recall(users) > 0.8
    assert exact.recall(users) == 1.0
    approximate = online.recommend(users, k=5)
    assert approximate.attrs["search"] == "approximate"
    assert approximate.attrs["recall"] == built(online).recall_
    seen = model.vectors.seen
    assert all(i not in seen[u] for u, i in approximate.iloc[:, :2].to_numpy())
    shared = approximate.merge(wanted, on=["user_id", "item_id"])
    assert len(shared) > 0.8 * len(wanted)
    np.testing.assert_allclose(shared.score_x, shared.score_y, rtol=1e-6, atol=1e-6)


def test_lists_of_some_items_are_exact(repo, model):
    exact = OnlineRecommender(repo, index=None)
    online = OnlineRecommender(repo, index=all_lists())
    built(online)
    users = list(model.vectors.users.index)
    for chosen in ({"items": range(9)}, {"where": "popularity > 0"}):
        found = online.recommend(users, k=3, **chosen)
        same(found, exact.recommend(users, k=3, **chosen))
        assert found.attrs == exact.recommend(users, k=3).attrs == EXACT
    assert online.recommend([], k=3).attrs == EXACT


def test_an_index_is_never_of_another_model(repo):
    pytest.importorskip("faiss")
    publish(make_recommender(n_items=50), repo)
    online = OnlineRecommender(repo, index=all_lists())
    built(online)
    newer = make_recommender(n_items=40, seed=3, version="v2")
    publish(newer, repo)
    best = expected(newer, "100", 5)
    assert online.recommend(["100"], k=5)["item_id"].tolist() == best.index.tolist()
    assert len(built(online).item_index_) == 40
    found = online.recommend(["100"], k=5)
    assert found.attrs["search"] == "approximate"
    assert found["item_id"].tolist() == best.index.tolist()


def test_new_items_are_found_by_both_searches(repo, model, builds):
    exact = OnlineRecommender(repo, index=None)
    online = OnlineRecommender(repo, index=all_lists())
    first = built(online)
    best = model.vectors.items.to_numpy()[:2, :-1] * 9
    online.add_items([1000, 1001], best)
    online.add_items([3], best[:1] * 0.5)
    users = list(model.vectors.users.index)
    wanted = exact.recommend(users, k=400)
    same(online.recommend(users, k=400), wanted)  # while it is brought up to date
    assert built(online)._contents.centres is first._contents.centres
    found = online.recommend(users, k=400)
    assert found.attrs["search"] == "approximate"
    same(found, wanted)
    assert builds == [400]


def test_events_count_in_both_searches(repo, model):
    exact = OnlineRecommender(repo, index=None)
    online = OnlineRecommender(repo, index=all_lists())
    built(online)
    user = model.vectors.users.index[0]
    top = online.recommend([user], k=1)["item_id"].item()
    online.record(user, top)
    found = online.recommend([user], k=400)
    assert found.attrs["search"] == "approximate"
    same(found, exact.recommend([user], k=400))
    assert top not in set(found["item_id"])


def test_an_index_that_cannot_be_built_says_so(repo, model):
    online = OnlineRecommender(repo, index=ApproximateIndex(min_recall=-1))
    with pytest.raises(RuntimeError, match=r"was not built: min_recall must be in"):
        online.recall(list(model.vectors.users.index))
    with pytest.raises(KeyError, match="for any user"):
        online.recall(["nobody"])


def test_what_is_no_index_is_refused(repo):
    with pytest.raises(ValueError, match="index must be 'auto', None or an index"):
        OnlineRecommender(repo, index="exact")


# -- by itself -----------------------------------------------------------------------


def test_few_items_are_all_scored(repo, model, builds):
    online = OnlineRecommender(repo)
    assert online.recommend(["100"]).attrs == EXACT
    assert online.recall(["100"]) == 1.0
    assert builds == []


@pytest.mark.usefixtures("low_bounds")
def test_many_items_get_an_index_beside_the_database(repo, model, builds):
    online = OnlineRecommender(repo)
    assert online.recommend(["100"]).attrs == EXACT  # until it is built
    graph = built(online)
    assert online.recommend(["100"]).attrs["search"] == "approximate"
    [folder] = repo.rglob("*.index")
    again = OnlineRecommender(repo)
    kept = built(again)
    assert builds == [400]
    assert kept.item_index_.equals(graph.item_index_)
    assert all(shard.is_mapped for shard in kept._contents.shards)
    newer = make_recommender(n_items=60, dim=8, seed=3, version="v2")
    publish(newer, repo)
    assert len(built(again).item_index_) == 60
    assert len(ApproximateIndex.load(folder).item_index_) == 60
    assert len(builds) == 2
    best = expected(newer, "100", 60).index
    [path] = folder.rglob("ids.arrow")
    delete_ids(repo, items=[7])
    assert not path.exists()
    assert len(built(again).item_index_) == 59
    assert len(builds) == 2
    built(OnlineRecommender(repo))
    assert len(builds) == 3
    assert 7 not in ApproximateIndex.load(folder).item_index_
    best = best.difference([7])
    assert set(again.recommend(["100"], k=60)["item_id"]) == set(best)


@pytest.mark.usefixtures("low_bounds")
def test_the_recall_is_that_of_users_who_asked(repo, model, builds, monkeypatch):
    monkeypatch.setattr(_approximate, "ENOUGH", 3)
    online = OnlineRecommender(repo)
    users = list(model.vectors.users.index)
    by_items = built(online)
    online.recommend(users[:4])
    online._graph._thread.join()
    by_users = built(online)
    assert by_users is not by_items
    vectors = model.vectors.users.to_numpy(np.float32)[:4]
    fitted = ApproximateIndex().fit(model.vectors.items.sort_index(), vectors)
    assert by_users.recall_ == fitted.recall_
    assert online.recommend(users[:4]).attrs["recall"] == by_users.recall_
    assert builds == [400, 400]  # the store's, and that of this test


@pytest.mark.usefixtures("low_bounds")
def test_an_index_that_is_slower_is_not_used(repo, model, monkeypatch):
    monkeypatch.setattr(_index, "WORTH", 0.0)
    online = OnlineRecommender(repo)
    assert built(online) is None
    assert online.recommend(["100"]).attrs == EXACT
    assert online.recall(["100"]) == 1.0


@pytest.mark.usefixtures("low_bounds")
def test_a_failure_leaves_the_search_exact(repo, model, monkeypatch, caplog):
    def fail(self, *args, **kwargs):
        raise ValueError("out of luck")

    monkeypatch.setattr(ApproximateIndex, "fit", fail)
    online = OnlineRecommender(repo)
    assert built(online) is None
    assert online.recommend(["100"]).attrs == EXACT
    assert "stays exact, as no index was built: out of luck" in caplog.text


@pytest.mark.usefixtures("low_bounds")
@pytest.mark.parametrize("trouble", ["damaged", "in the way", "other width"])
def test_a_folder_that_is_of_no_use_is_no_trouble(repo, model, tmp_path, trouble):
    folder = tmp_path / "index"
    built(OnlineRecommender(repo, index_dir=folder))
    if trouble == "damaged":
        (folder / "index.json").write_text("{")
    elif trouble == "other width":
        ApproximateIndex().fit(np.eye(3, dtype=np.float32)).save(folder)
    else:
        (folder / "index.json").unlink()
        (folder / "thesis.txt").write_text("all of it")
    online = OnlineRecommender(repo, index_dir=folder)
    assert len(built(online).item_index_) == 400
    assert online.recommend(["100"]).attrs["search"] == "approximate"
    if trouble != "in the way":
        assert len(ApproximateIndex.load(folder).item_index_) == 400
    else:
        assert (folder / "thesis.txt").read_text() == "all of it"
