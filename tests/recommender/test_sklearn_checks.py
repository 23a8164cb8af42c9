"""What scikit-learn expects beside what its own checks ask."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError

from skmmrec import MultimodalFusionRecommender


def test_methods_need_a_fit(X):
    for name in ("predict", "transform", "score"):
        with pytest.raises(NotFittedError):
            getattr(MultimodalFusionRecommender(), name)(X)
    for name in ("recommend", "similar_items", "save"):
        with pytest.raises(NotFittedError):
            getattr(MultimodalFusionRecommender(), name)("x")
    with pytest.raises(NotFittedError):
        MultimodalFusionRecommender().serving_vectors()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("catalog", "items.csv"),
        ("fusion", 3),
        ("n_factors", 0),
        ("n_factors", -4),
        ("n_factors", 2.5),
        ("modalities", ["text"]),
        ("regularization__n_components", 0),
        ("training__max_epochs", -1),
        ("training__batch_size", 0),
        ("training__batch_size", "big"),
        ("training__learning_rate", 0.0),
        ("training__n_negatives", 0),
        ("regularization__dropout", 1.0),
        ("regularization__modality_dropout", -0.1),
        ("regularization__l2", -1e-3),
        ("user_tower__history_exponent", -1),
        ("cold_popularity", 0),
        ("device", 0),
        ("random_state", "seed"),
        ("verbose", "yes"),
    ],
)
def test_a_wrong_parameter_is_named(make, catalog, X, name, value):
    recommender = make(catalog).set_params(**{name: value})
    with pytest.raises(
        InvalidParameterError, match=f"'{name.rpartition('__')[2]}' parameter"
    ):
        recommender.fit(X)


def test_an_unknown_fusion_is_named(make, catalog, X):
    with pytest.raises(ValueError, match=r"fusion must be one of .*'gated'.*'mix'"):
        make(catalog, fusion="mix").fit(X)


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_an_unknown_device_is_named(make, catalog, X, device):
    with pytest.raises((ValueError, RuntimeError), match=device.partition(":")[0]):
        make(catalog, device=device).fit(X)


def test_clone_forgets_the_fit_and_keeps_the_parameters(fitted):
    copy = clone(fitted)
    assert repr(copy.get_params()) == repr(fitted.get_params())
    assert copy.catalog is fitted.catalog
    assert copy.training is not fitted.training
    assert not hasattr(copy, "item_vectors_")


def test_fit_leaves_the_parameters_alone(make, catalog, X):
    recommender = make(catalog, random_state=3)
    before = recommender.get_params()
    assert recommender.fit(X).get_params() == before


def test_set_output_pandas(fitted, fitted_flat, X, flat):
    names = [f"multimodalfusionrecommender{n}" for n in range(6)]
    for recommender, table in ((fitted, X), (fitted_flat, flat)):
        assert recommender.get_feature_names_out().tolist() == names
        expected = recommender.transform(table)
        recommender = clone(recommender).set_output(transform="pandas")
        frame = recommender.fit(table).transform(table)
        assert list(frame) == names
        assert frame.shape == expected.shape
        pd.testing.assert_index_equal(frame.index, table.index)


def test_feature_names_are_checked(fitted_flat, flat):
    assert fitted_flat.feature_names_in_.tolist() == list(flat)
    assert fitted_flat.n_features_in_ == flat.shape[1]
    with pytest.raises(ValueError, match="image__0"):
        fitted_flat.predict(flat.drop(columns="image__0"))


def test_fitted_attributes_have_their_shapes(fitted, items):
    assert fitted.item_vectors_.shape == (len(items), 6)
    assert fitted.item_vectors_.index.tolist() == sorted(items.item_id)
    assert fitted.user_vectors_.shape == (9, 6)
    assert fitted.item_biases_.index.equals(fitted.item_vectors_.index)
    dtypes = {
        *fitted.item_vectors_.dtypes,
        *fitted.user_vectors_.dtypes,
        fitted.item_biases_.dtype,
    }
    assert dtypes == {np.dtype(np.float32)}
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 3
    assert np.isfinite(fitted.loss_curve_).all()
    assert not fitted.model_.is_flat
