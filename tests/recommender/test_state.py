"""A fitted recommender goes through pickle and its kin, and formats without pickle."""

import copy
import io
import pickle
from contextlib import suppress

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.fusion import ConcatFusion, Fusion, register_fusion
from skmmrec.model_selection import LeaveLastOut
from skmmrec.recommender import (
    ContentRecommender,
    EarlyStopping,
    EASERecommender,
    FittedModel,
    GraphDiffusionRecommender,
    ImplicitALSRecommender,
    ItemKNNRecommender,
    MatrixFactorizationRecommender,
    MeanTower,
    PopularityRecommender,
    Propagation,
    RandomWalkRecommender,
    Training,
    UserKNNRecommender,
)

ONE = Training(max_epochs=1)
FROM_HISTORIES = [
    EASERecommender(),
    EASERecommender(n_neighbors=2),
    GraphDiffusionRecommender(),
    ImplicitALSRecommender(2, random_state=0),
    ItemKNNRecommender(),
    PopularityRecommender(),
    RandomWalkRecommender(),
    UserKNNRecommender(),
]
OF_VECTORS = {
    "content": lambda catalog: ContentRecommender(catalog),
    "factors": lambda _: MatrixFactorizationRecommender(2, training=ONE),
    "ratings": lambda _: MatrixFactorizationRecommender(
        2, training=ONE, objective="mse"
    ),
    "fusion": lambda catalog: MultimodalFusionRecommender(
        catalog, n_factors=2, training=ONE, random_state=np.random.RandomState(0)
    ),
    "sequence": lambda catalog: MultimodalFusionRecommender(
        catalog, user_tower="sequence", n_factors=2, training=ONE, random_state=0
    ),
    "members": lambda catalog: MultimodalFusionRecommender(
        catalog,
        propagation=Propagation(),
        early_stopping=EarlyStopping(),
        n_members=2,
        n_factors=2,
        training=ONE,
    ),
}


def through_skops(thing):
    import skops.io  # takes seconds, which only who tests it needs

    data = skops.io.dumps(thing)
    return skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))


def through_joblib(thing):
    file = io.BytesIO()
    joblib.dump(thing, file)
    file.seek(0)
    return joblib.load(file)


WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "oldest pickle": lambda thing: pickle.loads(pickle.dumps(thing, protocol=0)),
    "cloudpickle": lambda thing: cloudpickle.loads(cloudpickle.dumps(thing)),
    "joblib": through_joblib,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "skops": through_skops,
}
EVERY_WAY = pytest.mark.parametrize("way", WAYS)


@EVERY_WAY
@pytest.mark.parametrize("rec", FROM_HISTORIES, ids=lambda rec: type(rec).__name__)
def test_what_learns_from_histories_comes_back(rec, way, pairs, y):
    rec.fit(pairs, y)
    back = WAYS[way](rec)
    assert repr(back) == repr(rec)
    pd.testing.assert_frame_equal(back.recommend([100, 1]), rec.recommend([100, 1]))
    unseen = pairs.assign(user_id=1)
    assert back.score(unseen) == rec.score(unseen)
    pd.testing.assert_index_equal(back.item_index_, rec.item_index_)


@EVERY_WAY
@pytest.mark.parametrize("name", OF_VECTORS)
def test_what_has_vectors_comes_back(name, way, catalog, X, ratings):
    rec = OF_VECTORS[name](catalog).fit(X, ratings.rating - 2)
    back = WAYS[way](rec)
    np.testing.assert_array_equal(back.predict(X), rec.predict(X))
    np.testing.assert_array_equal(back.transform(X), rec.transform(X))
    pd.testing.assert_frame_equal(back.recommend(k=99), rec.recommend(k=99))
    assert back.n_features_in_ == rec.n_features_in_
    back.partial_fit(X.head(1), [1.0])
    assert back.user_index_.equals(rec.user_index_)


CHANGES = {
    "partial_fit": lambda rec, X: rec.partial_fit(X.assign(user_id=1), [1.0] * len(X)),
    "remove_items": lambda rec, X: rec.remove_items(rec.item_index_[:1]),
    "forget": lambda rec, X: rec.forget(rec.user_index_[:2]),
}


@pytest.mark.parametrize("name", [*OF_VECTORS, "own users"])
def test_what_changes_a_recommender_changes_no_copy_and_no_file(
    name, items, X, ratings, tmp_path
):
    """A copy may share what it is made of, and a file may be mapped to be read."""
    make = OF_VECTORS.get(name, OF_VECTORS["fusion"])
    rec = make(ItemCatalog(items))
    if name == "own users":
        rec.set_params(user_tower=MeanTower(user_embedding=True))
    unmet = X["item_id"] == X["item_id"].iloc[0]
    rec.fit(X[~unmet], ratings.rating[~unmet] - 2)
    new = X[unmet | (X.index < 3)]
    if rec.catalog is None:  # knows no items but those of its rows
        new = new[new["item_id"].isin(rec.item_index_)]
    joblib.dump(rec, tmp_path / "rec")
    for change in CHANGES.values():
        mapped = joblib.load(tmp_path / "rec", mmap_mode="r")
        deep, shallow, before = copy.deepcopy(rec), copy.copy(rec), pickle.dumps(rec)
        tables = [change(each, new).recommend(k=99) for each in (deep, shallow, mapped)]
        assert pickle.loads(before).recommend(k=99).equals(rec.recommend(k=99))
        for table in tables[1:]:
            pd.testing.assert_frame_equal(table, tables[0])
        assert change(pickle.loads(before), new).recommend(k=99).equals(tables[0])


@pytest.mark.parametrize("step", ["meet", "take_in", "make_users"])
def test_partial_fit_that_is_interrupted_changes_nothing(
    step, fitted, X, y, monkeypatch
):
    rec, new = copy.deepcopy(fitted), X.head(9).assign(user_id=range(1000, 1009))
    before = rec.recommend(k=99)

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(FittedModel, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            rec.partial_fit(new, y.head(9))
    pd.testing.assert_frame_equal(rec.recommend(k=99), before)
    other = copy.deepcopy(fitted)
    for each in (rec, other):
        each.partial_fit(new, y.head(9))
    pd.testing.assert_frame_equal(rec.recommend(k=99), other.recommend(k=99))


@pytest.mark.parametrize("ids", [str, float, lambda n: 10 * n + 2**53])
def test_ids_of_every_kind_come_back(ids):
    table = pd.DataFrame(
        {"user_id": [ids(n) for n in range(5)], "item_id": list("abcab")}
    )
    for rec in (PopularityRecommender(), MatrixFactorizationRecommender(2)):
        back = through_skops(rec.fit(table))
        pd.testing.assert_index_equal(back.user_index_, rec.user_index_)
        pd.testing.assert_frame_equal(back.recommend(), rec.recommend())


def test_without_pickle_the_catalogue_stays_behind(catalog, X, fitted):
    back = through_skops(fitted)
    assert back.catalog is None
    assert back.get_params()["training__max_epochs"] == 3
    with pytest.raises(ValueError, match="needs a catalog"):
        back.similar_items(catalog.items.drop(columns="item_id"))
    back.set_params(catalog=catalog)
    content = catalog.items.drop(columns="item_id")
    pd.testing.assert_frame_equal(
        back.similar_items(content), fitted.similar_items(content)
    )


def test_what_is_not_fitted_and_what_holds_others(catalog, X, flat):
    assert repr(through_skops(PopularityRecommender())) == "PopularityRecommender()"
    bare = through_skops(MultimodalFusionRecommender(catalog, n_factors=3))
    assert (bare.n_factors, bare.catalog, hasattr(bare, "model_")) == (3, None, False)
    rec = MultimodalFusionRecommender(n_factors=2, training=ONE, random_state=0)
    rec.set_output(transform="pandas")
    pipe = make_pipeline(rec).fit(flat)
    back = through_skops(pipe)
    pd.testing.assert_frame_equal(back.transform(flat), pipe.transform(flat))
    grid = GridSearchCV(rec, {"n_factors": [1, 2]}, cv=LeaveLastOut()).fit(flat)
    np.testing.assert_array_equal(through_skops(grid).predict(flat), grid.predict(flat))


def test_a_fusion_of_ones_own_has_a_name_or_is_refused_by_what_needs_one(catalog, X):
    class Sum(Fusion):
        def weigh(self, tokens, mask):
            return mask.to(tokens.dtype)

    rec = MultimodalFusionRecommender(catalog, fusion=Sum, n_factors=2, training=ONE)
    rec.fit(X)
    back = cloudpickle.loads(cloudpickle.dumps(rec))
    np.testing.assert_array_equal(back.predict(X), rec.predict(X))
    with pytest.raises(ValueError, match="register_fusion"):
        through_skops(rec)
    register_fusion("sum of a test", Sum)
    back = through_skops(rec)
    assert back.fusion == "sum of a test"
    np.testing.assert_array_equal(back.predict(X), rec.predict(X))


def test_a_class_that_is_brought_along_has_its_name(catalog, X):
    rec = OF_VECTORS["fusion"](catalog).set_params(fusion=ConcatFusion).fit(X)
    back = through_skops(rec)
    assert back.fusion == "concat"
    np.testing.assert_array_equal(back.predict(X), rec.predict(X))


@pytest.mark.parametrize("tower", ["mean", "sequence"])
def test_no_gradients_stay_after_training(make, catalog, X, tower):
    rec = make(catalog, user_tower=tower, training__partial_fit_epochs=1).fit(X)
    for _ in range(2):
        for network in rec.model_.networks:
            held = [n for n, p in network.named_parameters() if p.grad is not None]
            assert held == []
        rec.partial_fit(X.head(3))


@pytest.mark.parametrize("name", ["item_vectors_", "user_vectors_", "item_biases_"])
def test_what_was_learned_is_not_changed_by_mistake(make, catalog, X, name):
    """To scale vectors in place, as for cosines, is common."""
    recommender = make(catalog).fit(X)
    before, vectors = recommender.recommend(), getattr(recommender, name)
    with pytest.raises(ValueError, match="read-only"):
        vectors.to_numpy()[:] /= 2.0
    with suppress(ValueError):  # pandas 3 makes a copy
        vectors.iloc[0] = 0.0
    copied = vectors.copy()
    copied.iloc[:] = 0.0
    pd.testing.assert_frame_equal(recommender.recommend(), before)
