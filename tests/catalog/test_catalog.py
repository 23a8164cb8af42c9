"""The item table, its encoder, and what both refuse."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.catalog import encoding_of
from skmmrec.recommender import Training

calls = []


class CountingEncoder(TransformerMixin, BaseEstimator):
    """Encodes words by their letters and writes down which words it was shown."""

    def __init__(self, letters="abcde"):
        self.letters = letters

    def fit(self, X, y=None):
        self.n_features_in_ = 1
        return self

    def transform(self, X):
        words = np.asarray(X, dtype=object).ravel()
        calls.extend(words)
        return np.array([self._encode(word) for word in words], dtype=np.float32)

    def _encode(self, word):
        if not isinstance(word, str):
            return [np.nan] * len(self.letters)
        return [word.count(letter) + 0.1 for letter in self.letters]

    def get_feature_names_out(self, input_features=None):
        return np.array(list(self.letters), dtype=object)


class TextEncoder(CountingEncoder):
    pass


class ImageEncoder(CountingEncoder):
    pass


@pytest.fixture(autouse=True)
def _forget_calls():
    calls.clear()


@pytest.fixture
def raw():
    titles = ["abba", "cad", "bee", "add", "dab", "ace"]
    pictures = ["ee", "dd", None, "cc", "bb", "aa"]
    return pd.DataFrame({"item_id": range(6), "title": titles, "poster": pictures})


@pytest.fixture
def encoder():
    return make_column_transformer(
        (TextEncoder(), ["title"]), (ImageEncoder(), ["poster"])
    )


@pytest.fixture
def interactions():
    pairs = [(u, (u + step) % 6) for u in range(6) for step in range(4)]
    return pd.DataFrame(pairs, columns=["user_id", "item_id"])


def test_ready_vectors_need_no_encoder(items):
    catalog = ItemCatalog(items)
    assert catalog.blocks.widths == {"text": 3, "image": 3, "audio": 3}
    assert catalog.ids.tolist() == items.item_id.tolist()
    expected = items.filter(like="image__").to_numpy(np.float32)
    np.testing.assert_array_equal(catalog.blocks.values["image"], expected)
    assert catalog.blocks.mask[1].tolist() == [False, True, True]
    assert catalog.blocks.mask.sum() == 3 * len(items) - 1
    assert len(catalog) == len(items)
    assert repr(catalog) == f"ItemCatalog({len(items)} items, key='item_id')"


def test_columns_without_prefix_are_left_out(items):
    catalog = ItemCatalog(items.assign(title="words", year=1999))
    assert catalog.blocks.widths == {"text": 3, "image": 3, "audio": 3}


def test_polars_gives_the_same(items):
    ours, theirs = ItemCatalog(items), ItemCatalog(pl.from_pandas(items))
    pd.testing.assert_index_equal(theirs.ids, ours.ids)
    np.testing.assert_array_equal(theirs.blocks.mask, ours.blocks.mask)
    for name, block in ours.blocks.values.items():
        np.testing.assert_array_equal(theirs.blocks.values[name], block)


def test_another_key(items):
    table = items.rename(columns={"item_id": "sku"})
    assert ItemCatalog(table, key="sku").ids.tolist() == items.item_id.tolist()


@pytest.mark.parametrize("key", ["sku", ""])
def test_an_unknown_key_is_named(items, key):
    with pytest.raises(ValueError, match=f"no column '{key}'.*'item_id'"):
        ItemCatalog(items, key=key)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a", "b", "a"], r"item_id 'a' in row 2"),
        ([7, 8, 8], r"item_id 8 in row 2"),
        (["a", None, "b"], r"item_id is missing \(NaN or None\) in row 1"),
        ([1.0, 2.0, np.nan], r"item_id is missing .* in row 2"),
        ([1, "a", 2], r"item_id mixes types \(int in row 0, str in row 1\)"),
        ([1.0, 2.0, np.inf], r"item_id contains infinity in row 2"),
    ],
)
def test_bad_ids_are_named(ids, message):
    with pytest.raises(ValueError, match=message):
        ItemCatalog(pd.DataFrame({"item_id": ids, "text__0": [1.0, 2.0, 3.0]}))


def test_ids_of_another_type_are_named():
    table = pd.DataFrame({"item_id": [("a", 1), ("b", 2)], "text__0": [1.0, 2.0]})
    with pytest.raises(TypeError, match=r"item_id .*tuple in row 0"):
        ItemCatalog(table)


def test_an_empty_table_is_refused(items):
    with pytest.raises(ValueError, match="items is empty"):
        ItemCatalog(items.iloc[:0])


@pytest.mark.parametrize("table", [[[1, 2]], {"item_id": [1]}, None])
def test_only_tables_are_taken(table):
    with pytest.raises(TypeError, match="items must be a DataFrame"):
        ItemCatalog(table)


def test_columns_of_one_name_are_refused(items):
    twice = pd.concat([items, items.iloc[:, -1:]], axis=1)
    with pytest.raises(ValueError, match=f"several columns .* '{items.columns[-1]}'"):
        ItemCatalog(twice)


def test_an_item_without_any_modality_is_named(items):
    bare = items.copy()
    bare.iloc[3, 1:] = np.nan
    with pytest.raises(ValueError, match=r"item 'i03' \(row 3\) has no modality"):
        _ = ItemCatalog(bare).blocks
    blocks = ItemCatalog(bare, on_empty="ignore").blocks
    assert not blocks.mask[3].any()
    assert blocks.mask[4].all()


def test_on_empty_is_checked(items):
    with pytest.raises(ValueError, match=r"on_empty .* 'drop'"):
        ItemCatalog(items, on_empty="drop")


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_a_partly_bad_vector_is_named(items, value, word):
    bad = items.copy()
    bad.loc[4, "image__1"] = value
    with pytest.raises(ValueError, match=f"{word}: modality 'image' of row 4"):
        _ = ItemCatalog(bad).blocks


def test_a_table_without_content_is_refused(items):
    with pytest.raises(ValueError, match=r"no content.*'item_id', 'title'"):
        _ = ItemCatalog(items[["item_id"]].assign(title="x")).blocks


@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("kind", [np.array, list, tuple])
def test_a_column_of_vectors_is_told_to_be_spread(kind, missing):
    vectors = [None if missing else kind([0.5, 1.0]), kind([1.0, 0.5])]
    items = pd.DataFrame({"item_id": [1, 2], "title": ["a", "b"], "emb": vectors})
    with pytest.raises(ValueError, match="no content") as raised:
        _ = ItemCatalog(items).blocks
    told = str(raised.value).partition("spread it by ")[2].rstrip(".")
    items = items.dropna(ignore_index=True)
    spread = eval(told, {"pd": pd, "np": np, "items": items})
    assert ItemCatalog(spread.assign(item_id=items["item_id"])).blocks.widths == {
        "emb": 2
    }


@pytest.mark.parametrize(
    "values", [[["x"], ["y"]], [{"x": 1}, {}], [{1}, {2}], [[], []], [None, None]]
)
def test_what_is_no_column_of_vectors_is_not(values):
    items = pd.DataFrame({"item_id": [1, 2], "tags": values})
    with pytest.raises(ValueError, match=r"got \['item_id', 'tags'\]$"):
        _ = ItemCatalog(items).blocks


def test_content_that_is_no_number_is_named(items):
    bad = items.astype({"image__1": object})
    bad.loc[2, "image__1"] = "red"
    with pytest.raises(ValueError, match=r"'image__1'.* row 2.*'red'"):
        _ = ItemCatalog(bad).blocks


def test_modalities_by_name_overlook_other_columns(items):
    table = items.assign(title="words")
    catalog = ItemCatalog(
        table, modalities={"look": ["image__0", "image__2"], "sound": ["audio__0"]}
    )
    assert catalog.blocks.widths == {"look": 2, "sound": 1}
    np.testing.assert_array_equal(
        catalog.blocks.values["look"], items[["image__0", "image__2"]].astype("float32")
    )
    encoded = catalog.encode(table.drop(columns="item_id").head(3))
    np.testing.assert_array_equal(
        encoded.values["look"], catalog.blocks.values["look"][:3]
    )


@pytest.mark.parametrize("columns", [["poster"], [99], slice(50, 60)])
def test_wrong_modalities_are_named(items, columns):
    catalog = ItemCatalog(items, modalities={"look": columns})
    with pytest.raises(ValueError, match=r"modalities\['look'\]"):
        _ = catalog.blocks


def test_encoders_name_the_modalities(raw, encoder):
    catalog = ItemCatalog(raw, encoder)
    assert catalog.blocks.widths == {"text": 5, "image": 5}
    assert catalog.blocks.mask[2].tolist() == [True, False]
    np.testing.assert_allclose(
        catalog.blocks.values["text"][0],
        [2.1, 2.1, 0.1, 0.1, 0.1],
        rtol=1e-6,
        atol=1e-6,
    )


def test_modalities_select_from_the_encoders_output(raw, encoder):
    catalog = ItemCatalog(raw, encoder, modalities={"both": slice(1, 4)})
    assert catalog.blocks.widths == {"both": 3}


def test_a_column_that_the_encoder_wants_is_named(raw, encoder):
    with pytest.raises(ValueError, match="poster"):
        _ = ItemCatalog(raw.drop(columns="poster"), encoder).blocks


def test_the_encoder_is_cloned(raw, encoder):
    _ = ItemCatalog(raw, encoder).blocks
    assert not hasattr(encoder, "transformers_")


def test_clones_share_the_catalogue(raw, encoder):
    catalog = ItemCatalog(raw, encoder)
    recommender = MultimodalFusionRecommender(catalog)
    assert clone(catalog) is catalog
    assert clone(recommender).catalog is catalog
    assert calls == []


def test_each_item_is_encoded_once(raw, encoder, interactions):
    catalog = ItemCatalog(raw, encoder)
    search = GridSearchCV(
        MultimodalFusionRecommender(
            catalog, n_factors=4, random_state=0, training=Training(max_epochs=1)
        ),
        {"fusion": ["concat", "gated", "attention"]},
        cv=3,
        error_score="raise",
    )
    search.fit(interactions)
    search.best_estimator_.transform(interactions)
    search.best_estimator_.recommend()
    shown = sorted(str(word) for word in calls)
    assert shown == sorted(str(word) for word in [*raw.title, *raw.poster])


def test_encode_new_content(raw, encoder):
    catalog = ItemCatalog(raw, encoder)
    full = catalog.encode(raw[["poster", "title"]])
    for name, block in catalog.blocks.values.items():
        np.testing.assert_array_equal(full.values[name], block)
    np.testing.assert_array_equal(full.mask, catalog.blocks.mask)


def test_the_fitted_encoder_is_there_once_items_are_encoded(raw, encoder):
    catalog = ItemCatalog(raw, encoder)
    assert not hasattr(catalog, "encoder_")
    widths = catalog.blocks.widths
    assert catalog.encoder_.transform(raw).shape == (len(raw), sum(widths.values()))
    assert not hasattr(encoder, "transformers_")


def test_encode_some_columns(raw, encoder):
    catalog = ItemCatalog(raw, encoder)
    blocks = catalog.encode(pd.DataFrame({"title": ["bad"]}))
    assert blocks.mask.tolist() == [[True, False]]
    np.testing.assert_allclose(
        blocks.values["text"], [[1.1, 1.1, 0.1, 1.1, 0.1]], atol=1e-6
    )
    assert not blocks.values["image"].any()
    assert calls.count("bad") == 1


def test_encode_ready_vectors(items):
    catalog = ItemCatalog(items)
    content = items.filter(like="audio__").tail(2)
    for table in (content, pl.from_pandas(content)):
        blocks = catalog.encode(table)
        assert blocks.mask.tolist() == [[False, False, True]] * 2
        np.testing.assert_array_equal(
            blocks.values["audio"], catalog.blocks.values["audio"][-2:]
        )


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (pd.DataFrame({"colour": ["red"]}), ValueError, "those of the catalogue are"),
        (pd.DataFrame({"title": []}), ValueError, "content is empty"),
        (["words"], TypeError, "content must be a DataFrame, got list"),
    ],
)
def test_content_that_cannot_be_encoded(raw, encoder, content, error, message):
    with pytest.raises(error, match=message):
        ItemCatalog(raw, encoder).encode(content)


def test_a_selection_shares_what_was_encoded(raw, encoder):
    catalog = ItemCatalog(raw, encoder)
    whole = catalog.blocks
    calls.clear()
    words = catalog.select(["text"])
    assert words.blocks.modalities == ["text"]
    assert words.blocks.values["text"] is whole.values["text"]
    assert catalog.blocks.modalities == ["text", "image"]
    assert not calls
    turned = catalog.select(["image", "text"])
    np.testing.assert_array_equal(turned.blocks.mask, whole.mask[:, ::-1])
    assert turned.select(["text"]).blocks.modalities == ["text"]
    assert set(encoding_of(words).identities) == {"text"}


def test_a_selection_encodes_and_grows_with_its_modalities(raw, encoder):
    catalog = ItemCatalog(raw, encoder)
    words = catalog.select(["text"])
    calls.clear()
    query = words.encode(raw[["title", "poster"]])
    assert query.modalities == ["text"]
    assert calls == list(raw["title"])  # pictures are not looked at
    np.testing.assert_array_equal(query.values["text"], words.blocks.values["text"])
    words.append(pd.DataFrame({"item_id": [9], "title": ["cab"]}))
    assert (len(words), len(catalog)) == (7, 6)
    again = pickle.loads(pickle.dumps(words))
    assert again.encode(raw[["title"]]).modalities == ["text"]
    rec = MultimodalFusionRecommender(
        words, random_state=0, training=Training(max_epochs=1)
    )
    X = pd.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [0, 1, 1, 2]})
    assert rec.fit(X).model_.content.modalities == ["text"]


def test_items_without_a_selected_modality_are_told(raw, encoder):
    catalog = ItemCatalog(raw, encoder)
    with pytest.raises(ValueError, match=r"item 2 \(row 2\) has no modality"):
        catalog.select(["image"]).blocks  # noqa: B018 - raises
    pictures = catalog.select(["image"], on_empty="ignore")
    assert pictures.blocks.mask[:, 0].tolist() == [True, True, False, *[True] * 3]
    assert catalog.on_empty == "raise"


@pytest.mark.parametrize(
    ("modalities", "message"),
    [
        (["smell"], "must be some of .'text', 'image'."),
        ([], "must be some of"),
        (["text", "text"], "each once"),
        ("text", r"must be a list, such as \['text'\]"),
    ],
)
def test_a_wrong_selection_is_refused(raw, encoder, modalities, message):
    with pytest.raises(ValueError, match=message):
        ItemCatalog(raw, encoder).select(modalities)


def test_a_selection_of_vectors_in_files_reads_vectors(tmp_path):
    items = pd.DataFrame(
        {"item_id": [1, 2], "text": [[0.5, 1], [1, 2]], "a": [[1.0], None]}
    )
    items.to_parquet(tmp_path / "part.parquet")
    words = ItemCatalog.from_parquet(tmp_path).select(["text"])
    assert words.blocks.modalities == ["text"]
    assert words.encode(items[["text", "a"]]).modalities == ["text"]
    vectors = ItemCatalog(pd.DataFrame({"item_id": [1], "a__0": [1.0], "b__0": [2.0]}))
    assert vectors.select(["b"]).encode(vectors.items).modalities == ["b"]


CHANGES = {
    "sorted": lambda table: table.sort_values("price", inplace=True),
    "cut": lambda table: table.drop(index=0, inplace=True),
    "indexed": lambda table: table.set_index("item_id", inplace=True),
    "renamed": lambda table: table.rename(columns={"price": "cost"}, inplace=True),
    "replaced": lambda table: table.insert(0, "price", 0.0, allow_duplicates=True),
    "emptied": lambda table: table.drop(columns="price", inplace=True),
    "assigned": lambda table: table.__setitem__("item_id", [7, 8, 9]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize(
    "encoder", [None, make_column_transformer((StandardScaler(), ["price"]))]
)
def test_a_table_that_is_changed_in_place_later_on(change, encoder):
    """Items are encoded when that is asked for, each by its own row."""
    columns = {"item_id": [1, 2, 3], "price": [3.0, 1.0, 2.0]}
    if encoder is None:
        columns["a__0"] = columns["price"]
    table = pd.DataFrame(columns)
    expected = ItemCatalog(table.copy(), encoder).blocks
    catalog = ItemCatalog(table, encoder)
    change(table)
    blocks = catalog.blocks
    assert catalog.ids.tolist() == catalog.items["item_id"].tolist() == [1, 2, 3]
    for name, values in expected.values.items():
        np.testing.assert_allclose(blocks.values[name], values, rtol=1e-6, atol=1e-9)
