"""The recommender at the end of a pipeline, and under a search."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline
from torch import nn

from skmmrec import ItemCatalog
from skmmrec.fusion import ConcatFusion, get_fusion_names, register_fusion

FUSIONS = ["attention", "concat", "gated"]


class LetterEncoder(TransformerMixin, BaseEstimator):
    """Counts letters; a missing word is a row of NaN."""

    def __init__(self, letters="abcdef"):
        self.letters = letters

    def fit(self, X, y=None):
        self.n_features_in_ = 1
        return self

    def transform(self, X):
        words = np.asarray(X, dtype=object).ravel()
        return np.array([self._count(word) for word in words], dtype=np.float32)

    def _count(self, word):
        if not isinstance(word, str):
            return [np.nan] * len(self.letters)
        return [word.count(letter) + 0.1 for letter in self.letters]

    def get_feature_names_out(self, input_features=None):
        return np.array([*self.letters], dtype=object)


class TextEncoder(LetterEncoder):
    pass


class ImageEncoder(LetterEncoder):
    pass


@pytest.fixture(scope="module")
def raw(items):
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice([*"abcdef"], 6)) for _ in range(2 * len(items))]
    table = pd.DataFrame(
        {
            "item_id": items.item_id,
            "title": words[: len(items)],
            "poster": words[len(items) :],
        }
    )
    table.loc[4, "poster"] = None
    return table


@pytest.fixture(scope="module")
def rows(X, raw):
    return X[["user_id", "item_id"]].merge(raw, on="item_id", how="left")


@pytest.fixture
def encode():
    return make_column_transformer(
        ("passthrough", ["user_id", "item_id"]),
        (TextEncoder(), ["title"]),
        (ImageEncoder(), ["poster"]),
    )


@pytest.fixture
def pipe(make, encode):
    encode = clone(encode).set_output(transform="pandas")
    return Pipeline([("encode", encode), ("recommend", make())])


@pytest.fixture
def raw_catalog(raw):
    encoder = make_column_transformer(
        (TextEncoder(), ["title"]), (ImageEncoder(), ["poster"])
    )
    return ItemCatalog(raw, encoder)


def test_pipeline_is_the_catalogue_form(make, pipe, raw_catalog, rows, y):
    pairs = rows[["user_id", "item_id"]]
    whole = make(raw_catalog).fit(pairs, y)
    pipe.fit(rows, y)
    last = pipe["recommend"]
    assert last.model_.content.widths == {"text": 6, "image": 6}
    np.testing.assert_array_equal(last.item_vectors_, whole.item_vectors_)
    np.testing.assert_array_equal(pipe.predict(rows), whole.predict(pairs))
    np.testing.assert_array_equal(pipe.transform(rows), whole.transform(pairs))
    rows, pairs = (
        table.assign(user_id=rows.user_id.max() + 1) for table in (rows, pairs)
    )
    assert pipe.score(rows, y) == whole.score(pairs, y) > 0


def test_pipeline_of_numpy_objects(make, encode, pipe, rows, y):
    """Mixed columns without names come as objects; `modalities` tells them apart."""
    modalities = {"text": slice(2, 8), "image": slice(8, 14)}
    nameless = Pipeline(
        [("encode", encode), ("recommend", make(modalities=modalities))]
    )
    assert nameless.fit(rows, y)["encode"].transform(rows).dtype == object
    np.testing.assert_array_equal(
        nameless.predict(rows), pipe.fit(rows, y).predict(rows)
    )


def test_numpy_objects_without_modalities_are_one_block(make, encode, rows, y):
    rows = rows.assign(poster=rows.poster.fillna("f"))
    pipe = Pipeline([("encode", encode), ("recommend", make())]).fit(rows, y)
    assert pipe["recommend"].model_.content.widths == {"content": 12}


def test_pipeline_serves_items_that_it_has_not_seen(pipe, rows, y):
    pipe.fit(rows, y)
    new = rows.head(3).assign(item_id="new", title=["fade", "bead", None])
    assert np.isfinite(pipe.predict(new)).all()
    assert len(np.unique(pipe.transform(new), axis=0)) == 3


def test_search_over_fusions_in_the_flat_form(pipe, rows, y):
    search = GridSearchCV(
        pipe,
        {"recommend__fusion": FUSIONS},
        cv=KFold(3, shuffle=True, random_state=0),
        error_score="raise",
    )
    search.fit(rows, y)
    results = search.cv_results_["mean_test_score"]
    assert results.shape == (3,)
    assert ((results > 0) & (results <= 1)).all()
    assert search.best_score_ == results.max()
    best = clone(pipe).set_params(**search.best_params_).fit(rows, y)
    np.testing.assert_array_equal(search.predict(rows), best.predict(rows))


def test_search_over_fusions_with_a_catalogue(make, raw_catalog, rows, y, pipe):
    """The same folds give the same scores in both forms."""
    pairs, folds = rows[["user_id", "item_id"]], KFold(3, shuffle=True, random_state=0)
    search = GridSearchCV(
        make(raw_catalog), {"fusion": FUSIONS}, cv=folds, error_score="raise"
    )
    search.fit(pairs, y)
    assert search.best_params_["fusion"] in FUSIONS
    one_by_one = [
        cross_val_score(make(raw_catalog, fusion=fusion), pairs, y, cv=folds).mean()
        for fusion in FUSIONS
    ]
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], one_by_one, atol=1e-9
    )
    assert search.best_estimator_.recommend(k=2).item_id.isin(rows.item_id).all()


def test_scores_of_a_search_are_the_held_out_ndcg(make, catalog, X):
    folds = list(KFold(3, shuffle=True, random_state=0).split(X))
    scores = cross_val_score(make(catalog), X, cv=folds)
    for score, (train, test) in zip(scores, folds, strict=True):
        recommender = make(catalog).fit(X.iloc[train])
        assert recommender.score(X.iloc[test]) == score


class FirstFusion(ConcatFusion):
    """Listens to the first modality only."""

    def weigh(self, tokens, mask):
        weights = super().weigh(tokens, mask).clone()
        weights[:, 1:] = 0
        return weights


@pytest.fixture
def _registered(monkeypatch):
    from skmmrec.fusion import _registry

    monkeypatch.setattr(_registry, "_REGISTRY", dict(_registry._REGISTRY))
    register_fusion("first", FirstFusion)


@pytest.mark.usefixtures("_registered")
def test_a_fusion_of_ones_own(make, catalog, items, X, tmp_path):
    assert "first" in get_fusion_names()
    recommender = make(catalog, fusion="first").fit(X)
    by_class = make(catalog, fusion=FirstFusion).fit(X)
    np.testing.assert_array_equal(recommender.item_vectors_, by_class.item_vectors_)
    content = items.drop(columns="item_id").dropna()
    changed = content.assign(image__0=5.0)
    recommender.model_.expectation = (
        None  # it looks at all content, whatever the fusion
    )
    np.testing.assert_array_equal(
        recommender.transform(content), recommender.transform(changed)
    )
    assert not np.array_equal(
        recommender.transform(content),
        recommender.transform(content.assign(text__0=5.0)),
    )
    recommender.save(tmp_path / "model")
    loaded = type(recommender).load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(X), recommender.predict(X))


class NoisyFusion(ConcatFusion):
    """Drops out half of what training shows it."""

    def weigh(self, tokens, mask):
        return torch.dropout(super().weigh(tokens, mask), 0.5, self.training)


def test_a_fusion_with_dropout_answers_without(make, catalog, items, X):
    recommender = make(catalog, fusion=NoisyFusion).fit(X)
    content = items.drop(columns="item_id")
    vectors = recommender.transform(content)
    np.testing.assert_array_equal(recommender.transform(content), vectors)
    assert vectors.any(axis=1).all()


class FrozenFusion(ConcatFusion):
    """Has a parameter that is not to be trained."""

    def __init__(self, widths, dim):
        super().__init__(widths, dim)
        self.start = nn.Parameter(torch.ones(dim), requires_grad=False)

    def combine(self, tokens, mask):
        return super().combine(tokens, mask) + self.start


def test_what_a_fusion_has_frozen_is_not_trained(make, catalog, X):
    rec = make(catalog, fusion=FrozenFusion, training__partial_fit_epochs=2)
    rec.fit(X).partial_fit(X.head(20))
    network = rec.model_.networks[0]
    frozen = [name for name, p in network.named_parameters() if not p.requires_grad]
    assert frozen == ["fusion.start"]
    assert torch.equal(network.fusion.start, torch.ones(network.dim))


def test_registrations_end_with_their_test():
    assert "first" not in get_fusion_names()
