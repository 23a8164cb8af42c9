"""Texts: meaning, and models that are not there."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import narwhals
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.compose import make_column_transformer

from skmmrec import ItemCatalog
from skmmrec.encoders import TextEncoder
from skmmrec.encoders._sentence_models import _begins
from skmmrec.interactions import as_frame
from skmmrec.runtime import torch_threads


def test_meaning_is_near(minilm):
    dog, puppy, market = minilm.transform(["a dog barks", "puppy", "stock market"])
    assert dog @ puppy > dog @ market + 0.2


def test_it_is_the_library_called_directly(minilm):
    from sentence_transformers import SentenceTransformer

    from skmmrec.runtime import packaged_file

    texts = ["short", "a much longer text about the films of the silent era", "Ü 漢字"]
    folder = packaged_file("package:all-MiniLM-L6-v2").parent
    direct = SentenceTransformer(str(folder), device="cpu").encode(texts)
    np.testing.assert_allclose(minilm.transform(texts), direct, atol=1e-6)


def test_padding_does_not_change_a_vector(minilm):
    texts = ["cat", "a long text " * 40]
    both = minilm.transform(texts)
    alone = np.vstack([minilm.transform([text]) for text in texts])
    np.testing.assert_allclose(both, alone, atol=1e-6)


def test_half_precision_is_close_and_comes_out_as_float32(minilm):
    half = TextEncoder("package:all-MiniLM-L6-v2", device="cpu", precision="bf16")
    vectors = half.fit_transform(["a dog barks"])
    assert vectors.dtype == np.float32
    reference = minilm.transform(["a dog barks"])
    assert 0.99 < (vectors @ reference.T).item() < 0.9999999


def test_threads_share_an_encoder(minilm):
    from concurrent.futures import ThreadPoolExecutor

    columns = [[f"text {i} {'word ' * i}" for i in range(n, n + 5)] for n in range(6)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(minilm.transform, columns))
    for column, vectors in zip(columns, together, strict=True):
        np.testing.assert_allclose(vectors, minilm.transform(column), atol=1e-6)


@pytest.mark.parametrize("model", ["./absent", "/no/such/model", Path("absent")])
def test_a_folder_that_is_not_there_names_the_argument(model):
    with pytest.raises(FileNotFoundError, match=r"model='.*' does not exist"):
        TextEncoder(model).fit(["a"])


def test_a_folder_without_a_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"TextEncoder\(model=.*could not be loaded"):
        TextEncoder(tmp_path).fit(["a"])


def test_int8_is_close_and_named_where_it_cannot_be(minilm, text_model):
    texts = ["a dog barks", "puppy", "stock market", "a film about the sea"]
    exact = minilm.transform(texts)
    vectors = TextEncoder(
        "package:all-MiniLM-L6-v2", device="cpu", precision="int8"
    ).fit_transform(texts)
    cosine = (vectors * exact).sum(axis=1)
    assert 0.95 < cosine.min() < 0.99999
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    with pytest.raises(ValueError, match="needs linear layers"):
        TextEncoder(text_model, precision="int8").fit(["a"])


def test_a_long_text_is_read_to_its_end(minilm):
    start = "The committee met and discussed the budget of the town. " * 40
    story = start + "Then a dog barked at a puppy. " * 40
    cut = TextEncoder("package:all-MiniLM-L6-v2", long_texts="truncate").fit(["a"])
    dog = minilm.transform(["dogs barking"])[0]
    assert minilm.transform([story])[0] @ dog > cut.transform([story])[0] @ dog + 0.1
    np.testing.assert_allclose(
        cut.transform([story]), cut.transform([start]), atol=0.05
    )


def test_chunks_cover_the_text_and_fit_the_model(minilm):
    from skmmrec.encoders._chunks import chunk_text

    tokenizer = minilm._model._transformer.tokenizer
    words = " ".join(f"word{i}" for i in range(300))
    for text in (words, "漢字" * 200, "x" * 3000, "short"):
        pieces = chunk_text(text, tokenizer, 100)
        assert "".join(p for p, _ in pieces).replace(" ", "") == text.replace(" ", "")
        assert all(0 < n_tokens <= 100 for _, n_tokens in pieces)
    assert all(p.startswith("word") for p, _ in chunk_text(words, tokenizer, 100))


def test_a_prompt_is_part_of_the_text(minilm, text_model):
    prompted = TextEncoder("package:all-MiniLM-L6-v2", prompt="query: ").fit(["a"])
    np.testing.assert_allclose(
        prompted.transform(["dog"]), minilm.transform(["query: dog"]), atol=1e-6
    )
    with pytest.raises(ValueError, match="passage"):
        TextEncoder(text_model, prompt_name="passage").fit(["a"])


def test_leading_dimensions_can_be_kept(minilm):
    short = TextEncoder("package:all-MiniLM-L6-v2", truncate_dim=64)
    vectors = short.fit_transform(["dog", "cat"])
    expected = minilm.transform(["dog", "cat"])[:, :64]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, expected, atol=1e-6)


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_template_joins_columns(text_model, text_encoder, frame):
    films = frame(
        {
            "title": ["Up", None, None, "It"],
            "plot": ["balloons", "a whale", None, None],
            "year": [2009, 1956, 1999, 2017],
        }
    )
    encoder = TextEncoder(text_model, template="{title}: {plot}").fit(films)
    vectors = encoder.transform(films)
    expected = text_encoder.transform(["Up: balloons", ": a whale", None, "It: "])
    np.testing.assert_array_equal(vectors, expected)
    assert encoder.missing_mask(films).tolist() == [False, False, True, False]
    assert encoder.n_features_in_ == 3
    with pytest.raises(ValueError, match=r"names the columns \['name'\]"):
        TextEncoder(text_model, template="{name}").fit(films)
    with pytest.raises(ValueError, match="names the columns"):
        TextEncoder(text_model, template="{title}").fit(["a"])


@pytest.mark.parametrize(
    "convert",
    [
        lambda table: table,
        pa.Table.from_pandas,
        pl.from_pandas,
        lambda table: narwhals.from_native(pl.from_pandas(table)),
    ],
    ids=["pandas", "Arrow", "polars", "narwhals"],
)
def test_integers_stay_integers_where_some_are_missing(text_model, convert):
    years = pd.array([2009, None, 2017], "Int64")
    films = pd.DataFrame({"film": list("abc"), "year": years})
    encoder = TextEncoder(text_model, template="from {year}")
    words = make_column_transformer((encoder, ["year"]))
    catalog = ItemCatalog(convert(films), words, key="film", on_empty="ignore")
    expected = TextEncoder(text_model).fit_transform(["from 2009", None, "from 2017"])
    np.testing.assert_array_equal(catalog.blocks.values["text"], expected)
    assert catalog.items.dtypes["year"] == pd.Int64Dtype()
    assert as_frame(convert(films.dropna())).dtypes["year"].kind == "i"


@pytest.mark.parametrize(
    "template", ["{title} {price:.2f}", "{title!s:>3} {price!r}", "{title:{price}}"]
)
def test_a_missing_value_leaves_its_place_empty_in_any_format(text_model, template):
    table = pd.DataFrame({"title": ["a", "b", None], "price": [5, None, 7.0]})
    encoder = TextEncoder(text_model, template=template, on_error="missing")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        vectors = encoder.fit(table).transform(table)
    assert vectors[1].any()


def test_a_row_that_does_not_fit_a_template_is_named(text_model, text_encoder):
    table = pd.DataFrame({"title": ["a", "b", "c"], "price": [5, "free", None]})
    encoder = TextEncoder(text_model, template="{title} {price:d}").fit(table)
    with pytest.raises(ValueError, match=r"row 1: does not fit the template .*'d'"):
        encoder.transform(table)
    encoder.set_params(on_error="missing")
    with pytest.warns(UserWarning, match="1 of 3 rows .* row 1: does not fit"):
        vectors = encoder.transform(table)
    expected = text_encoder.transform(["a 5", None, "c "])
    np.testing.assert_allclose(vectors, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{title", "is no format string: expected '}'"),
        ("{title} {}", r"names the columns \['title', ''\]"),
        ("{title:{width}}", r"names the columns \['title', 'width'\]"),
        ("title", r"names the columns \[\]"),
    ],
)
def test_templates_that_are_none(text_model, template, message):
    with pytest.raises(ValueError, match=message):
        TextEncoder(text_model, template=template).fit(pd.DataFrame({"title": ["a"]}))


@pytest.mark.parametrize("table", [pa.table, pa.RecordBatch.from_pydict])
def test_tables_of_arrow_are_read(text_model, text_encoder, table):
    words = table({"title": ["a", None, "b"]})
    expected = text_encoder.transform(["a", None, "b"])
    for encoder in (text_encoder, TextEncoder(text_model, template="{title}")):
        found = encoder.fit(words).transform(words)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "blank",
    ["\u200b\ufeff", "\u00ad \u2060", "\x00\x1f", "\u202e\u202c", "\u3000\u2028"],
)
def test_texts_that_show_nothing_are_missing(text_encoder, blank):
    family = "\N{MAN}\u200d\N{WOMAN}"
    texts = ["letters", blank, blank + "letters", "...", family]
    assert text_encoder.missing_mask(texts).tolist() == [False, True, *[False] * 3]
    assert text_encoder.transform(texts[:4]).any(axis=1).tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    "missing",
    [np.datetime64("NaT"), np.timedelta64("NaT"), Decimal("NaN"), Decimal("sNaN")],
)
def test_every_kind_of_no_value_is_missing(text_encoder, missing):
    assert text_encoder.missing_mask(["a", missing]).tolist() == [False, True]


@pytest.mark.parametrize(
    ("table", "advice"),
    [
        (pl.LazyFrame({"title": ["a"]}), r"got LazyFrame: give what its collect\(\)"),
        (
            type("Lazy", (), {"columns": ["title"], "compute": None})(),
            r"got Lazy: give what its compute\(\)",
        ),
    ],
)
def test_tables_that_are_not_read_are_refused_with_advice(text_encoder, table, advice):
    with pytest.raises(TypeError, match=f"TextEncoder expects .*{advice}"):
        text_encoder.transform(table)


@pytest.mark.parametrize(
    "column", [{"title": ["a", "b"]}, {"a", "b"}, frozenset("ab"), np.array("ab")]
)
def test_what_has_no_rows_is_no_column(text_encoder, column):
    with pytest.raises(TypeError, match="expects one column of items, got a"):
        text_encoder.transform(column)


THAI, GEORGIAN = "สุนัขเห่าดวงจันทร์", "ძაღლი ყეფს მთვარეზე"


def unknown_warnings(encoder, column):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vectors = encoder.transform(column)
    assert vectors.any(axis=1).sum() == sum(bool(text) for text in column)
    return [str(w.message) for w in caught if "does not know" in str(w.message)]


def test_texts_that_the_model_cannot_read_are_counted_once(minilm):
    column = ["a dog", THAI, None, GEORGIAN, "a cat", THAI, f"{GEORGIAN} " * 400]
    (message,) = unknown_warnings(minilm, column)
    assert "TextEncoder(model='package:all-MiniLM-L6-v2')" in message
    assert "in 4 of 7 rows" in message
    assert "row 1" in message
    assert len(unknown_warnings(minilm, column)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "a dog barks at the moon",
        "cute 🐶 dog 🌙 moon",
        "café, naïve, Übermut",
        f"the sign says {GEORGIAN}",
        "собака лает",  # letter by letter, but not unknown
    ],
)
def test_texts_that_are_known_for_the_most_part_are_not_counted(minilm, text):
    assert unknown_warnings(minilm, [text, "a dog"]) == []


def test_a_prompt_does_not_make_a_text_known():
    prompted = TextEncoder(
        "package:all-MiniLM-L6-v2", prompt="find what this says: "
    ).fit(["a"])
    assert len(unknown_warnings(prompted, [THAI, "a dog"])) == 1
    assert unknown_warnings(prompted, ["a dog"]) == []


def test_words_without_context_are_counted_as_well(text_encoder):
    assert (
        "in 2 of 4 rows"
        in unknown_warnings(text_encoder, ["abc", "漢字かな", "ab漢", "漢字a"])[0]
    )


def test_a_tokenizer_that_knows_all_bytes_knows_all_texts(decoder_model):
    encoder = TextEncoder(decoder_model).fit(["a"])
    assert unknown_warnings(encoder, [THAI, GEORGIAN]) == []


def test_threads_count_their_own_texts(minilm):
    """They share one model, which works for one of them at a time."""
    columns = [[f"dog {i}", *[f"{THAI}{i}{k}" for k in range(i)]] for i in range(1, 5)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(minilm.transform, columns))
    expected = {f"in {i} of {i + 1} rows" for i in range(1, 5)}
    assert {
        text for text in expected if any(text in str(w) for w in caught)
    } == expected


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_vector_has_the_same_bits_in_any_batch(minilm, n_threads):
    """Lengths on both sides of the 8 and 16 numbers that kernels add at a time."""
    rng = np.random.default_rng(0)
    words = rng.choice(["red", "oak", "chair", "with", "warm", "light", "garden"], 30)
    texts = [" ".join(words[:n]) for n in (1, 2, 3, 5, 6, 9, 13, 14, 15, 20, 30)]
    with torch_threads(1):
        together = minilm.transform(texts)
    with torch_threads(n_threads):
        alone = [minilm.transform([text]) for text in texts]
        pairs = [minilm.transform([text, texts[-1]])[:1] for text in texts]
    np.testing.assert_array_equal(np.concatenate(alone), together)
    np.testing.assert_array_equal(np.concatenate(pairs), together)


def test_batches_hold_texts_of_one_length():
    assert _begins([9, 9, 9, 7, 7, 2], 2) == [2, 3, 5]
    assert _begins([4] * 5, 2) == [2, 4]
    assert _begins([4], 2) == []
