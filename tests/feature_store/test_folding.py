"""Users that a model beside the store makes of their histories."""

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.feature_store import (
    OnlineRecommender,
    delete_ids,
    publish,
    read_vectors,
    recommend_after,
)
from skmmrec.feature_store._folding import ModelReader
from skmmrec.recommender import FittedModel, SequenceTower, Training

N_USERS, N_ITEMS = 12, 15


def interactions(rated=False):
    """Eight items of each user, in order; with `rated`, a third was not liked."""
    rng = np.random.default_rng(0)
    rows = [
        (user, int(item), time)
        for user in range(N_USERS)
        for time, item in enumerate(rng.permutation(N_ITEMS)[:8])
    ]
    X = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    y = np.where(rng.random(len(X)) < 1 / 3, -1.0, 1.0) if rated else None
    return X, y


def fit(tower, rated=False, **params):
    rng = np.random.default_rng(1)
    items = pd.DataFrame(rng.normal(size=(N_ITEMS, 3))).add_prefix("words__")
    items.insert(0, "item_id", np.arange(N_ITEMS))
    recommender = MultimodalFusionRecommender(
        ItemCatalog(items),
        user_tower=tower,
        n_factors=8,
        training=Training(max_epochs=20, learning_rate=0.05),
        random_state=0,
        **params,
    )
    return recommender.fit(*interactions(rated))


TOWERS = {
    "sequence": SequenceTower(max_history=5),
    "attention": "attention",
    "embedding": SequenceTower(user_embedding=True),
}


@pytest.fixture(params=[*TOWERS])
def model(request):
    return fit(TOWERS[request.param])


def events(user, items):
    return pd.DataFrame(
        {"user_id": user, "item_id": items, "timestamp": np.arange(len(items)) + 100}
    )


def unseen_by(model, user, n=3):
    met = model.model_.data.seen.of(user)
    return [item for item in range(N_ITEMS) if item not in met][:n]


def assert_same_lists(online, model, users):
    there, here = online.recommend(users, 4), model.recommend(users, 4)
    columns = ["user_id", "item_id", "rank"]
    pd.testing.assert_frame_equal(there[columns], here[columns], check_dtype=False)
    np.testing.assert_allclose(there["score"], here["score"], rtol=1e-5, atol=1e-6)


def test_what_is_recorded_moves_users_as_partial_fit_does(repo, model):
    publish(model, repo)
    online = OnlineRecommender(repo, model=model)
    assert_same_lists(online, model, [0, 1, 2])
    recorded = {0: unseen_by(model, 0), 99: [4, 2, 9, 1, 7, 3]}
    before = model.user_vectors_.loc[0].copy()
    for user, items in recorded.items():
        assert all(online.record(user, item) for item in items)
    for user, items in recorded.items():
        model.partial_fit(events(user, items))
    assert not np.allclose(model.user_vectors_.loc[0], before, rtol=1e-3, atol=1e-3)
    assert_same_lists(online, model, [0, 99, 1])


def test_the_model_makes_users_also_where_the_store_could_add_up_all(repo):
    """Whoever has liked one item is that item by most towers."""
    model = fit("attention")
    model.partial_fit(events(99, [4])).forget(range(N_USERS))
    publish(model, repo)
    online = OnlineRecommender(repo, model=model)
    for item in (9, 2, 7):
        assert online.record(99, item)
        model.partial_fit(events(99, [item]))
        assert_same_lists(online, model, [99])
    assert not OnlineRecommender(repo).record(99, 1)


def test_someone_unknown_is_served_by_a_history(repo, model):
    publish(model, repo)
    online = OnlineRecommender(repo, model=model)
    found = online.recommend_from_history([4, 2, 9], 4)
    model.partial_fit(events(99, [4, 2, 9]))
    assert found["item_id"].tolist() == model.recommend([99], 4)["item_id"].tolist()
    looked = recommend_after(online, 98, [4, 2, 9], 4)
    assert looked["item_id"].tolist() == found["item_id"].tolist()


def test_the_order_counts(repo):
    model = fit(SequenceTower())
    publish(model, repo)
    online = OnlineRecommender(repo, model=model)
    scores = [
        online.recommend_from_history(history, N_ITEMS)["score"].to_numpy()
        for history in ([4, 2, 9], [9, 2, 4])
    ]
    assert not np.allclose(*scores, rtol=1e-3, atol=1e-3)


def test_what_was_not_liked_does_not_count(repo):
    """Neither in training nor by `record`, whoever records it."""
    model = fit(SequenceTower(max_history=5), rated=True)
    publish(model, repo)
    new = unseen_by(model, 0, 4)
    OnlineRecommender(repo).record(0, new[0], y=-1.0)
    online = OnlineRecommender(repo, model=model)
    assert not online.record(0, new[1], y=-1.0)
    assert online.record(0, new[2])
    y = [-1.0, -1.0, 1.0]
    model.partial_fit(events(0, new[:3]), y)
    assert_same_lists(online, model, [0, 1])
    # Someone without the model has recorded a like: it counts with the next one.
    assert not OnlineRecommender(repo).record(1, unseen_by(model, 1)[0])
    last = unseen_by(model, 1)[:2]
    assert online.record(1, last[1])
    model.partial_fit(events(1, last))
    assert_same_lists(online, model, [0, 1])


def test_deleted_items_leave_histories(repo):
    model = fit(SequenceTower())
    publish(model, repo)
    online = OnlineRecommender(repo, model=model)
    for item in (4, 2, 9):
        online.record(99, item)
    delete_ids(repo, items=[2])
    online = OnlineRecommender(repo, model=model)
    online.record(99, 7)
    vectors = read_vectors(repo, "item", [4, 9, 7])[0]
    expected = model.model_.folding()(None, vectors[:, :-1])
    [found] = read_vectors(repo, "user", [99])[0]
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("recorded", [False, True])
def test_histories_without_deleted_items_take_in_nothing_else(repo, recorded):
    """What was disliked, in training or since, never takes their place."""
    model = fit(SequenceTower(), rated=True)
    publish(model, repo)
    online = OnlineRecommender(repo, model=model)
    data, new = model.model_.data, unseen_by(model, 0, 3)
    liked = data.history.of(0).tolist()
    assert 2 < len(liked) < 8
    if recorded:
        online.record(0, new[0], y=0.0)
    before = read_vectors(repo, "user", [0])[0]
    delete_ids(repo, items=liked[1:3])
    # The vector stays until there is reason to make it anew.
    np.testing.assert_array_equal(read_vectors(repo, "user", [0])[0], before)
    online.record(0, new[1])
    left = [item for item in [*liked, new[1]] if item not in liked[1:3]]
    vectors = read_vectors(repo, "item", left)[0]
    expected = model.model_.folding()(None, vectors[:, :-1])
    [found] = read_vectors(repo, "user", [0])[0]
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-5, atol=1e-6)
    # A model that has lost the items makes all vectors without them.
    publish(model.remove_items(liked[1:3]), repo)
    assert_same_lists(OnlineRecommender(repo), model, range(N_USERS))


def test_a_folder_is_read_again_when_another_model_is_served(repo, tmp_path):
    folder = tmp_path / "model"
    first, second = fit(SequenceTower()), fit(SequenceTower(n_layers=1))
    first.save(folder)
    publish(first, repo)
    online = OnlineRecommender(repo, model=folder)
    assert online.record(50, 3)
    publish(second, repo)
    assert not online.record(51, 3)
    with pytest.raises(ValueError, match=r"OnlineRecommender\(model=\)"):
        online.recommend_from_history([3])
    second.save(folder)
    assert online.record(52, 3)
    second.partial_fit(events(52, [3]))
    assert_same_lists(online, second, [52])


def test_a_folder_is_of_the_model_that_is_served_whoever_rounds_its_vectors(
    repo, tmp_path, monkeypatch
):
    """A processor that makes users in another order of sums, for instance."""
    model, made = fit(SequenceTower()), FittedModel.update_users
    model.save(tmp_path / "model")
    publish(model, repo)

    def update_users(model, where=None):
        made(model, where)
        model.user_vectors = np.nextafter(model.user_vectors, np.float32(9))

    monkeypatch.setattr(FittedModel, "update_users", update_users)
    online = OnlineRecommender(repo, model=tmp_path / "model")
    assert online.record(50, 3)
    assert len(online.recommend_from_history([3, 5], k=4)) == 4


def test_a_folder_that_makes_no_users_any_more_lets_record_go_on(
    repo, tmp_path, caplog
):
    """Its model may be of ratings, half copied or gone: no event is lost by that."""
    folder, X = tmp_path / "model", interactions()[0]
    first = fit(SequenceTower())
    first.save(folder)
    publish(first, repo)
    online = OnlineRecommender(repo, model=folder)
    rated = MultimodalFusionRecommender(
        first.catalog, objective="mse", n_factors=8, random_state=0
    )
    rated.set_params(training__max_epochs=1).fit(X, np.arange(len(X)) % 5)
    rated.save(folder)
    publish(rated, repo)
    new = unseen_by(first, 0)
    assert not online.record(0, new[0])
    assert "no users are made by" in caplog.text
    caplog.clear()
    assert not online.record(0, new[1])
    assert not caplog.text
    shutil.rmtree(folder)
    assert not online.record(0, new[2])
    assert online.feedback()["item_id"].tolist() == new


def test_without_a_model_users_stay(repo, model):
    publish(model, repo)
    online = OnlineRecommender(repo)
    assert not online.record(0, unseen_by(model, 0)[0])
    assert not online.record(99, 0)
    with pytest.raises(ValueError, match=r"OnlineRecommender\(model=\)"):
        online.recommend_from_history([3])


def test_models_that_make_no_users_are_refused(repo, tmp_path):
    publish(fit("mean"), repo)
    with pytest.raises(TypeError, match="model must be a fitted recommender"):
        OnlineRecommender(repo, model=3)
    with pytest.raises(FileNotFoundError):
        OnlineRecommender(repo, model=tmp_path / "nothing")
    X, _ = interactions()
    rates = MultimodalFusionRecommender(objective="mse", n_factors=4, random_state=0)
    rates.set_params(training__max_epochs=1).fit(X, np.arange(len(X)) % 5.0)
    with pytest.raises(ValueError, match="none can be made of items alone"):
        OnlineRecommender(repo, model=rates)


@pytest.mark.parametrize("tower", [*TOWERS.values(), "mean"])
def test_a_model_knows_what_to_recommend_without_a_history(repo, tower):
    """To somebody unknown, and after something was met that was not liked."""
    model = fit(tower, rated=True)
    publish(model, repo)
    online = OnlineRecommender(repo, model=model, unknown="popular")
    assert_same_lists(online, model, [98, 0])
    assert not online.record(99, 3, y=-1.0)
    model.partial_fit(events(99, [3]), [-1.0])
    assert_same_lists(online, model, [99, 0])
    assert online.record(99, 4)
    model.partial_fit(events(99, [4]), [1.0])
    assert_same_lists(online, model, [99, 0])


def test_a_reader_is_of_one_model_while_another_thread_learns():
    models = [fit("attention", rated).model_ for rated in (False, True)]

    class Learning:
        """Has another model whenever one looks."""

        @property
        def model_(self):
            models.reverse()
            return models[0]

    reader = ModelReader(Learning())
    vectors = np.random.default_rng(0).normal(size=(3, 9)).astype(np.float32)
    wanted = ModelReader(SimpleNamespace(model_=models[0]))
    assert reader.version == wanted.version
    np.testing.assert_array_equal(
        reader.user(None, vectors), wanted.user(None, vectors)
    )
