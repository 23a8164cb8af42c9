"""Random interaction tables: a model, or a clear ValueError or TypeError."""

import warnings

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings, strategies as st

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import (
    ContentRecommender,
    EarlyStopping,
    MatrixFactorizationRecommender,
    Propagation,
    Training,
)

SETTINGS = settings(
    max_examples=60,
    database=None,
    suppress_health_check=list(HealthCheck),
)
HUGE = 2**62
ID_KINDS = {
    "small": st.integers(0, 3),
    "one": st.just(7),
    "huge": st.integers(-HUGE, HUGE),
    "too large": st.integers(2**63, 2**70),
    "float": st.floats(-5, 5),
    "special": st.sampled_from([np.nan, np.inf, 1.0]),
    "string": st.text(max_size=3),
    "mixed": st.one_of(st.integers(0, 3), st.text(max_size=2), st.none()),
}
ANSWERS = {
    "none": None,
    "ones": st.just(1.0),
    "zeros": st.just(0.0),
    "negative": st.floats(-3, 0),
    "ratings": st.sampled_from([0.5, 1, 3, 5]),
    "odd": st.sampled_from([np.nan, np.inf, 1.0]),
}
PARAMS = [
    {},
    {
        "fusion": "transformer",
        "user_tower": "sequence",
        "regularization__alignment": 0.1,
    },
    {
        "fusion": "late_stacking",
        "user_tower": "attention",
        "propagation": Propagation(share=0.3),
    },
    {"objective": "bpr", "early_stopping": EarlyStopping()},
    {
        "objective": "bce",
        "user_tower__user_embedding": True,
        "regularization__modality_balance": 0.5,
    },
    {"objective": "mse", "early_stopping": EarlyStopping()},
    ContentRecommender,
    MatrixFactorizationRecommender,
]


def make(params, catalog=None, **more):
    """A recommender of these parameters, or of this class."""
    if params is ContentRecommender:
        return ContentRecommender(catalog)
    if params is MatrixFactorizationRecommender:
        return MatrixFactorizationRecommender(4, random_state=0).set_params(**more)
    rec = MultimodalFusionRecommender(catalog, n_factors=4, random_state=0)
    return rec.set_params(**params, **more)


@st.composite
def tables(draw):
    """A flat table of random ids, order of columns and content, with y."""
    n = draw(st.integers(0, 12))

    def column(strategy):
        return draw(st.lists(strategy, min_size=n, max_size=n))

    users, items = (
        column(ID_KINDS[draw(st.sampled_from(sorted(ID_KINDS)))]) for _ in range(2)
    )
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    table = pd.DataFrame({"user_id": users, "item_id": items})
    for modality in draw(st.sampled_from([[], ["text"], ["text", "image"]])):
        for number in range(draw(st.integers(1, 3))):
            table[f"{modality}__{number}"] = rng.normal(size=n)
    if draw(st.booleans()):
        table["timestamp"] = rng.integers(0, 4, n)
    table = table[draw(st.permutations(list(table.columns)))]
    kind = ANSWERS[draw(st.sampled_from(sorted(ANSWERS)))]
    return table, None if kind is None else column(kind)


@SETTINGS
@given(tables(), st.sampled_from(PARAMS))
def test_any_table_is_fitted_or_refused(table_and_y, params):
    table, y = table_and_y
    rec = make(params, training=Training(max_epochs=1, n_negatives=3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            rec.fit(table, y)
        except (ValueError, TypeError):
            return
    assert np.isfinite(rec.predict(table)).all()
    assert np.isfinite(rec.item_vectors_).all(axis=None)
    ranked = rec.recommend(k=3)
    assert np.isfinite(ranked.score).all()
    assert not ranked.duplicated(["user_id", "item_id"]).any()
    seen = table.merge(ranked, on=["user_id", "item_id"])
    assert seen.empty


@SETTINGS
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=15),
    st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True),
    st.sampled_from(PARAMS),
)
def test_a_catalogue_of_which_some_or_all_is_cold(pairs, without, params):
    rng = np.random.default_rng(0)
    items = pd.DataFrame(rng.normal(size=(6, 4)))
    items.columns = ["text__0", "text__1", "image__0", "image__1"]
    items.loc[without, ["text__0", "text__1"]] = np.nan
    catalog = ItemCatalog(items.assign(item_id=range(6)))
    X = pd.DataFrame(pairs, columns=["user_id", "item_id"])
    y = np.arange(len(X)) % 3
    rec = make(params, catalog, training=Training(max_epochs=1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            rec.fit(X, y).partial_fit(X.assign(user_id=9), y)
        except ValueError as error:
            if "early_stopping needs" in str(error):
                return
            raise
    assert np.isfinite(rec.predict(X)).all()
    assert np.isfinite(rec.recommend([9, 77], k=6).score).all()
