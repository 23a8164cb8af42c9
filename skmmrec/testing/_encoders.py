"""Tests that every encoder must pass."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from skmmrec._sklearn import clone
from skmmrec.encoders import BaseEncoder

# Absolute difference that other batches may make: unit vectors differ by rounding of
# float32, below 1e-6 in the encoders here.
TOLERANCE = 1e-5
# Bytes of a pickle without weights: the parameters, and nothing of megabytes.
LARGEST_PICKLE = 20_000


class EncoderTests:
    """Tests of a `BaseEncoder`, which turns a column of raw content into vectors.

    Rows must keep their order. Each distinct item must be encoded once, independently
    of others. A missing row must stay missing. Errors must name the row of an item that
    cannot be read, whatever a library raises for it. A pickle must contain no weights.

    Override the fixtures `encoder` and `items`, `bad_item` if an item of the right type
    can be unreadable, and `other_encoder` to show that a cache tells models apart.

    Examples
    --------
    >>> import pytest
    >>> from skmmrec import TextEncoder
    >>> from skmmrec.testing import EncoderTests
    >>> class TestMiniLM(EncoderTests):
    ...     @pytest.fixture
    ...     def encoder(self):
    ...         return TextEncoder("package:all-MiniLM-L6-v2")
    ...     @pytest.fixture
    ...     def items(self):
    ...         return ["a dog barks", "puppy", "stock market"]
    """

    @pytest.fixture
    def encoder(self) -> BaseEncoder:
        """Return an unfitted encoder; with few weights, the tests are quick."""
        raise NotImplementedError("override the fixture encoder")

    @pytest.fixture
    def items(self) -> Sequence[Any]:
        """Return at least three distinct items that can be read."""
        raise NotImplementedError("override the fixture items")

    @pytest.fixture
    def bad_item(self) -> Any:
        """Return an item that cannot be read."""
        return {"of": "no type that is encoded"}

    @pytest.fixture
    def other_encoder(self) -> BaseEncoder | None:
        """Return the encoder with another model or setting, which changes vectors."""
        return None

    @pytest.fixture
    def fitted(self, encoder: BaseEncoder, items: Sequence[Any]) -> BaseEncoder:
        """Return the encoder, fitted."""
        return encoder.fit(_column(items))

    @pytest.mark.filterwarnings("ignore:Can't test estimator")
    def test_it_passes_the_checks_of_scikit_learn(self, encoder: BaseEncoder) -> None:
        check_estimator(encoder, on_skip=None)

    def test_nothing_is_loaded_before_fit(
        self, encoder: BaseEncoder, items: Sequence[Any]
    ) -> None:
        assert vars(encoder).keys() == encoder.get_params(deep=False).keys()
        with pytest.raises(NotFittedError):
            encoder.transform(_column(items))

    def test_a_row_is_a_float32_vector(
        self, fitted: BaseEncoder, items: Sequence[Any]
    ) -> None:
        vectors = fitted.transform(_column(items))
        assert vectors.dtype == np.float32
        assert vectors.shape == (len(items), fitted.embedding_dim_)
        assert np.isfinite(vectors).all()
        assert len(np.unique(vectors, axis=0)) == len(items)

    def test_fit_transform_is_fit_then_transform(
        self, encoder: BaseEncoder, items: Sequence[Any]
    ) -> None:
        vectors = encoder.fit_transform(_column(items))
        np.testing.assert_array_equal(vectors, encoder.transform(_column(items)))

    def test_rows_keep_their_order_in_any_batch(
        self, fitted: BaseEncoder, items: Sequence[Any]
    ) -> None:
        vectors = fitted.transform(_column(items))
        backwards = fitted.transform(_column(items[::-1]))
        np.testing.assert_allclose(backwards[::-1], vectors, atol=TOLERANCE)
        alone = [fitted.transform(_column([item])) for item in items]
        np.testing.assert_allclose(np.vstack(alone), vectors, atol=TOLERANCE)

    def test_each_distinct_item_is_encoded_once(
        self,
        fitted: BaseEncoder,
        items: Sequence[Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        prepared, n = _note_prepared(fitted, monkeypatch), len(items)
        vectors = fitted.transform(_column([*items, None, *items, *items]))
        assert len(prepared) == n
        np.testing.assert_array_equal(vectors[:n], vectors[n + 1 : 2 * n + 1])

    @pytest.mark.parametrize("missing", ["zero", "nan"])
    def test_missing_rows_and_only_those_are_empty(
        self, encoder: BaseEncoder, items: Sequence[Any], missing: str
    ) -> None:
        column = _column([None, items[0], np.nan, pd.NA, "", items[1]])
        vectors = encoder.set_params(missing=missing).fit_transform(column)
        empty = np.isnan(vectors) if missing == "nan" else vectors == 0
        expected = [True, False, True, True, True, False]
        assert empty.all(axis=1).tolist() == expected
        assert (np.isnan(vectors).any(axis=1) <= expected).all()
        assert encoder.missing_mask(column).tolist() == expected

    def test_an_item_that_cannot_be_read_names_its_row(
        self, fitted: BaseEncoder, items: Sequence[Any], bad_item: Any
    ) -> None:
        with pytest.raises(ValueError, match="row 2"):
            fitted.transform(_column([items[0], None, bad_item, items[1]]))

    def test_an_item_that_cannot_be_read_may_be_missing(
        self, fitted: BaseEncoder, items: Sequence[Any], bad_item: Any
    ) -> None:
        expected = fitted.transform(_column([items[0], None, items[1]]))
        encoder = clone(fitted).set_params(on_error="missing").fit(_column(items))
        with pytest.warns(UserWarning, match="1 of 3 rows could not be read"):
            vectors = encoder.transform(_column([items[0], bad_item, items[1]]))
        np.testing.assert_allclose(vectors, expected, atol=TOLERANCE)

    @pytest.mark.parametrize("step", ["prepare", "encode"])
    def test_what_a_library_raises_stays_with_its_row(
        self,
        encoder: BaseEncoder,
        items: Sequence[Any],
        step: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        encoder.set_params(on_error="missing").fit(_column(items))
        expected = encoder.transform(_column(items))
        _fail_for(items[0], step, encoder, monkeypatch)
        with pytest.warns(
            UserWarning, match=r"1 of \d+ rows .* row 0.*a library fails"
        ):
            vectors = encoder.transform(_column(items))
        np.testing.assert_array_equal(vectors[0], np.zeros_like(vectors[0]))
        np.testing.assert_allclose(vectors[1:], expected[1:], atol=TOLERANCE)

    def test_items_are_the_same_prepared_together(
        self, fitted: BaseEncoder, items: Sequence[Any]
    ) -> None:
        model: Any = fitted._loaded_model()
        if not hasattr(model, "prepare_many"):
            pytest.skip("the model prepares items one by one")
        together = list(model.prepare_many([*items, items[0]]))
        alone = [model.prepare(item) for item in [*items, items[0]]]
        found, expected = model.encode(together), model.encode(alone)
        atol = TOLERANCE * np.abs(expected).max()  # no unit length is asked for
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=atol)

    def test_batches_may_start_before_others_are_waited_for(
        self, fitted: BaseEncoder, items: Sequence[Any]
    ) -> None:
        model: Any = fitted._loaded_model()
        if not hasattr(model, "start"):
            pytest.skip("the model encodes a batch at once")
        contents = [model.prepare(item) for item in items]
        expected = [model.encode([content]) for content in contents]
        waits = [model.start([content]) for content in contents]
        for wait, vector in zip(waits, expected, strict=True):
            atol = TOLERANCE * np.abs(vector).max()  # no unit length is asked for
            np.testing.assert_allclose(wait(), vector, rtol=TOLERANCE, atol=atol)

    def test_frames_come_back_with_names_and_index(
        self, fitted: BaseEncoder, items: Sequence[Any]
    ) -> None:
        vectors = fitted.transform(_column(items))
        names = fitted.get_feature_names_out().tolist()
        assert len(names) == len(set(names)) == fitted.embedding_dim_
        index = [f"row {n}" for n in range(len(items))]
        encoder = clone(fitted).set_output(transform="pandas")
        frame: Any = encoder.fit_transform(pd.Series(_column(items), index))
        assert frame.index.tolist() == index
        assert frame.columns.tolist() == names
        np.testing.assert_array_equal(frame, vectors)

    def test_frames_may_be_of_polars(
        self, fitted: BaseEncoder, items: Sequence[Any]
    ) -> None:
        polars = pytest.importorskip("polars")
        encoder = clone(fitted).set_output(transform="polars")
        frame: Any = encoder.fit_transform(pd.Series(_column(items)))
        assert isinstance(frame, polars.DataFrame)
        assert frame.columns == fitted.get_feature_names_out().tolist()

    def test_two_columns_are_refused(
        self, fitted: BaseEncoder, items: Sequence[Any]
    ) -> None:
        table = pd.DataFrame({"a": _column(items), "b": _column(items)})
        with pytest.raises(ValueError, match="one column"):
            fitted.transform(table)

    def test_a_pickle_carries_no_weights(
        self, fitted: BaseEncoder, items: Sequence[Any]
    ) -> None:
        vectors, data = fitted.transform(_column(items)), pickle.dumps(fitted)
        assert len(data) < LARGEST_PICKLE
        copy = pickle.loads(data)
        np.testing.assert_array_equal(copy.transform(_column(items)), vectors)

    def test_vectors_are_found_in_the_cache(
        self,
        encoder: BaseEncoder,
        items: Sequence[Any],
        tmp_path: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        encoder.set_params(cache=tmp_path / "cache").fit(_column(items))
        vectors = encoder.transform(_column(items))
        prepared = _note_prepared(encoder, monkeypatch)
        again = encoder.transform(_column(items[::-1]))
        np.testing.assert_array_equal(again[::-1], vectors)
        assert prepared == []

    def test_a_cache_tells_models_apart(
        self,
        encoder: BaseEncoder,
        other_encoder: BaseEncoder | None,
        items: Sequence[Any],
        tmp_path: Any,
    ) -> None:
        if other_encoder is None:
            pytest.skip("the fixture other_encoder gives no other model")
        expected = clone(other_encoder).fit_transform(_column(items))
        encoder.set_params(cache=tmp_path / "cache")
        vectors = encoder.fit_transform(_column(items))
        assert not np.array_equal(vectors, expected), "other_encoder is no other one"
        other_encoder.set_params(cache=tmp_path / "cache")
        found = other_encoder.fit_transform(_column(items))
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE)


def _column(items: Sequence[Any]) -> np.ndarray:
    """Put items of any type into a column."""
    column = np.empty(len(items), object)
    for row, item in enumerate(items):
        column[row] = item
    return column


def _note_prepared(encoder: BaseEncoder, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that records each item that is prepared for the model."""
    prepared = []

    def note(item: Any, content: Any) -> Any:
        prepared.append(item)
        return content

    _change_contents(encoder._loaded_model(), note, monkeypatch)
    return prepared


def _change_contents(
    model: Any, change: Callable[[Any, Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let a function of an item and its content decide what the model gets."""
    prepare = model.prepare
    prepare_many: Any = getattr(model, "prepare_many", None)

    def preparing(item: Any) -> Any:
        return change(item, prepare(item))

    def preparing_many(items: list[Any]) -> list[Any]:
        pairs = zip(items, prepare_many(items), strict=True)
        return [_attempt(change, item, content) for item, content in pairs]

    if prepare_many is None:
        monkeypatch.setattr(model, "prepare", preparing)
    else:  # which may call `prepare`
        monkeypatch.setattr(model, "prepare_many", preparing_many)


def _attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return a function's result, or its error."""
    try:
        return function(*arguments)
    except Exception as error:
        return error


def _fail_for(
    item: Any, step: str, encoder: BaseEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let the model raise an error of a library whenever it meets an item."""
    model, marked = encoder._loaded_model(), []
    encode, key = model.encode, encoder._content_key(item)

    def mark(one: Any, content: Any) -> Any:
        if encoder._content_key(one) == key:
            marked.append(content)
            if step == "prepare":
                raise RuntimeError("a library fails")
        return content

    def check(contents: list[Any]) -> None:
        if any(content is bad for content in contents for bad in marked):
            raise RuntimeError("a library fails")

    def encoding(contents: list[Any]) -> np.ndarray:
        check(contents)
        return encode(contents)

    _change_contents(model, mark, monkeypatch)
    monkeypatch.setattr(model, "encode", encoding)
    start = getattr(model, "start", None)
    if start is not None:

        def starting(contents: list[Any]) -> Callable[[], np.ndarray]:
            check(contents)
            return start(contents)

        monkeypatch.setattr(model, "start", starting)
