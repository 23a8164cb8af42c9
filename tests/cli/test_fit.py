"""`encode`, `fit`, `evaluate`, `recommend`, `similar`: the same as in Python."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.cli._recipe import FILE, Column, Recipe
from skmmrec.metrics import evaluate_ranking
from skmmrec.model_selection import LeaveLastOut, RandomHoldoutPerUser
from skmmrec.recommender import (
    EASERecommender,
    ImplicitALSRecommender,
    PopularityRecommender,
    Training,
)
from tests.cli.conftest import CONTENT, N_ITEMS, N_USERS, SEED, records, run


def by_hand(item_table):
    """The catalogue that the command line makes."""
    table = item_table.assign(released=pd.to_datetime(item_table.released))
    encoder = ColumnTransformer(
        [
            ("price", "passthrough", ["price"]),
            ("brand", OneHotEncoder(handle_unknown="ignore"), ["brand"]),
            ("released", "passthrough", ["released"]),
        ]
    )
    return ItemCatalog(table, encoder)


def recommender(catalog, epochs=2, **params):
    return MultimodalFusionRecommender(
        catalog,
        random_state=0,
        device="cpu",
        training=Training(max_epochs=epochs),
        **params,
    )


def same_lists(printed, wanted):
    """Compare what was printed with a table, to the bit."""
    found = records(printed)
    assert found.drop(columns="score").astype(str).to_numpy().tolist() == (
        wanted.drop(columns="score").astype(str).to_numpy().tolist()
    )
    scores = found["score"].astype("float32").to_numpy()
    assert scores.tobytes() == wanted["score"].to_numpy().tobytes()


# -- encode --------------------------------------------------------------------------


def test_vectors_are_those_of_a_catalogue_of_the_table(vectors, item_table):
    stored, wanted = (
        ItemCatalog.from_parquet(vectors).blocks,
        by_hand(item_table).blocks,
    )
    assert stored.modalities == wanted.modalities == ["price", "brand", "released"]
    for name in wanted.modalities:
        read = np.asarray(stored.values[name])
        assert read.tobytes() == wanted.values[name].tobytes()


def test_the_report_counts_what_is_missing(tables, item_table, tmp_path):
    table = item_table.assign(price=item_table.price.where(item_table.index > 2))
    table.to_csv(tmp_path / "items.csv", index=False)
    args = ["encode", tmp_path / "items.csv", tmp_path / "out", *CONTENT, "--json"]
    told = json.loads(run(*args).stdout)
    assert (told["items"], told["price"], told["brand"]) == (N_ITEMS, N_ITEMS - 3, 12)


def test_encoding_again_finds_what_is_there(tables, vectors):
    before = {p.name: p.stat().st_mtime_ns for p in vectors.glob("*.parquet")}
    result = run("encode", tables / "items.csv", vectors, *CONTENT)
    assert "1 of 1 files were there already" in result.stderr
    assert {p.name: p.stat().st_mtime_ns for p in vectors.glob("*.parquet")} == before


def test_another_encoder_does_not_write_into_the_same_folder(tables, vectors):
    before = (vectors / FILE).read_bytes()
    args = [tables / "items.csv", vectors, "--number", "price"]
    assert "another encoder" in run("encode", *args, code=3).stderr
    assert (vectors / FILE).read_bytes() == before


def test_parquet_files_give_the_same_vectors(vectors, item_table, tmp_path):
    item_table.assign(released=pd.to_datetime(item_table.released)).to_parquet(
        tmp_path / "items.parquet"
    )
    args = [tmp_path / "items.parquet", tmp_path / "out", *CONTENT]
    run("encode", *args, "--rows-per-part", 5)
    assert len([*(tmp_path / "out").glob("*.parquet")]) == 3
    ours = ItemCatalog.from_parquet(tmp_path / "out").blocks
    theirs = ItemCatalog.from_parquet(vectors).blocks
    for name in theirs.modalities:
        assert np.array_equal(np.asarray(ours.values[name]), theirs.values[name])


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        ([], r"no content is named", 2),
        (["--number", "cost"], "no column 'cost'", 3),
        (["--number", "brand"], "column 'brand', row 0: 'north' is no number", 3),
        (["--number", "price", "--category", "price"], "'price' is named twice", 2),
        (["--number", "price", "--key", "sku"], "no column 'sku'", 3),
        (
            ["--number", "price", "--key", "brand"],
            "items.csv: brand 'north' in row 3",
            3,
        ),
        (["--text", "brand", "--set", "text__trunc_dim=3"], "'truncate_dim'", 2),
        (["--number", "price", "--set", "nonsense"], "NAME=VALUE", 2),
        (["--text", "brand", "--set", "text__n_components=3"], "learns from items", 2),
    ],
)
def test_what_cannot_be_encoded_leaves_nothing(tables, tmp_path, args, message, code):
    out = tmp_path / "out"
    result = run("encode", tables / "items.csv", out, *args, code=code)
    assert message in result.stderr
    assert not out.exists()


def test_pictures_are_found_beside_their_table(tmp_path, monkeypatch):
    from PIL import Image

    shop = tmp_path / "shop"
    (shop / "pictures").mkdir(parents=True)
    for name in ("a", "b"):
        Image.effect_noise((32, 32), 50).save(shop / "pictures" / f"{name}.png")
    table = {"item_id": ["a", "b", "c"], "image": ["pictures/a.png", None, "gone.png"]}
    pd.DataFrame(table).to_csv(shop / "items.csv", index=False)
    monkeypatch.chdir(tmp_path)
    args = ["encode", "shop/items.csv", "out", "--image", "image", *PICTURES]
    error = run(*args, code=3).stderr
    assert "gone.png" in error
    assert "items.csv" in error
    assert "give --on-error missing" in error
    result = run(*args, "--on-error", "missing", "--json")
    assert json.loads(result.stdout)["image"] == 1
    assert "Missing: c: " in result.stderr
    assert "gone.png: no such file" in result.stderr


PICTURES = ["--image-model", "tf_efficientnet_lite0"]
PICTURES += ["--image-pretrained", "package:efficientnet-lite0", "--device", "cpu"]


def test_a_recipe_comes_back(tmp_path):
    recipe = Recipe(
        (
            Column("title", "text", {"model": "m", "cache": "here", "normalize": True}),
            Column("brand", "category", {"categories": ["NA", "süd"]}),
        )
    )
    recipe.write(tmp_path)
    kept = Column("title", "text", {"model": "m", "normalize": True})
    assert Recipe.read(tmp_path) == Recipe((kept, recipe.columns[1]))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9, "columns": []}'])
def test_a_damaged_recipe_says_what_to_do(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ValueError, match="encode the items again"):
        Recipe.read(tmp_path)


# -- fit and recommend ---------------------------------------------------------------


def test_a_model_is_that_of_python_to_the_bit(model, item_table, like_table):
    X = like_table[["user_id", "item_id", "timestamp"]]
    rec = recommender(by_hand(item_table)).fit(X)
    same_lists(run("recommend", model), rec.recommend())
    same_lists(run("similar", model, "--item", "003"), rec.similar_items(["003"]))


@settings(
    max_examples=4,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_options_give_the_model_of_python(
    tables, vectors, item_table, like_table, tmp_path, data
):
    fusion = data.draw(st.sampled_from(["gated", "concat", "late", "attention"]))
    n_factors = data.draw(st.integers(3, 9))
    neutral = data.draw(st.sampled_from([None, 2.5]))
    k = data.draw(st.integers(1, N_ITEMS))
    args = [tables / "likes.csv", tmp_path / "m", "--items", vectors, *SEED]
    args += ["--fusion", fusion, "--n-factors", n_factors]
    y = None
    if neutral is not None:
        args += ["--rating", "stars", "--neutral", neutral]
        y = like_table["stars"] - neutral
    weights = None
    if data.draw(st.booleans()):
        args += ["--weights", "plays"]
        weights = like_table["plays"]
    run("fit", *args)
    rec = recommender(by_hand(item_table), fusion=fusion, n_factors=n_factors)
    rec.fit(like_table[["user_id", "item_id", "timestamp"]], y, weights)
    same_lists(run("recommend", tmp_path / "m", "-k", k), rec.recommend(k=k))


def test_weights_of_parquet_files_are_those_of_csv_files(
    tables, vectors, like_table, tmp_path, monkeypatch
):
    like_table.to_parquet(tmp_path / "likes.parquet")
    rest = ["--items", vectors, *SEED, "--rating", "stars", "--neutral", 2.5]
    rest += ["--weights", "plays"]
    lists = []
    for n, path in enumerate([tables / "likes.csv", tmp_path / "likes.parquet"]):
        run("fit", path, tmp_path / str(n), *rest)
        lists.append(run("recommend", tmp_path / str(n)).stdout)
    assert lists[0] == lists[1]
    given, own = [], ImplicitALSRecommender.fit

    def spy(self, X, y=None, sample_weight=None):
        given.append(sample_weight.tolist())
        return own(self, X, y, sample_weight)

    monkeypatch.setattr(ImplicitALSRecommender, "fit", spy)
    run("evaluate", tables / "likes.csv", *rest, "--baseline", "als")
    ((train, _),) = LeaveLastOut().split(like_table)
    assert given == [like_table["plays"].iloc[train].tolist()]


def test_raw_items_are_encoded_for_the_fit(tables, model, tmp_path):
    args = [tables / "likes.csv", tmp_path / "m", "--items", tables / "items.csv"]
    run("fit", *args, *CONTENT, *SEED)
    assert run("recommend", tmp_path / "m").stdout == run("recommend", model).stdout


def test_columns_of_vectors_in_a_csv_file_are_content(items, ratings, tmp_path):
    items.to_csv(tmp_path / "items.csv", index=False)
    ratings.to_parquet(tmp_path / "likes.parquet")
    args = [tmp_path / "likes.parquet", tmp_path / "m", "--items"]
    run("fit", *args, tmp_path / "items.csv", *SEED)
    rec = recommender(ItemCatalog(items))
    rec.fit(ratings[["user_id", "item_id", "timestamp"]])
    same_lists(run("recommend", tmp_path / "m", "--user", 103), rec.recommend([103]))


def test_columns_of_other_names(tables, vectors, model, like_table, tmp_path):
    names = {"user_id": "who", "item_id": "what", "timestamp": "when"}
    like_table.rename(columns=names).to_csv(tmp_path / "l.csv", index=False, sep=";")
    args = [tmp_path / "l.csv", tmp_path / "m", "--items", vectors, *SEED]
    columns = ["--user", "who", "--item", "what", "--time", "when", "--sep", ";"]
    run("fit", *args, *columns)
    assert run("recommend", tmp_path / "m").stdout == run("recommend", model).stdout


def test_a_key_of_another_name(tables, item_table, model, tmp_path):
    named = item_table.rename(columns={"item_id": "sku"})
    named.to_csv(tmp_path / "items.csv", index=False)
    run("encode", tmp_path / "items.csv", tmp_path / "v", *CONTENT, "--key", "sku")
    run("fit", tables / "likes.csv", tmp_path / "m", "--items", tmp_path / "v", *SEED)
    assert run("recommend", tmp_path / "m").stdout == run("recommend", model).stdout


def test_items_without_content_may_live_by_their_interactions(
    tables, item_table, tmp_path
):
    empty = item_table.copy()
    empty.loc[4, ["price", "brand", "released"]] = None
    empty.to_csv(tmp_path / "items.csv", index=False)
    run("encode", tmp_path / "items.csv", tmp_path / "v", *CONTENT)
    args = ["fit", tables / "likes.csv", tmp_path / "m", "--items", tmp_path / "v"]
    told = run(*args, *SEED, code=3).stderr
    assert "item '004' (row 4) has no modality" in told
    assert "--on-empty ignore" in told
    run(*args, *SEED, "--on-empty", "ignore")


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        (["--set", "training__max_epoch=3"], "did you mean 'training__max_epochs'", 2),
        (["--set", "fusio=late"], "did you mean 'fusion'", 2),
        (["--set", "n_factors=many"], "'n_factors' parameter", 3),
        (["--fusion", "gatd"], "gatd", 3),
        (["--objective", "hinge"], "--objective", 2),
        (["--rating", "points"], "no column 'points'", 3),
        (["--weights", "brand"], "no column 'brand'", 3),
        (["--weights", "user_id"], "named twice", 3),
        (["--user", "item_id"], "named twice", 3),
        (["--items", "nowhere"], "no file or folder", 3),
    ],
)
def test_a_fit_that_fails_leaves_no_model(
    tables, vectors, tmp_path, args, message, code
):
    given = [tables / "likes.csv", tmp_path / "m", "--items", vectors, *SEED, *args]
    assert message in run("fit", *given, code=code).stderr
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "not read: 'stars', 'when'."),
        (["--rating", "stars"], "not read: 'when'."),
        (["--rating", "stars", "--time", "when"], None),
        (["--quiet"], None),
    ],
)
def test_columns_that_are_not_read_are_told(
    vectors, like_table, tmp_path, suffix, args, told
):
    """Without --rating, a row of one star is a like."""
    table = like_table[["user_id", "item_id"]].assign(stars=1.0, when="2026-01-01")
    path = tmp_path / f"ratings{suffix}"
    getattr(table, {".csv": "to_csv"}.get(suffix, "to_parquet"))(path, index=False)
    given = [path, tmp_path / "m", "--items", vectors, *SEED, *args]
    stderr = run("fit", *given, "--set", "training__max_epochs=1").stderr
    assert ("not read" in stderr) == (told is not None)
    assert (told or "") in stderr


def test_an_empty_id_names_its_row(tables, vectors, tmp_path):
    (tmp_path / "l.csv").write_text("user_id,item_id\na,001\n,002\n")
    args = ["fit", tmp_path / "l.csv", tmp_path / "m", "--items", vectors]
    error = run(*args, code=3).stderr
    assert "l.csv: column 'user_id' is empty in row 1" in error


def test_ids_of_two_types_do_not_meet(vectors, like_table, tmp_path):
    numbers = like_table.assign(item_id=like_table.item_id.astype(int))
    numbers.to_parquet(tmp_path / "likes.parquet")
    args = ["fit", tmp_path / "likes.parquet", tmp_path / "m", "--items", vectors]
    error = run(*args, code=3).stderr
    assert "numbers such as 0, 3, 6, here texts such as '000', '001', '002'" in error
    assert "a CSV file has texts" in error


def test_other_items_are_told(vectors, like_table, tmp_path):
    like_table.assign(item_id="x" + like_table.item_id).to_csv(tmp_path / "l.csv")
    args = ["fit", tmp_path / "l.csv", tmp_path / "m", "--items", vectors]
    assert "look at the columns --key and --item" in run(*args, code=3).stderr


def test_lists_of_some_users(model):
    found = records(run("recommend", model, "--user", "1e2", "--user", "new", "-k", 3))
    assert found["user_id"].tolist() == ["1e2"] * 3 + ["new"] * 3
    told = json.loads(
        run("recommend", model, "--user", "1e2", "-k", 1, "--json").stdout
    )
    assert [row["user_id"] for row in told] == ["1e2"]
    seen = run("recommend", model, "--user", "1e2", "-k", N_ITEMS, "--include-seen")
    assert len(records(seen)) == N_ITEMS


def test_places_of_lists_may_be_kept_for_new_items(model):
    rec = MultimodalFusionRecommender.load(model)
    met = int(rec.seen_.popularity.min())
    for places, fresh in (("1", 1), ("1.0", 1.0)):
        asked = ["-k", 2, "--fresh", places, "--fresh-met", met]
        found = run("recommend", model, *asked)
        same_lists(found, rec.recommend(k=2, fresh=fresh, fresh_met=met))
    is_new = rec.seen_.popularity <= met
    listed = records(found).groupby("user_id")["item_id"]
    for row, user in enumerate(rec.user_index_):
        n_left = is_new.sum() - is_new[rec.seen_.of(row)].sum()
        shown = rec.item_index_.get_indexer(listed.get_group(user))
        assert is_new[shown].sum() == min(2, n_left)
    refused = run("recommend", model, "--fresh", "half", code=3).stderr
    assert "fresh must be a share of the places" in refused


def test_a_folder_without_a_model_is_told(tmp_path):
    assert "no saved recommender" in run("recommend", tmp_path, code=3).stderr


# -- similar -------------------------------------------------------------------------


def test_content_finds_what_python_finds(model, vectors, item_table):
    catalog = by_hand(item_table)
    rec = MultimodalFusionRecommender.load(model, catalog=catalog)
    args = ["similar", model, "--items", vectors, "--content", "price=2.25"]
    wanted = rec.similar_items(pd.DataFrame({"price": [2.25]}))
    same_lists(run(*args), wanted)
    query = {"brand": ["süd"], "released": [pd.Timestamp("2026-01-05")]}
    args = [*args[:4], "--content", "brand=süd", "--content", "released=2026-01-05"]
    same_lists(run(*args), rec.similar_items(pd.DataFrame(query)))


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        ([], "either --item or --content", 2),
        (["--content", "price=1"], "--content needs --items", 2),
        (["--items", "V", "--content", "price"], "COLUMN=VALUE", 2),
        (["--items", "V", "--content", "cost=1"], "'cost' is not encoded", 2),
        (["--items", "V", "--content", "price=low"], "price must be a number", 2),
        (["--items", "V", "--content", "released=soon"], "date in ISO 8601", 2),
        (["--items", "V", "--content", "brand=unknown"], "nothing in any modality", 3),
        (["--item", "999"], "999", 3),
    ],
)
def test_a_query_that_cannot_be_asked(model, vectors, args, message, code):
    args = [vectors if arg == "V" else arg for arg in args]
    assert message in run("similar", model, *args, code=code).stderr


# -- evaluate ------------------------------------------------------------------------


METRICS = ["ndcg@5", "recall@3"]
ASKED = ["--metric", "ndcg@5", "--metric", "recall@3", "--json"]


def figures(rec, train, test):
    users = test["user_id"].unique()
    return evaluate_ranking(rec.recommend(users, k=5), test, METRICS).mean().to_dict()


@pytest.mark.parametrize("split", ["latest", "random"])
def test_figures_of_a_split_are_those_of_python(
    tables, vectors, item_table, like_table, split
):
    args = [tables / "likes.csv", "--items", vectors, "--split", split, *SEED, *ASKED]
    baselines = ["--baseline", "popularity", "--baseline", "ease"]
    told = json.loads(run("evaluate", *args, *baselines).stdout)
    X = like_table[["user_id", "item_id", "timestamp"]]
    splitter = (
        LeaveLastOut() if split == "latest" else RandomHoldoutPerUser(random_state=0)
    )
    ((train, test),) = splitter.split(X)
    train, test = X.iloc[train], X.iloc[test]
    rec = recommender(by_hand(item_table)).fit(train)
    assert told["n_users"] == N_USERS
    assert told["metrics"] == {
        "model": figures(rec, train, test),
        "popularity": figures(PopularityRecommender().fit(train), train, test),
        "ease": figures(EASERecommender().fit(train), train, test),
    }


def test_a_saved_model_is_judged_beside_what_it_learned_from(
    tables, vectors, like_table, tmp_path
):
    X = like_table[["user_id", "item_id", "timestamp"]]
    ((train, test),) = LeaveLastOut().split(X)
    for name, rows in (("train.csv", train), ("test.csv", test)):
        like_table.iloc[rows].to_csv(tmp_path / name, index=False)
    model = tmp_path / "m"
    rated = ["--rating", "stars", "--neutral", 2]
    run("fit", tmp_path / "train.csv", model, "--items", vectors, *SEED, *rated)
    args = ["evaluate", model, tmp_path / "test.csv", *ASKED, *rated]
    told = json.loads(run(*args).stdout)
    y = like_table["stars"] - 2
    popular = PopularityRecommender().fit(X.iloc[train], y.iloc[train])
    liked = X.iloc[test][y.iloc[test] > 0]
    assert told["metrics"]["popularity"] == figures(popular, X, liked)
    rec = MultimodalFusionRecommender.load(model)
    assert told["metrics"]["model"] == figures(rec, X, liked)


@pytest.mark.filterwarnings("default:.*relevant rows were seen in fit")
def test_no_index_is_searched_that_may_miss_items(model, tables, monkeypatch):
    def search(*args):
        pytest.fail("an index is searched")

    monkeypatch.setattr(MultimodalFusionRecommender, "_own_index", search)
    assert "ndcg@10" in run("evaluate", model, tables / "likes.csv").stdout


def test_a_figure_below_the_least_is_code_1(tables, vectors):
    args = ["evaluate", tables / "likes.csv", "--items", vectors, *SEED]
    low = run(*args, "--min", "ndcg@10=1.01", code=1)
    assert "below 1.01" in low.stderr
    assert low.stdout.splitlines()[0].split() == ["ndcg@10", "recall@10"]
    assert low.stdout.splitlines()[1].startswith("model")
    run(*args, "--min", "ndcg@10=0")


@pytest.mark.filterwarnings("default:.*relevant rows were seen in fit")
def test_rows_that_the_model_has_seen_are_warned_of(model, tables):
    assert "were seen in fit" in run("evaluate", model, tables / "likes.csv").stderr


@pytest.mark.parametrize(
    ("args", "message", "code"),
    [
        (["LIKES"], "give MODEL and TEST", 2),
        (["LIKES", "--items", "V", "--metric", "ndgc@5"], "unknown metric", 2),
        (["LIKES", "--items", "V", "--min", "mrr@5=1"], "the metrics are", 2),
        (["LIKES", "--items", "V", "--min", "ndcg@10=x"], "must be a number", 2),
        (["M", "LIKES", "--items", "V"], "a saved model brings", 2),
        (["M", "LIKES", "--rating", "stars", "--neutral", "9"], "no row is liked", 3),
        (["M", "LIKES", "--weights", "plays"], "a saved model has learned", 2),
    ],
)
def test_what_cannot_be_judged(model, vectors, tables, args, message, code):
    places = {"LIKES": tables / "likes.csv", "V": vectors, "M": model}
    args = [places.get(arg, arg) for arg in args]
    result = run("evaluate", *args, code=code)
    assert message in " ".join(result.stderr.split())
