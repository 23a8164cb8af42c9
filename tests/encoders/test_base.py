"""What every encoder owes: columns, missing values, duplicates, pickles, pipelines."""

import os
import pickle
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from copy import deepcopy

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmmrec.encoders import (
    AudioEncoder,
    BaseEncoder,
    ContentError,
    ImageEncoder,
    TextEncoder,
    VideoEncoder,
)

from .conftest import noise_picture

TEXTS = ["a dog barks", "puppy", "stock market", "a dog barks"]


def count_encoded(encoder, monkeypatch):
    """Return a list that grows with each item that is prepared for the model."""
    seen = []
    model = encoder._model
    prepare, prepare_many = model.prepare, getattr(model, "prepare_many", None)

    def counting(item):
        seen.append(item)
        return prepare(item)

    def counting_many(items):
        seen.extend(items)
        return prepare_many(items)

    if prepare_many is None:
        monkeypatch.setattr(model, "prepare", counting)
    else:
        monkeypatch.setattr(model, "prepare_many", counting_many)
    return seen


@pytest.mark.parametrize(
    "column",
    [
        TEXTS,
        tuple(TEXTS),
        [[text] for text in TEXTS],
        np.array(TEXTS),
        np.array(TEXTS, dtype=object)[:, None],
        pd.Series(TEXTS, index=[7, 7, 1, 0]),
        pd.Series(TEXTS, dtype="string"),
        pd.Series(TEXTS, dtype="category"),
        pd.DataFrame({"title": TEXTS}),
        pl.Series(TEXTS),
        pl.DataFrame({"title": TEXTS}),
        pl.DataFrame({"title": TEXTS}).to_arrow()["title"],
    ],
    ids=lambda column: f"{type(column).__module__}.{type(column).__name__}",
)
def test_any_column_gives_the_same_float32_matrix(text_encoder, column):
    vectors = clone(text_encoder).fit_transform(column)
    assert vectors.dtype == np.float32
    assert vectors.shape == (4, text_encoder.embedding_dim_)
    np.testing.assert_array_equal(vectors, text_encoder.transform(TEXTS))


def test_each_distinct_item_is_encoded_once(text_encoder, monkeypatch):
    seen = count_encoded(text_encoder, monkeypatch)
    vectors = text_encoder.transform(TEXTS * 50 + [None])
    assert sorted(seen) == sorted(set(TEXTS))
    np.testing.assert_array_equal(vectors[0], vectors[3])
    np.testing.assert_array_equal(vectors[:4], vectors[4:8])


def test_equal_pictures_are_encoded_once_whatever_holds_them(
    image_encoder, monkeypatch
):
    picture = noise_picture(1)
    seen = count_encoded(image_encoder, monkeypatch)
    image_encoder.transform([picture, picture.copy(), noise_picture(2)])
    assert len(seen) == 2


@pytest.mark.parametrize("missing", ["zero", "nan"])
def test_missing_rows_and_only_those_are_empty(text_model, missing):
    column = ["a", None, np.nan, pd.NA, pd.NaT, "", " \n", float("nan"), "b"]
    encoder = TextEncoder(text_model, missing=missing)
    vectors = encoder.fit_transform(column)
    empty = np.isnan(vectors) if missing == "nan" else vectors == 0
    expected = [False, *[True] * 7, False]
    np.testing.assert_array_equal(empty.all(axis=1), expected)
    np.testing.assert_array_equal(empty.any(axis=1), expected)
    np.testing.assert_array_equal(encoder.missing_mask(column), expected)


def test_a_column_without_any_content_gives_only_missing_rows(text_encoder):
    assert not text_encoder.transform([None, None]).any()


def test_vectors_have_unit_length_unless_asked_otherwise(text_model):
    unit = TextEncoder(text_model).fit_transform(TEXTS)
    raw = TextEncoder(text_model, normalize=False).fit_transform(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, atol=1e-5)
    assert np.ptp(np.linalg.norm(raw, axis=1)) > 0.1
    np.testing.assert_allclose(
        raw / np.linalg.norm(raw, axis=1, keepdims=True), unit, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_vectors_do_not_depend_on_their_batch(text_model, batch_size):
    texts = [f"text number {i} " + "x" * i for i in range(20)]
    encoder = TextEncoder(text_model, batch_size=batch_size).fit(texts)
    whole = encoder.transform(texts)
    single = np.vstack([encoder.transform([text]) for text in reversed(texts)])[::-1]
    np.testing.assert_allclose(whole, single, atol=1e-6)


def test_two_columns_are_refused(text_encoder):
    table = pd.DataFrame({"title": ["a"], "plot": ["b"]})
    for two in (table, pl.from_pandas(table), table.to_numpy()):
        with pytest.raises(ValueError, match="encodes one column, got 2"):
            text_encoder.transform(two)
        with pytest.raises(ValueError, match="encodes one column, got 2"):
            clone(text_encoder).fit(two)


@pytest.mark.parametrize("column", ["a text", b"bytes", 3, None])
def test_a_single_item_is_not_a_column(text_encoder, column):
    with pytest.raises(TypeError, match="TextEncoder expects one column of items"):
        text_encoder.transform(column)


def test_an_empty_column_is_refused(text_encoder):
    with pytest.raises(ValueError, match="0 rows"):
        text_encoder.fit([])
    with pytest.raises(ValueError, match="0 rows"):
        text_encoder.transform(pd.Series([], dtype=object))


def test_an_item_of_the_wrong_type_names_its_row(text_model):
    with pytest.raises(ValueError, match="TextEncoder: row 2: expected a text, got in"):
        TextEncoder(text_model).fit_transform(["a", "b", 3])
    with pytest.warns(UserWarning, match=r"2 of 4 rows .* the first: .* row 2"):
        vectors = TextEncoder(text_model, on_error="missing").fit_transform(
            ["a", "b", 3, {"b": 1}]
        )
    np.testing.assert_array_equal(vectors.any(axis=1), [True, True, False, False])


@pytest.mark.parametrize(
    "text",
    [
        "half \ud83d of an emoji",
        b"caf\xe9".decode("utf-8", "surrogateescape"),
        "\udfff",
    ],
)
def test_a_text_that_utf8_cannot_encode_names_its_row(text_model, text):
    encoder = TextEncoder(text_model).fit(["a"])
    message = r"TextEncoder: row 1: .*UTF-8.*position.*on_error=\"missing\""
    with pytest.raises(ContentError, match=message):
        encoder.transform(["a", text, "b"])
    lenient = clone(encoder).set_params(on_error="missing").fit(["a"])
    with pytest.warns(UserWarning, match="2 of 4 rows could not be read"):
        vectors = lenient.transform(["a", text, "b", text])
    np.testing.assert_array_equal(vectors.any(axis=1), [True, False, True, False])


@pytest.mark.parametrize("path", ["half\ud83d.png", "\udfff", "caf\udce9.png"])
def test_a_path_that_utf8_cannot_encode_names_its_row(image_model, tmp_path, path):
    encoder = ImageEncoder(image_model, cache=tmp_path).fit(["any"])
    with pytest.raises(ContentError, match=r"ImageEncoder: row 1 .*no such file"):
        encoder.transform([noise_picture(0), str(tmp_path / path)])


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_a_file_whose_name_is_not_utf8_is_read(image_encoder, tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    with open(path, "wb") as file:
        noise_picture(0).save(file, "PNG")
    vectors = image_encoder.transform([os.fsdecode(path), noise_picture(0)])
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["prompt", "template"])
def test_a_parameter_that_utf8_cannot_encode_is_named(text_model, name):
    encoder = TextEncoder(text_model, **{name: "\ud800 {title}"})
    with pytest.raises(ValueError, match=f"TextEncoder: {name}=.*UTF-8"):
        encoder.fit(pd.DataFrame({"title": ["a"]}))


def test_a_value_of_a_template_that_utf8_cannot_encode_names_its_row(text_model):
    films = pd.DataFrame({"title": ["a", "b"], "plot": ["c", "\ud800"]}, dtype=object)
    with pytest.raises(ContentError, match=r"row 1: .*UTF-8"):
        TextEncoder(text_model, template="{title}: {plot}").fit(films).transform(films)


class Fussy:
    """A model of a user, whose key, reading and encoding fail for some items."""

    dim, identity = 1, b"fussy"

    def prepare(self, item):
        return 1 / item["divisor"]

    def encode(self, contents):
        return np.sqrt(np.array(contents))[:, None].astype(np.float32)


class FussyEncoder(BaseEncoder):
    _items_are_paths = False

    def _load_model(self, device):
        return Fussy()

    def _model_key(self):
        return 0

    def _content_key(self, item):
        return item["divisor"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({}, "KeyError: 'divisor'"),
        ({"divisor": []}, "TypeError: unhashable type: 'list'"),
        ({"divisor": 0}, "ZeroDivisionError: division by zero"),
    ],
)
@pytest.mark.parametrize("cache", [False, True])
def test_errors_of_an_encoder_of_ones_own_name_the_row(item, message, cache, tmp_path):
    options = {"cache": tmp_path} if cache else {}
    column = [{"divisor": 2}, item, {"divisor": 4}]
    with pytest.raises(ContentError, match=f"FussyEncoder: row 1: {message}"):
        FussyEncoder(**options).fit(column).transform(column)
    lenient = FussyEncoder(on_error="missing", **options).fit(column)
    with pytest.warns(UserWarning, match=r"1 of 3 rows .* row 1: " + message):
        vectors = lenient.transform(column)
    np.testing.assert_allclose(vectors[:, 0], [1, 0, 1], atol=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_useless_vector_is_an_error_not_a_missing_row(
    text_encoder, monkeypatch, value
):
    def useless(contents):
        return np.full((len(contents), text_encoder.embedding_dim_), value)

    monkeypatch.setattr(text_encoder._model, "encode", useless)
    with pytest.raises(ValueError, match="row 1: the model gave a"):
        text_encoder.transform([None, "a"])


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("batch_size", 0),
        ("missing", "drop"),
        ("on_error", "ignore"),
        ("precision", "fp8"),
        ("normalize", "yes"),
        ("model", 3),
        ("device", "abacus"),
    ],
)
def test_invalid_parameters_are_named(text_model, parameter, value):
    encoder = TextEncoder(text_model).set_params(**{parameter: value})
    with pytest.raises(ValueError, match=parameter):
        encoder.fit(["a"])


def test_an_absent_device_is_named(text_model):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ValueError, match="device='cuda' is not available"):
        TextEncoder(text_model, device="cuda").fit(["a"])


def test_transform_needs_fit(text_model):
    with pytest.raises(NotFittedError):
        TextEncoder(text_model).transform(["a"])


def test_fit_learns_the_columns_name(text_model):
    encoder = TextEncoder(text_model).fit(pd.DataFrame({"title": TEXTS}))
    assert encoder.feature_names_in_.tolist() == ["title"]
    assert encoder.n_features_in_ == 1
    with pytest.raises(ValueError, match="feature names should match"):
        encoder.transform(pd.DataFrame({"plot": TEXTS}))
    assert not hasattr(encoder.fit(TEXTS), "feature_names_in_")


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_what_reduces_vectors_is_not_configured_by_callers(text_encoder, container):
    encoder = clone(text_encoder).set_params(n_components=2)
    wanted = encoder.fit_transform(TEXTS)
    with config_context(transform_output=container):
        table = clone(encoder).fit_transform(TEXTS)
        again = encoder.transform(TEXTS)
    assert type(table).__module__.startswith(container)
    for found in (table, again):
        np.testing.assert_array_equal(np.asarray(found), wanted)


def test_floating_point_errors_that_callers_ask_for(text_encoder):
    """PCA leaves tiny numbers, whose squares are 0."""
    with np.errstate(all="raise"):
        clone(text_encoder).set_params(n_components=2).fit_transform(TEXTS)
        vectors = np.array([[1e-30, 1.0], [1e-30, 0.0]], np.float32)
        finished, _ = text_encoder._finish(vectors)
    np.testing.assert_allclose(finished[0], [0.0, 1.0], rtol=1e-6, atol=1e-6)


def test_output_names_and_containers(text_encoder):
    names = text_encoder.get_feature_names_out()
    assert names.tolist() == [f"textencoder{i}" for i in range(8)]
    series = pd.Series(TEXTS, index=list("wxyz"))
    vectors = text_encoder.transform(TEXTS)
    as_pandas = clone(text_encoder).set_output(transform="pandas").fit_transform(series)
    assert as_pandas.index.tolist() == list("wxyz")
    assert as_pandas.columns.tolist() == names.tolist()
    assert set(as_pandas.dtypes) == {np.dtype("float32")}
    np.testing.assert_array_equal(as_pandas, vectors)
    as_polars = clone(text_encoder).set_output(transform="polars").fit_transform(series)
    assert as_polars.columns == names.tolist()
    np.testing.assert_array_equal(as_polars, vectors)


def test_a_pickle_carries_neither_weights_nor_resolved_paths(minilm):
    data = pickle.dumps(minilm)
    assert len(data) < 2_000
    assert b"site-packages" not in data
    copy = pickle.loads(data)
    assert copy._model is None
    np.testing.assert_array_equal(copy.transform(TEXTS), minilm.transform(TEXTS))


def test_a_pickle_leaves_the_weights_where_they_are(minilm):
    minilm.transform(["a"])
    model = minilm._model
    pickle.dumps(minilm)
    assert minilm._model is model is not None


@pytest.mark.slow
def test_a_dumped_encoder_works_in_another_process(text_encoder, tmp_path):
    path = tmp_path / "encoder.joblib"
    joblib.dump(text_encoder, path)
    code = (
        "import sys, joblib, numpy;"
        "encoder = joblib.load(sys.argv[1]);"
        "numpy.save(sys.argv[2], encoder.transform(['a dog barks']))"
    )
    out = tmp_path / "vectors.npy"
    subprocess.run([sys.executable, "-c", code, str(path), str(out)], check=True)
    np.testing.assert_array_equal(np.load(out), text_encoder.transform(["a dog barks"]))


def test_clones_share_one_model_and_let_it_go(text_encoder, text_model):
    first = clone(text_encoder).fit(["a"])
    assert first._model is text_encoder._model
    assert TextEncoder(text_model, batch_size=2).fit(["a"])._model is first._model


def test_encoders_work_in_column_transformer_and_pipeline(
    text_model, image_model, picture_file
):
    table = pd.DataFrame(
        {
            "title": ["a", None, "c"],
            "poster": [str(picture_file), None, str(picture_file)],
        },
        index=[5, 6, 7],
    )
    encode = make_column_transformer(
        (TextEncoder(text_model), "title"),
        (ImageEncoder(image_model), ["poster"]),
    )
    vectors = make_pipeline(encode, StandardScaler()).fit_transform(table)
    assert vectors.shape == (3, 8 + 12)
    assert encode.get_feature_names_out()[8] == "imageencoder__imageencoder0"
    assert not encode.transform(table)[1].any()
    framed = clone(encode).set_output(transform="pandas").fit_transform(table)
    assert framed.index.tolist() == [5, 6, 7]


def test_a_progress_bar_only_when_asked(text_model, capfd):
    TextEncoder(text_model).fit_transform(TEXTS)
    assert "TextEncoder" not in capfd.readouterr().err
    TextEncoder(text_model, verbose=True).fit_transform(TEXTS)
    assert "TextEncoder: 100%" in capfd.readouterr().err


def test_importing_the_encoders_loads_no_model_library():
    code = (
        "import sys, skmmrec.encoders;"
        "heavy = {'torch', 'open_clip', 'sentence_transformers', 'librosa', 'sklearn'};"
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("mode", ["double", "device", "autocast"])
@pytest.mark.parametrize("kind", ["text", "image", "sound"])
def test_modes_of_the_caller_make_no_difference(
    kind, mode, text_encoder, image_encoder
):
    if (kind, mode) == ("sound", "device") and torch.__version__.startswith("2.6"):
        pytest.skip("torch 2.6 makes some tensors on the default device all the same")
    rate = 32_000
    tone = np.sin(np.arange(rate) * 0.05).astype(np.float32)
    grey = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    encoder, column = {
        "text": (text_encoder, ["a storm", "at sea"]),
        "image": (image_encoder, [grey, grey[::-1].copy()]),
        "sound": (
            # A seed of its own: no fixture holds the network, so it is built anew.
            AudioEncoder("MobileNetV1", pretrained=False, random_state=1),
            [(tone, rate), (tone[::-1].copy(), rate)],
        ),
    }[kind]
    expected = clone(encoder).fit_transform(column)
    with caller_modes(mode):
        found = clone(encoder).fit_transform(column)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@contextmanager
def caller_modes(mode):
    if mode == "double":
        torch.set_default_dtype(torch.float64)
    context = {
        "double": nullcontext,
        "device": lambda: torch.device("meta"),
        "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    }[mode]
    try:
        with context():
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def test_warnings_point_at_the_line_of_the_caller(text_encoder):
    """Also where scikit-learn calls the encoder on the caller's behalf."""
    text_encoder.set_params(on_error="missing")
    pipeline = make_column_transformer((text_encoder, "text"))
    for run, column in (
        (text_encoder.fit_transform, ["a dog", b"\xff"]),
        (pipeline.fit_transform, pd.DataFrame({"text": ["a dog", b"\xff"]})),
    ):
        with pytest.warns(UserWarning, match="1 of 2 rows") as caught:
            run(column)
        assert [warning.filename for warning in caught] == [__file__]


def state_of(encoder):
    """What a fit sets, with arrays as lists."""
    return {
        name: getattr(value, "tolist", lambda value=value: value)()
        for name, value in vars(encoder).items()
        if name.endswith("_") or name == "_model"
    }


@pytest.mark.parametrize(
    ("settings", "column"),
    [
        ({"n_components": 50}, pd.DataFrame({"other": TEXTS})),
        ({"model": "/no/such/folder"}, pd.DataFrame({"other": TEXTS})),
        ({"model": "/no/such/folder"}, TEXTS),
        ({"batch_size": "many"}, TEXTS),
        ({"device": "abacus"}, pd.DataFrame({"other": TEXTS})),
        ({"prompt_name": "no such"}, TEXTS),
        ({"truncate_dim": 10_000, "n_components": 3}, TEXTS),
        ({}, pd.DataFrame({"one": TEXTS, "two": TEXTS})),
        ({"n_components": 2}, ["a", 1, "b"]),
    ],
)
@pytest.mark.parametrize("method", ["fit", "fit_transform"])
def test_a_failed_fit_leaves_an_encoder_as_it_was(text_model, settings, column, method):
    table = pd.DataFrame({"text": TEXTS})
    encoder = TextEncoder(text_model, n_components=2).fit(table)
    before, vectors = state_of(encoder), encoder.transform(table)
    known = {name: getattr(encoder, name) for name in settings}
    with pytest.raises((ValueError, OSError, RuntimeError)):
        getattr(encoder.set_params(**settings), method)(column)
    assert state_of(encoder) == before
    found = encoder.set_params(**known).transform(table)
    np.testing.assert_allclose(found, vectors, rtol=1e-6, atol=1e-6)


def test_a_failed_first_fit_leaves_an_encoder_unfitted(text_model):
    encoder = TextEncoder(text_model, n_components=2)
    with pytest.raises(ValueError, match="row 1"):
        encoder.fit(pd.DataFrame({"text": ["a", 1, "b"]}))
    assert not state_of(encoder)
    with pytest.raises(NotFittedError):
        encoder.transform(["a"])


def test_parameters_inside_of_what_has_none_are_named():
    with pytest.raises(ValueError, match=r"VideoEncoder\(image_encoder=None\) has no"):
        VideoEncoder().set_params(image_encoder__batch_size=3)
    video = VideoEncoder().set_params(
        image_encoder=ImageEncoder(), image_encoder__batch_size=3
    )
    assert video.get_params()["image_encoder__batch_size"] == 3
    with pytest.raises(ValueError, match="Invalid parameter 'nothing'"):
        video.set_params(nothing__batch_size=3)


@pytest.mark.parametrize("fitted", [{}, {"n_components": 2}])
@pytest.mark.parametrize(
    "later",
    [
        {"n_components": 3},
        {"n_components": None},
        {"model": "/no/such/folder"},
        {"truncate_dim": 4},
        {"prompt": "query: "},
        {"template": "{text}!"},
        {"normalize": False},
        {"missing": "nan"},
    ],
)
def test_parameters_set_after_a_fit_count_from_the_next_fit_on(
    text_model, fitted, later
):
    table = pd.DataFrame({"text": [*TEXTS, "one more", "another", None]})
    encoder = TextEncoder(text_model, **fitted).fit(table)
    before, names = encoder.transform(table), list(encoder.get_feature_names_out())
    encoder.set_params(**later)
    for known in (encoder, pickle.loads(pickle.dumps(encoder)), deepcopy(encoder)):
        found = known.transform(table)
        np.testing.assert_allclose(found, before, rtol=1e-6, atol=1e-6)
        assert list(known.get_feature_names_out()) == names
    if later != {"model": "/no/such/folder"}:
        fresh = clone(encoder).fit_transform(table)
        found = encoder.fit(table).transform(table)
        np.testing.assert_allclose(found, fresh, rtol=1e-6, atol=1e-6)


def test_a_fit_without_a_reduction_forgets_the_last_one(text_model):
    encoder = TextEncoder(text_model, n_components=2).fit(TEXTS)
    encoder.set_params(n_components=None).fit(TEXTS)
    assert not hasattr(encoder, "whitening_")


def test_how_a_model_runs_counts_at_once(text_model):
    encoder = TextEncoder(text_model).fit(TEXTS)
    first = encoder._loaded_model()
    assert encoder.set_params(batch_size=1)._loaded_model() is first
    other = encoder.set_params(precision="bf16")._loaded_model()
    assert other is not first
    again = clone(encoder).fit(TEXTS)
    assert again._loaded_model() is other
    vectors = encoder.transform(TEXTS)
    np.testing.assert_allclose(vectors, again.transform(TEXTS), atol=1e-6)
