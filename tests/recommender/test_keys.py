"""Columns of ids are found by the names that parameters and catalogues give them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.inspection import RankingCurveDisplay
from skmmrec.metrics import make_ranking_scorer
from skmmrec.model_selection import ColdItemSplit, ColdUserSplit, LeaveLastOut
from skmmrec.recommender import (
    ContentRecommender,
    ItemKNNRecommender,
    MatrixFactorizationRecommender,
    PopularityRecommender,
)

NEW_NAMES = {"user_id": "customer", "item_id": "sku"}
NEW_ID = "new"


@pytest.fixture(scope="module")
def skus(items):
    """The catalogue with a key of its own."""
    return ItemCatalog(items.rename(columns=NEW_NAMES), key="sku")


@pytest.fixture(scope="module")
def renamed(X):
    """Items first, so that no position helps."""
    return X.rename(columns=NEW_NAMES)[["sku", "timestamp", "customer"]]


@pytest.fixture(scope="module")
def by_name(make, skus, renamed, y):
    return make(skus, user_key="customer").fit(renamed, y)


def unseen(table, y):
    """Give every row another user, so that most are not those of fit."""
    user = "customer" if "customer" in table.columns else "user_id"
    return table.assign(**{user: table[user].to_numpy()[::-1]}), y


def is_equal(one, other):
    pd.testing.assert_frame_equal(one.recommend(k=5), other.recommend(k=5))


def test_every_method_reads_them(by_name, fitted, renamed, X, y):
    is_equal(by_name, fitted)
    for method in ("predict", "transform"):
        np.testing.assert_array_equal(
            getattr(by_name, method)(renamed), getattr(fitted, method)(X)
        )
    assert by_name.score(*unseen(renamed, y)) == fitted.score(*unseen(X, y)) > 0
    assert by_name.knowing_items_of(renamed) is by_name
    assert by_name.keys_.user == ("customer", "user_id")
    assert by_name.keys_.item == ("sku", "item_id")


def test_feedback_is_read(make, skus, catalog, renamed, X, y):
    half = len(X) // 2
    rec = make(skus, user_key="customer").fit(renamed[:half], y[:half])
    same = make(catalog).fit(X[:half], y[:half])
    is_equal(
        rec.partial_fit(renamed[half:], y[half:]),
        same.partial_fit(X[half:], y[half:]),
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda X: X,
        lambda X: X.rename(columns=lambda name: f"ids__{name}"),
        lambda X: X.rename(columns={"sku": "item_id"}),
        lambda X: X.rename(columns={"customer": "user_id"}),
        lambda X: X.rename(columns={"customer": "user_id", "sku": "item_id"}),
        lambda X: X[["customer", "sku", "timestamp"]].rename(columns={"customer": "u"}),
        lambda X: X[["customer", "sku", "timestamp"]].rename(columns={"sku": "i"}),
        lambda X: X[["customer", "sku", "timestamp"]].set_axis(
            ["u", "i", "timestamp"], axis=1
        ),
    ],
)
def test_other_names_and_positions_count(by_name, make, skus, renamed, y, change):
    rec = make(skus, user_key="customer").fit(change(renamed), y)
    is_equal(rec, by_name)


def test_after_loading_they_are_known(by_name, renamed, tmp_path):
    by_name.save(tmp_path / "model")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(renamed), by_name.predict(renamed))
    assert loaded.user_key == "customer"


def test_new_items_come_by_the_key(make, items):
    own = ItemCatalog(items.rename(columns=NEW_NAMES), key="sku")
    rec = make(own, user_key="customer")
    rec.fit(pd.DataFrame({"customer": [1, 2], "sku": ["i00", "i01"]}))
    new = items.rename(columns=NEW_NAMES).head(1).assign(sku="new")
    assert rec.add_items(new).recommend([1], k=1, items=["new"]).item_id[0] == "new"


def test_raw_content_is_told_from_rows(by_name, skus):
    """The key of a catalogue may come along with raw content, as before."""
    with_key = by_name.transform(skus.items)
    without = by_name.transform(skus.items.drop(columns="sku"))
    np.testing.assert_array_equal(with_key, without)


def test_the_key_of_the_users_counts(make, skus, renamed, y, by_name):
    users = pd.DataFrame({"customer": range(100, 110), "age__0": np.arange(1.0, 11)})
    catalog = ItemCatalog(users, key="customer")
    rec = make(skus, user_catalog=catalog).fit(renamed, y)
    same = make(skus, user_catalog=catalog, user_key="customer").fit(renamed, y)
    is_equal(rec, same)


@pytest.mark.parametrize(
    "recommender",
    [
        PopularityRecommender(user_key="customer", item_key="sku"),
        ItemKNNRecommender(user_key="customer", item_key="sku"),
        MatrixFactorizationRecommender(
            2, user_key="customer", item_key="sku", random_state=0, verbose=False
        ),
    ],
    ids=lambda recommender: type(recommender).__name__,
)
def test_baselines_read_them(recommender, renamed, X, y):
    rec = clone(recommender).fit(renamed, y)
    same = clone(recommender).fit(X, y)
    is_equal(rec, same)
    assert rec.score(*unseen(renamed, y)) == same.score(*unseen(X, y)) > 0


def test_content_alone_reads_them(skus, catalog, renamed, X, y):
    rec = ContentRecommender(skus, user_key="customer").fit(renamed, y)
    is_equal(rec, ContentRecommender(catalog).fit(X, y))


@pytest.mark.parametrize("candidates", ["catalog", "rows"])
def test_scorers_read_them(by_name, fitted, renamed, X, candidates):
    scorer = make_ranking_scorer("ndcg@5", candidates=candidates)
    y = np.arange(len(X)) % 2
    (renamed, _), (X, _) = unseen(renamed, y), unseen(X, y)
    expected = scorer(fitted, X, y)
    assert scorer(by_name, renamed, y) == expected
    named = make_ranking_scorer("ndcg@5", candidates=candidates, item_key="sku")
    assert named(by_name, renamed, y) == expected
    inside = make_pipeline(by_name)
    assert scorer(inside, renamed, y) == expected


def test_displays_read_them(by_name, fitted, renamed, X):
    pytest.importorskip("matplotlib")
    show = RankingCurveDisplay.from_estimator
    y = np.arange(len(X)) % 2
    one = show(by_name, *unseen(renamed, y), random_state=0)
    other = show(fitted, *unseen(X, y), random_state=0)
    np.testing.assert_array_equal(one.values, other.values)


def test_splitters_read_them(renamed, X):
    splitter = LeaveLastOut(user_key="customer", item_key="sku", drop_cold_items=True)
    one, other = splitter.split(renamed), LeaveLastOut(drop_cold_items=True).split(X)
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine[1], theirs[1])


def test_a_step_that_makes_numbers_of_ids(renamed):
    """The numpy output of a ColumnTransformer: whole numbers are ids again."""
    X = renamed.assign(sku=renamed.sku.str[1:].astype(int))
    steps = make_column_transformer(("passthrough", ["customer", "sku"]))
    rec = make_pipeline(steps, PopularityRecommender()).fit(X.astype({"sku": float}))
    assert rec[-1].item_index_.dtype == np.int64
    large = X.assign(sku=X.sku + 2**53, more=0.5)
    steps = make_column_transformer(("passthrough", ["customer", "sku", "more"]))
    with pytest.raises(ValueError, match=r"item_id in row \d+ is 9007.* been rounded"):
        make_pipeline(steps, PopularityRecommender()).fit(large)


@pytest.mark.parametrize(
    "names",
    [
        ("item", "user"),
        ("movieId", "userId"),
        ("item", "who"),
        ("what", "customer_number"),
        ("ISBN", "User-ID"),
        ("i", "u"),
        ("timestamp", "item"),
        ("sku", "customer"),
    ],
)
def test_positions_that_names_contradict_are_refused(make, catalog, X, names):
    table = X[["user_id", "item_id"]].set_axis(names, axis=1)
    message = r"named like something else: .*Name the columns .* or swap them"
    for read in (make(catalog).fit, PopularityRecommender().fit):
        with pytest.raises(ValueError, match=message):
            read(table)
    with pytest.raises(ValueError, match=message):
        list(LeaveLastOut(drop_cold_items=True).split(table))


def test_a_key_at_the_place_of_the_users_is_refused(make, skus, X):
    table = X[["item_id", "user_id"]].set_axis(["sku", "buyer"], axis=1)
    with pytest.raises(ValueError, match=r"'sku' but lacks the other id.* Name both"):
        make(skus).fit(table)


@pytest.mark.parametrize(
    "names",
    [
        ("u", "i"),
        ("userId", "movieId"),
        ("who", "what"),
        ("user", "friend_user"),
        ("item_a", "item_b"),
        ("video_watcher", "video"),
        (0, 1),
    ],
)
def test_positions_are_read(X, names):
    table = X[["user_id", "item_id"]]
    same = PopularityRecommender().fit(table)
    is_equal(PopularityRecommender().fit(table.set_axis(list(names), axis=1)), same)
    is_equal(PopularityRecommender().fit(table.to_numpy()), same)


def test_an_unknown_item_in_feedback_says_what_to_do(by_name, make, skus, renamed):
    rec = make(skus, user_key="customer").fit(renamed)
    with pytest.raises(ValueError, match=r"'zz' .* add it by add_items first"):
        rec.partial_fit(pd.DataFrame({"customer": [1], "sku": ["zz"]}))
    with pytest.raises(ValueError, match="give raw content as a DataFrame"):
        rec.similar_items(["a red dress"])


def test_an_item_that_only_the_catalogue_knows_is_told(make, items, renamed):
    catalog = ItemCatalog(items.rename(columns=NEW_NAMES), key="sku")
    one, other = (make(catalog, user_key="customer").fit(renamed) for _ in range(2))
    added = catalog.items[:1].assign(sku=NEW_ID)
    one.add_items(added)
    row = pd.DataFrame({"customer": renamed.customer[:1], "sku": [NEW_ID]})
    for ask in (
        lambda: other.predict(row),
        lambda: other.transform(row),
        lambda: other.similar_items([NEW_ID]),
        lambda: other.recommend(items=[NEW_ID]),
    ):
        with pytest.raises(ValueError, match=r"by now, .* add_items\(.*'sku'"):
            ask()
    other.add_items(added[["sku"]])
    np.testing.assert_allclose(
        other.predict(row), one.predict(row), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("names", "splitter"),
    [(("sku", "cust"), ColdItemSplit), (("cust", "person"), ColdUserSplit)],
)
def test_a_splitter_refuses_ids_beside_those_of_its_kind(X, names, splitter):
    table = X[["user_id", "item_id"]].set_axis(list(names), axis=1)
    with pytest.raises(ValueError, match="named like something else"):
        next(splitter().split(table))


def test_unknown_columns_are_told_with_the_names_that_count(by_name, renamed):
    with pytest.raises(ValueError, match=r"\['price'\]: .* X holds 'customer', 'sku'"):
        by_name.predict(renamed.assign(price=1.0))
