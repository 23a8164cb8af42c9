"""A fitted recommender goes through pickle and its kin, and formats without pickle."""

import copy
import io
import pickle

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skmmrec import MultimodalFusionRecommender
from skmmrec.fusion import Fusion
from skmmrec.model_selection import LeaveLastOut
from skmmrec.recommender import (
    ContentRecommender,
    EarlyStopping,
    EASERecommender,
    GraphDiffusionRecommender,
    ImplicitALSRecommender,
    ItemKNNRecommender,
    MatrixFactorizationRecommender,
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


def test_a_fusion_without_a_name_is_refused_by_what_needs_one(catalog, X):
    class Sum(Fusion):
        def weigh(self, tokens, mask):
            return mask.to(tokens.dtype)

    rec = MultimodalFusionRecommender(catalog, fusion=Sum, n_factors=2, training=ONE)
    rec.fit(X)
    back = cloudpickle.loads(cloudpickle.dumps(rec))
    np.testing.assert_array_equal(back.predict(X), rec.predict(X))
    with pytest.raises(ValueError, match="register_fusion"):
        through_skops(rec)
