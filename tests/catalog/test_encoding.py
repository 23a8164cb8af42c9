"""Numbers, categories and dates beside encoders, in the catalogue and in queries."""

import datetime as dt

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sklearn import config_context
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.manifold import TSNE
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from skmmrec import ItemCatalog
from skmmrec.encoders import BaseEncoder, ContentError

N = 12
BINS = KBinsDiscretizer(3, strategy="uniform")
IGNORE = OneHotEncoder(handle_unknown="ignore")


class Letters:
    """How often each letter occurs."""

    identity = b"letters"
    dim = 3

    def prepare(self, item):
        return [item.count(letter) + 0.1 for letter in "abc"]

    def encode(self, contents):
        return np.array(contents, np.float32)


class LetterEncoder(BaseEncoder):
    _items_are_paths = False

    def _load_model(self, device):
        return Letters()

    def _model_key(self):
        return "letters"

    def _content_key(self, item):
        if not isinstance(item, str):
            raise ContentError("no text")
        return item


@pytest.fixture(scope="module")
def table():
    """Each column lacks the value of another row, and nothing else."""
    rows = np.arange(N)
    table = pd.DataFrame(
        {
            "item_id": rows + 100,
            "words": [f"{'a' * n}{'bc'[n % 2]}" for n in rows],
            "price": np.linspace(-5, 6, N),
            "stock": pd.array(rows, dtype="Int64"),
            "brand": [("x", "y", "z")[n % 3] for n in rows],
            "shade": pd.Categorical([("red", "blue")[n % 2] for n in rows]),
            "released": pd.to_datetime("2020-01-01") + pd.to_timedelta(rows, "D"),
            "new": pd.array(rows % 2 == 0, dtype="boolean"),
        }
    )
    for row, column in enumerate(table.columns[1:]):
        table.loc[row, column] = None
    return table


def content(table):
    return table.drop(columns="item_id")


def check(catalog, column, row=None):
    """Only that row is missing, and a query is as the catalogue is."""
    there = np.arange(N) != row
    (name,) = catalog.blocks.modalities
    assert catalog.blocks.mask[:, 0].tolist() == there.tolist()
    query = catalog.encode(content(catalog.items)[[column]])
    np.testing.assert_array_equal(query.mask, catalog.blocks.mask)
    np.testing.assert_allclose(
        query.values[name], catalog.blocks.values[name], rtol=1e-5, atol=1e-6
    )
    return catalog.blocks


PLAIN = {
    "passthrough": ("passthrough", 1),
    "scaler": (StandardScaler(), 1),
    "pandas": (StandardScaler().set_output(transform="pandas"), 1),
    "quantiles": (QuantileTransformer(n_quantiles=5), 1),
    "spline": (SplineTransformer(n_knots=3), 5),
    "bins": (BINS, 3),
    "powers": (PolynomialFeatures(2), 3),
    "pipeline": (make_pipeline(StandardScaler(), PolynomialFeatures(2)), 3),
    "union": (FeatureUnion([("a", StandardScaler()), ("b", BINS)]), 4),
    "nested": (ColumnTransformer([("a", StandardScaler(), [0])]), 1),
}


@pytest.mark.parametrize("column", ["price", "stock", "released", "new"])
@pytest.mark.parametrize("kind", PLAIN)
def test_numbers_and_dates_through_transformers(table, kind, column):
    transformer, width = PLAIN[kind]
    if kind in ("bins", "union") and column == "new":
        column = "stock"  # truth values make two bins, not three
    encoder = ColumnTransformer([("x", transformer, [column])])
    catalog = ItemCatalog(table, encoder, on_empty="ignore")
    blocks = check(catalog, column, content(table).columns.get_loc(column))
    assert blocks.numbers == {"x"}
    assert blocks.widths == {"x": width}


@pytest.mark.parametrize("column", ["brand", "shade", "stock"])
@pytest.mark.parametrize(
    ("encoder", "is_number"),
    [
        (IGNORE, False),
        (OneHotEncoder(sparse_output=False), False),
        (OneHotEncoder(drop="first"), True),
        (OrdinalEncoder(), True),
        (TargetEncoder(target_type="continuous", smooth=1.0), True),
    ],
)
def test_categories_through_encoders(table, column, encoder, is_number):
    catalog = ItemCatalog(
        table.assign(goal=np.arange(N) % 5),
        ColumnTransformer([("x", encoder, [column])]),
        on_empty="ignore",
        target="goal",
    )
    blocks = check(catalog, column, content(table).columns.get_loc(column))
    assert blocks.numbers == ({"x"} if is_number else set())


@pytest.mark.parametrize(
    "vectorizer",
    [
        TfidfVectorizer(analyzer="char"),
        HashingVectorizer(analyzer="char", n_features=8),
        make_pipeline(TfidfVectorizer(analyzer="char"), TruncatedSVD(2)),
    ],
)
def test_words_through_vectorizers(table, vectorizer):
    encoder = ColumnTransformer([("x", vectorizer, "words")])
    blocks = check(ItemCatalog(table, encoder, on_empty="ignore"), "words", 0)
    assert not blocks.numbers


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("dtype", ["Float64", "Int64", "float64[pyarrow]"])
def test_what_an_encoder_puts_out_is_as_set_output_says(dtype, frozen):
    """Where scikit-learn refuses `pandas.NA` in arrays, it names this remedy."""
    table = pd.DataFrame(
        {"item_id": [1, 2, 3], "price": pd.Series([3, None, 0], dtype=dtype)}
    ).assign(words=["a", "b", "a c"])
    encoder = make_column_transformer(
        (FunctionTransformer(np.log1p), ["price"]),
        (OneHotEncoder(sparse_output=False), ["words"]),
    )
    if dtype != "float64[pyarrow]":
        with pytest.raises(ValueError, match="set_output"):
            ItemCatalog(table, encoder).blocks  # noqa: B018
    encoder.set_output(transform="pandas")
    if frozen:
        plain = table.assign(price=table.price.astype("float64"))
        encoder = FrozenEstimator(encoder.fit(plain))
    blocks = ItemCatalog(table, encoder).blocks
    assert blocks.mask[:, 0].tolist() == [True, False, True]
    np.testing.assert_allclose(
        blocks.values["price"].ravel(), [np.log(4), 0, 0], rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_vectors_are_the_same_whatever_set_output_says(table, output):
    whole = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    parts = [
        ("letters", LetterEncoder(), "words"),
        ("stock", StandardScaler(), ["stock"]),
        ("brand", whole, ["brand"]),
    ]
    for some in (parts, parts[:1]):
        encoder = ColumnTransformer(some)
        plain = ItemCatalog(table, encoder, on_empty="ignore").blocks
        encoder.set_output(transform=output)
        framed = ItemCatalog(table, encoder, on_empty="ignore").blocks
        assert framed.numbers == plain.numbers
        np.testing.assert_array_equal(framed.mask, plain.mask)
        for name, values in plain.values.items():
            np.testing.assert_allclose(
                framed.values[name], values, rtol=1e-6, atol=1e-6
            )


LISTS = {
    "list": ColumnTransformer([("w", TfidfVectorizer(), ["words"])]),
    "union": ColumnTransformer(
        [("w", FeatureUnion([("t", TfidfVectorizer())]), ["words"])]
    ),
    "beside": make_column_transformer(
        (TfidfVectorizer(), ["words"]), (StandardScaler(), ["price"])
    ),
    "alone": TfidfVectorizer(),
    "last": make_pipeline(
        FunctionTransformer(lambda t: t[["words"]]), TfidfVectorizer()
    ),
}


@pytest.mark.parametrize("encoder", LISTS.values(), ids=LISTS)
@pytest.mark.parametrize("has_gap", [True, False])
def test_names_of_columns_are_not_taken_for_texts(table, encoder, has_gap):
    """A vectorizer that gets a table reads these: one row, the same for all items."""
    words = table["words"] if has_gap else table["words"].fillna("none")
    catalog = ItemCatalog(table.assign(words=words), encoder, on_empty="ignore")
    with pytest.raises(ValueError, match=r"gives \d+ rows for \d+.* not in a list"):
        catalog.blocks  # noqa: B018


@pytest.mark.parametrize(
    "vectorizer",
    [
        TfidfVectorizer(),
        make_pipeline(HashingVectorizer(n_features=8), TruncatedSVD(2)),
    ],
)
def test_what_is_no_text_is_named(table, vectorizer):
    """Films are called 300 and 1917, which spreadsheets store as numbers."""
    encoder = make_column_transformer((vectorizer, "words"))
    mixed = table["words"].where(table.index != 7, 1917)
    with pytest.raises(ValueError, match="'words' is no text in row 7: 1917"):
        ItemCatalog(table.assign(words=mixed), encoder, on_empty="ignore").blocks  # noqa: B018
    catalog = ItemCatalog(table, encoder, on_empty="ignore")
    with pytest.raises(ValueError, match="'words' is no text in row 1: 300"):
        catalog.encode(pd.DataFrame({"words": ["a", 300]}))
    lacking = make_column_transformer((TSNE(1, perplexity=2), ["price"]))
    with pytest.raises(AttributeError, match="transform"):
        ItemCatalog(table, lacking, on_empty="ignore").encode(table[["price"]])


def test_what_a_category_or_word_does_not_tell_is_missing(table):
    encoder = ColumnTransformer(
        [("brand", IGNORE, ["brand"]), ("w", TfidfVectorizer(), "words")]
    )
    query = pd.DataFrame({"brand": ["x", "unheard of"], "words": ["none", "of these"]})
    catalog = ItemCatalog(table, encoder, on_empty="ignore")
    assert catalog.encode(query).mask.tolist() == [[True, False], [False, False]]


def test_gaps_that_are_filled_are_there(table):
    encoder = ColumnTransformer(
        [
            ("a", make_pipeline(SimpleImputer(), StandardScaler()), ["price"]),
            ("b", FunctionTransformer(lambda t: t.fillna(0)), ["price"]),
        ]
    )
    catalog = ItemCatalog(table, encoder)
    assert catalog.blocks.mask.all()
    query = catalog.encode(pd.DataFrame({"price": [None, 1.0]}))
    assert query.mask.all()
    assert query.values["b"].tolist() == [[0.0], [1.0]]


def test_functions_need_no_names(table):
    encoder = ColumnTransformer(
        [
            ("a", FunctionTransformer(np.cbrt), ["price"]),
            (
                "b",
                make_pipeline(FunctionTransformer(np.exp), StandardScaler()),
                ["price"],
            ),
            (
                "year",
                FunctionTransformer(lambda t: t.map(lambda d: d.year)),
                ["released"],
            ),
            (
                "length",
                FunctionTransformer(lambda t: t[["words"]].map(lambda w: len(str(w)))),
                ["words"],
            ),
        ]
    )
    blocks = ItemCatalog(table, encoder).blocks
    assert blocks.numbers == {"a", "b", "year", "length"}
    assert blocks.values["year"][0].tolist() == [2020.0]
    assert blocks.values["length"][2].tolist() == [3.0]
    np.testing.assert_array_equal(blocks.mask[:, 0], table.price.notna())


def test_the_mean_and_0_are_there(table):
    scaled = table.assign(price=[0.0, 2, 1, 0, 2, 1, 0, 2, 1, 0, 2, 1])
    encoder = ColumnTransformer(
        [("z", StandardScaler(), ["price"]), ("p", "passthrough", ["price"])]
    )
    blocks = ItemCatalog(scaled, encoder).blocks
    assert blocks.mask.all()
    assert blocks.values["z"][2] == blocks.values["p"][0] == 0.0


def test_columns_numbered_from_0_are_one_vector():
    items = pd.DataFrame(
        {
            "item_id": [1, 2],
            "emb_0": [0.0, 1.0],
            "emb_1": [0.0, 2.0],
            "width": 0,
            "depth": 0,
        }
    )
    encoder = ColumnTransformer(
        [
            ("look", "passthrough", ["emb_1", "emb_0"]),
            ("size", "passthrough", ["width", "depth"]),
        ]
    )
    blocks = ItemCatalog(items, encoder).blocks
    assert blocks.numbers == {"size"}
    assert blocks.mask.tolist() == [[False, True], [True, True]]


def test_other_encoders_go_by_the_number_of_columns(table):
    pick, words = Pick(["price"]), Pick(["words"])
    union = FeatureUnion(
        [
            ("cost", make_pipeline(pick, Named())),
            ("words", make_pipeline(words, LetterEncoder())),
        ]
    )
    assert (
        ItemCatalog(
            table, make_pipeline(words, LetterEncoder()), on_empty="ignore"
        ).blocks.numbers
        == set()
    )
    assert ItemCatalog(
        table, make_pipeline(pick, Named()), on_empty="ignore"
    ).blocks.numbers == {"content"}
    nameless = FunctionTransformer(lambda t: t[["words"]])
    assert ItemCatalog(
        table, make_pipeline(nameless, LetterEncoder()), on_empty="ignore"
    ).blocks.widths == {"content": 3}
    with_words = ItemCatalog(table, union)
    assert with_words.blocks.widths == {"cost": 1, "words": 3}
    assert with_words.blocks.numbers == {"cost"}


ENDS = make_column_transformer((StandardScaler(), ["price"]))


def test_a_pipeline_may_end_in_a_column_transformer(table):
    double = FunctionTransformer(lambda t: t.assign(twice=t.price * 2))
    columns = make_column_transformer(
        (LetterEncoder(), "words"),
        (SplineTransformer(), ["twice"]),
        (StandardScaler(), ["price"]),
        (OneHotEncoder(), ["brand"]),
        ("passthrough", ["released"]),
    )
    alone = ItemCatalog(table, make_pipeline(ENDS), on_empty="ignore").blocks
    assert alone.numbers == {"price"}
    catalog = ItemCatalog(table, make_pipeline(double, columns))
    names = ["letter", "twice", "price", "brand", "released"]
    assert catalog.blocks.modalities == names
    assert catalog.blocks.numbers == {"twice", "price", "released"}
    query = catalog.encode(table[["brand"]])
    assert query.mask.sum(axis=0).tolist() == [0, 0, 0, N - 1, 0]
    np.testing.assert_array_equal(query.values["brand"], catalog.blocks.values["brand"])


class Pick(TransformerMixin, BaseEstimator):
    """Some columns."""

    def __init__(self, columns):
        self.columns = columns

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X[self.columns]

    def get_feature_names_out(self, input_features=None):
        return np.array(self.columns, dtype=object)


class Named(TransformerMixin, BaseEstimator):
    """A user's own."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.asarray(X, float)

    def get_feature_names_out(self, input_features=None):
        return np.array([f"n{c}" for c in range(self.n_features_in_)], dtype=object)


def test_what_remains_has_no_ids(table):
    numbers = table[["item_id", "price", "stock"]].dropna()
    for rest in ("passthrough", StandardScaler()):
        encoder = ColumnTransformer(
            [("p", StandardScaler(), ["price"])], remainder=rest
        )
        catalog = ItemCatalog(numbers.assign(item_id=[*"abcdefghij"]), encoder)
        assert catalog.blocks.widths == {"p": 1, "stock": 1}
        query = catalog.encode(pd.DataFrame({"stock": [4]}))
        assert query.mask.tolist() == [[False, True]]


def test_columns_by_place_mask_slice_and_function(table):
    encoder = ColumnTransformer(
        [
            ("place", StandardScaler(), [2]),
            ("slice", StandardScaler(), slice("price", "price")),
            ("range", StandardScaler(), slice(2, 3)),
            ("mask", StandardScaler(), [c == "price" for c in table.columns]),
            ("function", StandardScaler(), lambda t: ["price"]),
            ("none", StandardScaler(), []),
            ("left out", "drop", ["brand"]),
        ]
    )
    catalog = ItemCatalog(table, encoder, on_empty="ignore")
    assert len(catalog.blocks.modalities) == 5
    for block in catalog.encode(content(table)[["price"]]).values.values():
        np.testing.assert_array_equal(block, catalog.blocks.values["place"])


def test_weights_of_transformers_count_in_queries_too(table):
    encoder = ColumnTransformer(
        [("p", "passthrough", ["price"])], transformer_weights={"p": 3.0}
    )
    check(ItemCatalog(table, encoder, on_empty="ignore"), "price", 1)


def test_polars(table):
    encoder = ColumnTransformer(
        [("p", StandardScaler(), ["price"]), ("d", "passthrough", ["released"])]
    )
    ours = ItemCatalog(table, encoder, on_empty="ignore")
    theirs = ItemCatalog(pl.from_pandas(table), encoder, on_empty="ignore")
    for name, block in ours.blocks.values.items():
        np.testing.assert_array_equal(theirs.blocks.values[name], block)


ALL = ["words", "price", "stock", "brand", "shade", "released", "new"]


@pytest.fixture(scope="module")
def everything(table):
    encoder = ColumnTransformer(
        [
            ("words", LetterEncoder(), "words"),
            ("price", SplineTransformer(n_knots=3), ["price"]),
            ("stock", StandardScaler(), ["stock"]),
            ("brand", IGNORE, ["brand"]),
            ("shade", OrdinalEncoder(), ["shade"]),
            ("released", "passthrough", ["released"]),
            ("new", "passthrough", ["new"]),
        ]
    )
    return ItemCatalog(table, encoder)


def test_each_modality_lacks_its_own_row(everything):
    expected = ~np.eye(N, len(ALL), dtype=bool)
    np.testing.assert_array_equal(everything.blocks.mask, expected)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sets(st.sampled_from(ALL), min_size=1),
    st.lists(st.integers(0, N - 1), min_size=1, max_size=4),
)
def test_a_query_by_some_columns_is_the_catalogue_without_the_others(
    everything, columns, rows
):
    query = everything.encode(everything.items[sorted(columns)].iloc[rows])
    asked = np.isin(everything.blocks.modalities, list(columns))
    mask = everything.blocks.mask[rows] & asked
    np.testing.assert_array_equal(query.mask, mask)
    for number, (name, block) in enumerate(everything.blocks.values.items()):
        expected = np.where(mask[:, [number]], block[rows], 0)
        np.testing.assert_array_equal(query.values[name], expected)


values = st.none() | st.floats(-1e6, 1e6)
dates = st.none() | st.dates(dt.date(1900, 1, 1), dt.date(2100, 1, 1))
kinds = st.none() | st.sampled_from("abc")


@settings(max_examples=60)
@given(st.lists(st.tuples(values, dates, kinds, values), min_size=1, max_size=8))
def test_any_table_is_missing_where_it_is_missing(rows):
    table = pd.DataFrame(rows, columns=["price", "day", "brand", "plain__x"])
    table.insert(0, "item_id", range(len(rows)))
    encoder = make_column_transformer(
        (StandardScaler(), ["price"]),
        ("passthrough", ["day"]),
        (OneHotEncoder(), ["brand"]),
        ("passthrough", ["plain__x"]),
    )
    catalog = ItemCatalog(table, encoder, on_empty="ignore")
    blocks = catalog.blocks
    there = table.iloc[:, 1:].notna()
    np.testing.assert_array_equal(blocks.mask, there)
    flat = ItemCatalog(table[["item_id", "plain__x"]], on_empty="ignore").blocks
    np.testing.assert_array_equal(flat.mask[:, 0], there.plain__x)


# -- names ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "names"),
    [
        ([(StandardScaler(), ["price"])], ["price"]),
        ([("passthrough", ["price"])], ["price"]),
        (
            [
                (
                    make_pipeline(FunctionTransformer(np.cbrt), StandardScaler()),
                    ["price"],
                )
            ],
            ["price"],
        ),
        (
            [(StandardScaler(), ["price"]), (StandardScaler(), ["stock"])],
            ["price", "stock"],
        ),
        ([(IGNORE, ["brand"]), (OrdinalEncoder(), ["shade"])], ["brand", "shade"]),
        (
            [(StandardScaler(), ["price"]), (SplineTransformer(), ["price"])],
            ["price-1", "price-2"],
        ),
        ([(TfidfVectorizer(analyzer="char"), "words")], ["words"]),
        ([(LetterEncoder(), "words"), (IGNORE, ["brand"])], ["letter", "brand"]),
        (
            [(LetterEncoder(), "words"), (LetterEncoder(), "brand")],
            ["words", "brand"],
        ),
        (
            [(LetterEncoder(), "words"), (LetterEncoder(normalize=False), "words")],
            ["words-1", "words-2"],
        ),
        ([(make_pipeline(LetterEncoder()), "words")], ["words"]),
        ([(Named(), ["price"])], ["price"]),
    ],
)
def test_modalities_are_called_by_their_columns(table, parts, names):
    catalog = ItemCatalog(table, make_column_transformer(*parts), on_empty="ignore")
    assert catalog.blocks.modalities == names
    assert catalog.encode(content(table)).modalities == names


def test_several_columns_and_given_names_keep_the_name(table):
    several = make_column_transformer((SimpleImputer(), ["price", "stock"]))
    assert ItemCatalog(table, several).blocks.modalities == ["simpleimputer"]
    given_name = ColumnTransformer([("cost", StandardScaler(), ["price"])])
    assert ItemCatalog(table, given_name, on_empty="ignore").blocks.modalities == [
        "cost"
    ]


@pytest.mark.parametrize(
    "make", [make_column_transformer, lambda part: ColumnTransformer([("x", *part)])]
)
def test_how_vectors_in_a_column_are_spread_is_said_of_the_raw_column(make):
    """As `test_floats` tests it without an encoder."""
    items = pd.DataFrame({"item_id": ["a", "b"], "emb": [[1.0, 2.0], [3.0, 5.0]]})
    with pytest.raises(ValueError, match=r"column 'emb' is not .* in row 0") as told:
        ItemCatalog(items, make(("passthrough", ["emb"]))).blocks  # noqa: B018
    advice = str(told.value).rpartition("spread it by ")[2].rstrip(".")
    spread = eval(advice, {"pd": pd, "np": np, "items": items})  # what a user would do
    encoder = make(("passthrough", list(spread)))
    (values,) = ItemCatalog(items.join(spread), encoder).blocks.values.values()
    np.testing.assert_array_equal(values, [[1, 2], [3, 5]])


def test_what_was_transformed_is_called_by_the_name_of_the_output(table):
    to_words = FunctionTransformer(
        lambda t: t.map(lambda price: "dear"), feature_names_out="one-to-one"
    )
    with pytest.raises(ValueError, match="content column 'x__price' is not numeric"):
        ItemCatalog(table, ColumnTransformer([("x", to_words, ["price"])])).blocks  # noqa: B018


def test_a_column_called_like_an_encoder_stands_back(table):
    encoder = make_column_transformer(
        (LetterEncoder(), "words"), ("passthrough", ["letter"])
    )
    catalog = ItemCatalog(table.assign(letter=1.0), encoder)
    assert catalog.blocks.modalities == ["letter", "passthrough"]


# -- targets -------------------------------------------------------------------------


def test_a_target_encoder_needs_a_target(table):
    encoder = make_column_transformer(
        (make_pipeline(TargetEncoder(), StandardScaler()), ["brand"])
    )
    with pytest.raises(
        ValueError, match=r"TargetEncoder learns from .* target=.*Frozen"
    ):
        _ = ItemCatalog(table, encoder).blocks
    with pytest.raises(ValueError, match=r"target is 'cost'.* 'price'"):
        ItemCatalog(table, encoder, target="cost")
    with pytest.raises(ValueError, match=r"target 'price' is missing in row 1"):
        _ = ItemCatalog(table, encoder, target="price").blocks


def test_a_target_is_learned_from_once(table):
    """Each brand has one value: that of all its rows, not of the other rows."""
    goal = np.arange(float(N))
    encoder = make_column_transformer(
        (TargetEncoder("auto", "continuous", smooth=0.0), ["brand"])
    )
    items = table.assign(goal=goal)
    blocks = ItemCatalog(items, encoder, on_empty="ignore", target="goal").blocks
    expected = items.dropna(subset="brand").groupby("brand").goal.mean()
    there = items.brand.notna()
    np.testing.assert_allclose(
        blocks.values["brand"][there, 0],
        expected[items.brand[there]],
        rtol=1e-12,
        atol=0,
    )


def test_a_fitted_encoder_stays_as_it_is(table):
    some = table.dropna()
    fitted = TargetEncoder(target_type="continuous").fit(
        some[["brand"]], some.price.astype(float)
    )
    whole = make_column_transformer((StandardScaler(), ["price"]), (IGNORE, ["brand"]))
    for encoder in (
        make_column_transformer((FrozenEstimator(fitted), ["brand"])),
        FrozenEstimator(whole.fit(some)),
    ):
        catalog = ItemCatalog(table, encoder, on_empty="ignore")
        name = catalog.blocks.modalities[-1]
        assert name == "brand"
        np.testing.assert_array_equal(catalog.blocks.mask[:, -1], table.brand.notna())
        query = catalog.encode(pd.DataFrame({"brand": ["y"]}))
        np.testing.assert_array_equal(
            query.values[name][0], catalog.blocks.values[name][1]
        )
    np.testing.assert_allclose(
        catalog.blocks.values["price"][5:, 0],
        (table.price[5:] - some.price.mean()) / some.price.std(ddof=0),
        rtol=1e-9,
        atol=1e-9,
    )


# -- errors --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transformer", ["passthrough", StandardScaler(), SplineTransformer()]
)
@pytest.mark.parametrize("column", ["brand", "shade", "words"])
def test_words_are_no_numbers(table, transformer, column):
    catalog = ItemCatalog(table, make_column_transformer((transformer, [column])))
    with pytest.raises(
        ValueError, match=rf"{column}' is not numeric in row \d.*OneHotEnc"
    ):
        _ = catalog.blocks


def test_numbers_that_are_text_are_made_numbers_by_pandas(table):
    encoder = make_column_transformer((StandardScaler(), ["price"]))
    table = table.assign(price="26,2")
    with pytest.raises(ValueError, match=r"'26,2'.*pd\.to_numeric"):
        _ = ItemCatalog(table, encoder).blocks


def test_numbers_of_one_row_that_are_partly_missing_are_named(table):
    encoder = make_column_transformer((StandardScaler(), ["price", "stock"]))
    with pytest.raises(
        ValueError, match=r"NaN: .* of row 1 .*transformer.*SimpleImputer"
    ):
        _ = ItemCatalog(table, encoder).blocks


def test_a_query_by_some_columns_of_a_transformer_is_refused(table):
    encoder = make_column_transformer(
        (StandardScaler(), ["price", "stock"]), (IGNORE, ["brand"])
    )
    catalog = ItemCatalog(table.drop(index=[1, 2]), encoder)
    with pytest.raises(ValueError, match=r"lacks the column 'stock'.*'standardscaler'"):
        catalog.encode(pd.DataFrame({"price": [1.0]}))
    assert catalog.encode(pd.DataFrame({"brand": ["x"]})).mask.tolist() == [
        [False, True]
    ]


def test_words_in_a_query_by_numbers_are_named(table):
    encoder = make_column_transformer((StandardScaler(), ["price"]))
    catalog = ItemCatalog(table, encoder, on_empty="ignore")
    with pytest.raises(ValueError, match=r"'price' is not numeric in row 1: 'cheap'"):
        catalog.encode(pd.DataFrame({"price": [1, "cheap"]}))


@pytest.mark.parametrize(
    ("brands", "message"),
    [
        (["new"], "unknown categories.*'new'"),
        ([1, "x"], "uniformly|unknown categories"),
    ],
)
def test_categories_that_are_refused_are_named(table, brands, message):
    encoder = make_column_transformer((OrdinalEncoder(), ["brand"]))
    catalog = ItemCatalog(table, encoder, on_empty="ignore")
    with pytest.raises(ValueError, match=rf"content column 'brand': .*{message}"):
        catalog.encode(pd.DataFrame({"brand": brands}))


@pytest.mark.parametrize("value", [np.inf, 1e39])
def test_infinite_numbers_are_named(value):
    items = pd.DataFrame({"item_id": [1, 2], "price__x": [1.0, value]})
    with pytest.raises(ValueError, match=r"infinity: modality 'price' of row 1"):
        _ = ItemCatalog(items).blocks


# -- without an encoder --------------------------------------------------------------


def test_a_column_alone_is_a_number():
    items = pd.DataFrame(
        {
            "item_id": [1, 2, 3],
            "price__x": [0.0, 1.0, None],
            "date__released": pd.to_datetime(["2020-01-01", None, "2021-01-01"]),
            "new__x": pd.array([True, False, None], "boolean"),
            "image__0": [0.0, 1.0, 1.0],
            "image__1": [0.0, 1.0, 2.0],
        }
    )
    blocks = ItemCatalog(items).blocks
    assert blocks.numbers == {"price", "date", "new"}
    assert blocks.mask.T.tolist() == [
        [True, True, False],
        [True, False, True],
        [True, True, False],
        [False, True, True],
    ]
    assert blocks.values["image"].dtype == np.float32


@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_a_column_of_categories_is_refused(dtype):
    items = pd.DataFrame({"item_id": [1], "brand__x": pd.Series(["a"], dtype=dtype)})
    with pytest.raises(ValueError, match=r"'brand__x' is not numeric .*OneHotEncoder"):
        _ = ItemCatalog(items).blocks


@pytest.mark.parametrize(("key", "noun"), [("user_id", "user"), ("sku", "item")])
def test_rows_without_content_are_called_by_what_they_are(key, noun):
    table = pd.DataFrame({key: ["a", "b"], "age__x": [1.0, None]})
    with pytest.raises(
        ValueError, match=rf"{noun} 'b' \(row 1\) has no modality .* {noun}s"
    ):
        _ = ItemCatalog(table, key=key).blocks


def test_a_reduction_of_numbered_columns_gives_vectors():
    rows = np.random.default_rng(0).normal(size=(6, 4))
    items = pd.DataFrame(rows, columns=[f"emb_{c}" for c in range(4)])
    encoder = make_column_transformer((PCA(2), list(items.columns)))
    assert not ItemCatalog(items.assign(item_id=range(6)), encoder).blocks.numbers


def test_a_function_of_a_column_of_sounds_is_a_modality():
    """Words that a function makes of bytes go to a vectorizer; no words are missing."""
    sounds = pd.Series([b"low low high", (np.zeros(3), 8000), None, b""], dtype=object)
    items = pd.DataFrame({"item_id": [1, 2, 3, 4], "sound": sounds})
    spelled = FunctionTransformer(
        lambda column: [s.decode() if isinstance(s, bytes) else "" for s in column]
    )
    words = make_pipeline(spelled, TfidfVectorizer())
    encoder = ColumnTransformer([("melody", words, "sound")])
    catalog = ItemCatalog(items, encoder, on_empty="ignore")
    assert catalog.blocks.widths == {"melody": 2}
    assert not catalog.blocks.numbers
    assert catalog.blocks.mask.ravel().tolist() == [True, False, False, False]
    asked = pd.DataFrame({"sound": [b"high", b"unheard"]})
    assert catalog.encode(asked).mask.ravel().tolist() == [True, False]


@pytest.mark.parametrize("container", ["default", "pandas", "polars"])
@pytest.mark.parametrize("verbose", [True, False])
def test_containers_and_names_make_no_difference(table, container, verbose):
    """Whatever scikit-learn is told to give, and to call it."""
    parts = [
        ("words", LetterEncoder(), "words"),
        ("size", StandardScaler(), ["price"]),
        ("kind", clone(IGNORE).set_params(sparse_output=False), ["brand"]),
    ]
    expected = ItemCatalog(table, ColumnTransformer(parts), on_empty="ignore")
    with config_context(transform_output=container):
        encoder = ColumnTransformer(parts, verbose_feature_names_out=verbose)
        catalog = ItemCatalog(table, encoder, on_empty="ignore")
        blocks, asked = catalog.blocks, catalog.encode(table[["price"]])
    assert blocks.modalities == expected.blocks.modalities == ["words", "size", "kind"]
    assert blocks.numbers == expected.blocks.numbers
    np.testing.assert_array_equal(blocks.mask, expected.blocks.mask)
    for name, block in expected.blocks.values.items():
        np.testing.assert_allclose(blocks.values[name], block, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(
        asked.values["size"], expected.blocks.values["size"], rtol=1e-6, atol=1e-6
    )


def test_prefixes_of_columns_name_modalities_without_those_of_transformers(table):
    """As they do in a table without an encoder."""
    vectors = table.assign(image__0=1.0, image__1=2.0)
    encoder = ColumnTransformer(
        [("raw", "passthrough", ["image__0", "image__1", "price"])],
        verbose_feature_names_out=False,
    )
    catalog = ItemCatalog(vectors, encoder, on_empty="ignore")
    assert catalog.blocks.widths == {"image": 2, "raw": 1}


def test_a_column_that_content_has_twice_is_named(table):
    encoder = ColumnTransformer([("size", StandardScaler(), ["price"])])
    catalog = ItemCatalog(table, encoder, on_empty="ignore")
    twice = pd.concat([table[["price"]], table[["price"]]], axis=1)
    with pytest.raises(ValueError, match="content has several columns named 'price'"):
        catalog.encode(twice)
