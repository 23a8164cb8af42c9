"""Whitened components of the distinct items."""

import pickle

import numpy as np
import pytest

from skmmrec.encoders import TextEncoder

from .test_base import count_encoded

TEXTS = [f"{word} {i}" for i in range(20) for word in ("dog", "market")]


def test_distinct_items_are_white(text_model):
    encoder = TextEncoder(text_model, n_components=3, normalize=False)
    vectors = encoder.fit_transform([*TEXTS, *TEXTS[:5] * 30, None])
    assert vectors.shape == (191, 3)
    assert vectors.dtype == np.float32
    distinct = vectors[: len(TEXTS)]
    np.testing.assert_allclose(np.cov(distinct.T), np.eye(3), atol=1e-4)
    assert not vectors[-1].any()


def test_fit_transform_encodes_once_and_equals_transform(text_model, monkeypatch):
    encoder = TextEncoder(text_model, n_components=3)
    holder = TextEncoder(text_model).fit(TEXTS)  # keeps the shared model alive
    seen = count_encoded(holder, monkeypatch)
    vectors = encoder.fit_transform(TEXTS)
    assert sorted(seen) == sorted(TEXTS)
    np.testing.assert_array_equal(vectors, encoder.transform(TEXTS))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    copy = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(vectors, copy.transform(TEXTS))
    assert len(encoder.get_feature_names_out()) == 3


def test_missing_rows_stay_missing(text_model):
    encoder = TextEncoder(text_model, n_components=2, missing="nan").fit(TEXTS)
    assert np.isnan(encoder.transform([None, "a"])).all(axis=1).tolist() == [
        True,
        False,
    ]


@pytest.mark.parametrize("column", [TEXTS[:3] * 10, [None, None]])
def test_too_few_distinct_items_are_refused(text_model, column):
    with pytest.raises(ValueError, match=r"n_components=3\) needs more distinct items"):
        TextEncoder(text_model, n_components=3).fit(column)
