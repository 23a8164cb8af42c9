"""Columns stay columns, and the transformers are scikit-learn's."""

import pickle
import struct

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from skmmrec import preprocessing
from skmmrec.encoders import AudioEncoder, ImageEncoder, TextEncoder
from skmmrec.preprocessing import (
    AudioTrimmer,
    ImageCropper,
    LoudnessNormalizer,
    TextCleaner,
)
from tests.encoders.conftest import (  # noqa: F401
    image_model,
    noise_picture,
    text_model,
    tone,
)

EVERY = [
    getattr(preprocessing, name)()
    for name in preprocessing.__all__
    if name != "BaseContentTransformer"
]


def content(transformer):
    kind = type(transformer).__name__
    if kind.startswith("Text"):
        return "<b>x</b>"
    return noise_picture(0) if kind.startswith("Image") else tone(440, 0.1)


@pytest.mark.filterwarnings("ignore:Can't test estimator")
@pytest.mark.parametrize("transformer", EVERY)
def test_scikit_learn_checks_pass(transformer):
    check_estimator(transformer, on_skip=None)


@pytest.mark.parametrize("transformer", EVERY)
class TestEvery:
    def test_columns_keep_their_kind_and_missing_values(self, transformer):
        values = [content(transformer), None, np.nan]
        column = pd.Series(values, list("abc"), name="x", dtype=object)
        series = clone(transformer).fit_transform(column)
        assert isinstance(series, pd.Series)
        assert series.name == "x"
        assert list(series.index) == list("abc")
        assert series.iloc[1] is None
        assert np.isnan(series.iloc[2])
        frame = clone(transformer).fit_transform(column.to_frame())
        assert isinstance(frame, pd.DataFrame)
        assert list(frame.columns) == ["x"]
        assert clone(transformer).fit_transform(list(column)).shape == (3,)
        matrix = np.empty((3, 1), object)
        matrix[0, 0] = content(transformer)
        assert clone(transformer).fit_transform(matrix).shape == (3, 1)

    def test_set_output_gives_tables(self, transformer):
        column = pd.Series([content(transformer), None], name="x", dtype=object)
        table = clone(transformer).set_output(transform="pandas")
        inputs = [(column.to_frame(), "x"), (column, "x"), (list(column), "x0")]
        for X, name in inputs:
            out = table.fit_transform(X)
            assert list(out.columns) == [name]
            assert out.shape == (2, 1)
            assert type(out.iloc[0, 0]) is not float
            assert list(table.get_feature_names_out()) == [name]

    def test_set_output_gives_polars_tables(self, transformer):
        table = clone(transformer).set_output(transform="polars")
        item = content(transformer)
        column = pd.Series([item, None], name="x", dtype=object)
        for X, name in [(column, "x"), ([item, None], "x0")]:
            out = table.fit_transform(X)
            assert isinstance(out, pl.DataFrame)
            assert out.columns == [name]
            assert out[name][1] is None
            plain = clone(transformer).fit_transform([item, None])
            assert pickle.dumps(out[name][0]) == pickle.dumps(plain[0])

    def test_the_input_stays_and_a_pickle_works(self, transformer):
        items = [content(transformer)]
        before = pickle.dumps(items)
        fitted = clone(transformer).fit(items)
        first = fitted.transform(items)
        again = pickle.loads(pickle.dumps(fitted)).transform(items)
        assert pickle.dumps(list(first)) == pickle.dumps(list(again))
        assert pickle.dumps(items) == before

    def test_wrong_use_is_refused(self, transformer):
        with pytest.raises(NotFittedError):
            clone(transformer).transform(["x"])
        with pytest.raises(ValueError, match="one column, got 2"):
            clone(transformer).fit(pd.DataFrame({"a": ["x"], "b": ["y"]}))
        with pytest.raises(TypeError, match="wrap it in a list"):
            clone(transformer).fit("x")
        with pytest.raises(ValueError, match="'on_error' parameter"):
            clone(transformer).set_params(on_error="skip").fit(["x"])

    def test_what_cannot_be_read_can_be_missing(self, transformer):
        lenient = clone(transformer).set_params(on_error="missing")
        with pytest.warns(UserWarning, match="1 of 2 rows could not be read"):
            out = lenient.fit_transform([object(), content(transformer)])
        assert out[0] is None
        assert out[1] is not None


def test_each_distinct_item_is_changed_once(monkeypatch):
    changed = []
    monkeypatch.setattr(
        TextCleaner, "_change", lambda self, item: changed.append(item) or item
    )
    out = TextCleaner().fit_transform(["a", "b", "a", None, "a"])
    assert changed == ["a", "b"]
    assert list(out) == ["a", "b", "a", None, "a"]


@pytest.mark.parametrize("holder", [pl.Series, pl.DataFrame])
def test_polars_columns_go_on_to_an_encoder(text_model, holder):  # noqa: F811
    texts = ["<p>good</p>", "good", None]
    X = holder("x", texts) if holder is pl.Series else holder({"x": texts})
    pipe = make_pipeline(TextCleaner(), TextEncoder(text_model))
    out = pipe.set_output(transform="polars").fit_transform(X)
    assert out.columns == [f"textencoder{i}" for i in range(8)]
    assert set(out.dtypes) == {pl.Float32}
    assert out.row(0) == out.row(1)
    assert not any(out.row(2))


def test_texts_go_on_to_an_encoder(text_model):  # noqa: F811
    pipe = make_pipeline(TextCleaner(), TextEncoder(text_model))
    vectors = pipe.fit_transform(["<p>good</p>\U0001f600", "good", None])
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert not vectors[2].any()


def test_pictures_go_on_to_an_encoder(image_model):  # noqa: F811
    picture = np.asarray(noise_picture(0))
    framed = np.pad(picture, ((9, 9), (9, 9), (0, 0)))
    pipe = make_pipeline(ImageCropper(), ImageEncoder(image_model))
    cropped, plain, missing = pipe.fit_transform([framed, picture, None])
    np.testing.assert_allclose(cropped, plain, atol=1e-5)
    assert not missing.any()


def test_sounds_go_on_to_an_encoder():
    samples, rate = tone(440, 0.5)
    quiet = (np.concatenate([np.zeros(8000), samples / 10]), rate)
    pipe = make_pipeline(
        AudioTrimmer(),
        LoudnessNormalizer(),
        AudioEncoder("MobileNetV1", pretrained=False),
    )
    vectors = pipe.fit_transform([quiet, (samples, rate), None])
    assert vectors[0] @ vectors[1] > 0.99
    assert not vectors[2].any()


def test_a_table_is_cleaned_and_encoded(text_model, image_model):  # noqa: F811
    table = pd.DataFrame({"title": ["<i>a</i>", None], "poster": [None, None]})
    table["poster"] = [noise_picture(0), noise_picture(1)]
    encode = make_column_transformer(
        (make_pipeline(TextCleaner(), TextEncoder(text_model)), "title"),
        (make_pipeline(ImageCropper(), ImageEncoder(image_model)), ["poster"]),
    )
    vectors = encode.fit_transform(table)
    assert vectors.shape == (2, 8 + 12)
    named = encode.set_output(transform="pandas").fit_transform(table)
    np.testing.assert_array_equal(named, vectors)
    assert list(named.columns[[0, -1]]) == [
        "pipeline-1__textencoder0",
        "pipeline-2__imageencoder11",
    ]


@pytest.mark.parametrize("error", [RecursionError("too deep"), struct.error("short")])
def test_whatever_a_library_raises_stays_with_the_row(monkeypatch, error):
    change = TextCleaner._change

    def fragile(self, item):
        if item == "bad":
            raise error
        return change(self, item)

    monkeypatch.setattr(TextCleaner, "_change", fragile)
    message = rf"row 1: {type(error).__name__}: {error}"
    with pytest.raises(ValueError, match=message):
        TextCleaner().fit_transform(["a", "bad"])
    with pytest.warns(UserWarning, match=message):
        cleaned = TextCleaner(on_error="missing").fit_transform(["a", "bad"])
    assert cleaned.tolist() == ["a", None]


@pytest.mark.parametrize("kind", ["category", "string", "string[pyarrow]", object])
def test_arrays_of_pandas_are_columns(kind):
    column = pd.array(["a", None, "b"], dtype=kind)
    assert TextCleaner().fit_transform(column)[[0, 2]].tolist() == ["a", "b"]
