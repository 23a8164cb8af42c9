"""Numbers, categories and dates as content of items and users."""

from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.inspection import explain, modality_contributions
from skmmrec.recommender import ContentRecommender, Propagation, Regularization

FEW = pd.DataFrame({"user_id": [1, 1, 2, 2], "item_id": [0, 1, 2, 3]})
N = 200


def scaled(*columns):
    return make_column_transformer(*[(StandardScaler(), [c]) for c in columns])


@pytest.fixture(scope="module")
def prices():
    return np.exp(np.random.default_rng(0).normal(3, 1, N))


@pytest.fixture(scope="module", params=["scaled", "raw", "log", "no encoder"])
def priced(request, prices):
    """A recommender that knows prices alone."""
    items = pd.DataFrame({"item_id": range(N), "price": prices})
    encoders = {
        "scaled": scaled("price"),
        "raw": make_column_transformer(("passthrough", ["price"])),
        "log": make_column_transformer((FunctionTransformer(np.log), ["price"])),
        "no encoder": None,
    }
    encoder = encoders[request.param]
    if encoder is None:
        items = items.rename(columns={"price": "price__x"})
    return ContentRecommender(ItemCatalog(items, encoder)).fit(FEW)


def test_distinct_prices_have_distinct_vectors(priced):
    vectors = priced.item_vectors_.to_numpy()
    assert len(np.unique(vectors, axis=0)) == N
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=0, atol=1e-5)


def test_the_nearest_in_price_are_the_nearest(priced, prices):
    """By rank: five neighbours lie among the next five on either side."""
    ranks = prices.argsort().argsort()
    near = priced.similar_items(np.arange(N), k=5)
    apart = np.abs(ranks[near["query"]] - ranks[near.item_id])
    assert (apart <= 5).mean() > 0.98
    assert apart.max() <= 10


def test_the_similarity_falls_with_the_difference(priced, prices):
    order = prices.argsort()
    near = priced.similar_items([order[0]], k=N - 1)
    assert ((np.diff(prices[near.item_id]) > 0) | (np.diff(near.score) == 0)).all()


def test_seconds_and_cents_keep_their_differences():
    for start in (1.7e9, 1e9):
        items = pd.DataFrame({"item_id": range(N), "n__x": start + np.arange(N)})
        rec = ContentRecommender(ItemCatalog(items)).fit(FEW)
        near = rec.similar_items(np.arange(1, N - 1), k=2)
        assert (np.abs(near["query"] - near.item_id) == 1).all()


@pytest.mark.parametrize("n_components", [None, 1, 3])
def test_several_numbers_keep_their_sizes(make, n_components):
    """Also after a reduction: all columns say the same, so one axis tells it."""
    size = np.random.default_rng(0).normal(size=N)
    items = pd.DataFrame({f"side {c}": size * c for c in range(1, 6)})
    items.insert(0, "item_id", range(N))
    encoder = make_column_transformer(("passthrough", list(items.columns[1:])))
    rec = make(
        ItemCatalog(items, encoder),
        regularization=Regularization(n_components=n_components, mute_noise=False),
        training__max_epochs=1,
    ).fit(FEW)
    (block,) = rec.model_.content.values.values()
    assert block.shape[1] == {None: 6, 1: 2, 3: 3}[n_components]
    angles = np.arctan2(
        block[:, :-1] @ np.sign(block[size.argmax(), :-1]), block[:, -1]
    )
    ranks = angles.argsort().argsort()
    assert np.abs(ranks - size.argsort().argsort()).max() <= 1


def test_constant_numbers_say_nothing(make):
    """They are there, and neither a reduction nor a new number changes that."""
    items = pd.DataFrame({"item_id": range(9), "width": 2.0, "depth": 3.0})
    catalog = ItemCatalog(
        items, make_column_transformer(("passthrough", ["width", "depth"]))
    )
    rec = make(catalog, regularization__n_components=1).fit(FEW)
    vectors = rec.transform(pd.DataFrame({"width": [2.0, 8.0], "depth": [3.0, -1.0]}))
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert np.isfinite(vectors).all()


@pytest.fixture(scope="module")
def shop():
    rng = np.random.default_rng(1)
    items = pd.DataFrame(
        {
            "item_id": range(60),
            "look__0": rng.normal(size=60),
            "look__1": rng.normal(size=60),
            "price": np.linspace(1, 100, 60),
            "brand": rng.choice(["x", "y", "z"], 60),
            "released": pd.to_datetime("2020-01-01")
            + pd.to_timedelta(rng.integers(0, 999, 60), "D"),
        }
    )
    items.loc[7, "price"] = None
    items.loc[8, "brand"] = None
    return items


UNKNOWN = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
ENCODER = ColumnTransformer(
    [
        ("look", "passthrough", ["look__0", "look__1"]),
        ("price", SplineTransformer(n_knots=4), ["price"]),
        (
            "cost",
            make_pipeline(FunctionTransformer(np.log), StandardScaler()),
            ["price"],
        ),
        ("brand", OneHotEncoder(handle_unknown="ignore"), ["brand"]),
        ("rank", OrdinalEncoder(**UNKNOWN), ["brand"]),
        ("goal", TargetEncoder(target_type="continuous"), ["brand"]),
        ("released", "passthrough", ["released"]),
    ]
)


@pytest.fixture(scope="module")
def liked(shop):
    rng = np.random.default_rng(2)
    pairs = [(u, i) for u in range(20) for i in rng.choice(60, 6, replace=False)]
    return pd.DataFrame(pairs, columns=["user_id", "item_id"])


@pytest.fixture(scope="module")
def of_shop(make, shop, liked):
    catalog = ItemCatalog(shop, ENCODER, target="look__0")
    return make(catalog, propagation=Propagation()).fit(liked)


def test_fit_and_questions_by_some_columns(of_shop, shop):
    content = shop.drop(columns="item_id")
    whole = of_shop.transform(content)
    np.testing.assert_allclose(
        of_shop.transform(content[::-1])[::-1], whole, atol=1e-6, rtol=0
    )
    for column in content.columns[2:]:
        part = content[[column]].dropna()
        answers = of_shop.similar_items(part.head(3), k=4)
        assert len(answers) == 12
        assert np.isfinite(answers.score).all()


def test_new_items_with_some_of_it(of_shop, shop):
    new = pd.DataFrame(
        {
            "item_id": [900, 901, 902],
            "price": [50.0, None, None],
            "brand": [None, "x", "unheard of"],
            "released": [None, None, pd.Timestamp("2021-01-01", tz="UTC")],
        }
    )
    loaded = deepcopy(of_shop).add_items(new)
    mask = loaded.model_.content.mask[loaded.item_index_.get_indexer([900, 901, 902])]
    assert mask.tolist() == [
        [False, True, True, False, False, False, False],
        [False, False, False, True, True, True, False],
        [False, False, False, False, True, True, True],
    ]
    assert set(new.item_id) <= set(loaded.recommend([0], k=80).item_id)


def test_a_saved_model_knows_the_scale(of_shop, shop, tmp_path):
    of_shop.save(tmp_path / "model")
    catalog = ItemCatalog(shop, ENCODER, target="look__0")
    loaded = MultimodalFusionRecommender.load(tmp_path / "model", catalog=catalog)
    pd.testing.assert_frame_equal(loaded.item_vectors_, of_shop.item_vectors_)
    query = pd.DataFrame({"price": [10.0, 90.0]})
    np.testing.assert_array_equal(loaded.transform(query), of_shop.transform(query))


def test_both_forms_are_the_same_model(make):
    rng = np.random.default_rng(0)
    items = pd.DataFrame({"item_id": range(20), "price__x": rng.normal(size=20)})
    items["look__0"], items["look__1"] = rng.normal(size=(2, 20))
    items["day__x"] = pd.to_datetime("2020-01-01") + pd.to_timedelta(range(20), "D")
    items.loc[3, "price__x"] = None
    X = pd.DataFrame({"user_id": np.arange(60) % 9, "item_id": np.arange(60) % 20})
    flat = make().fit(X.merge(items, on="item_id", how="left"))
    whole = make(ItemCatalog(items)).fit(X)
    pd.testing.assert_frame_equal(flat.item_vectors_, whole.item_vectors_)
    np.testing.assert_array_equal(flat.model_.content.mask, whole.model_.content.mask)


def test_who_likes_the_middle_is_offered_the_middle(make):
    """The sign of a price does not tell the middle of three thirds."""
    rng = np.random.default_rng(0)
    price = rng.permutation(np.linspace(0, 1, 90))
    third = np.minimum((price * 3).astype(int), 2)
    old = np.arange(90) < 60
    rows = [
        (user, item)
        for user in range(60)
        for item in rng.choice(
            np.flatnonzero((third == user % 3) & old), 8, replace=False
        )
    ]
    X = pd.DataFrame(rows, columns=["user_id", "item_id"])
    rec = make(
        ItemCatalog(pd.DataFrame({"item_id": range(90), "price__x": price})),
        training__max_epochs=30,
    ).fit(X)
    new = rec.recommend(np.arange(60), k=5, items=np.flatnonzero(~old))
    share = (third[new.item_id] == new.user_id % 3).groupby(new.user_id % 3).mean()
    assert (share > 0.7).all()  # chance is a third


def test_explanations_name_the_columns(make, shop, liked):
    encoder = make_column_transformer(
        (StandardScaler(), ["price"]),
        (OneHotEncoder(handle_unknown="ignore"), ["brand"]),
        ("passthrough", ["released"]),
    )
    rec = make(ItemCatalog(shop, encoder)).fit(liked)
    columns = modality_contributions(rec, [0], [1]).columns
    assert {"price", "brand", "released"} <= set(columns)
    assert len(explain(rec, rec.recommend([0], k=2))) == 2


# -- questions that say nothing ------------------------------------------------------


@pytest.mark.parametrize("on_empty", ["raise", "ignore"])
def test_a_question_that_says_nothing_is_named(shop, liked, on_empty):
    encoder = make_column_transformer(
        (StandardScaler(), ["price"]),
        (OneHotEncoder(handle_unknown="ignore"), ["brand"]),
    )
    rec = ContentRecommender(ItemCatalog(shop, encoder, on_empty=on_empty)).fit(liked)
    query = pd.DataFrame(
        {"brand": ["x", "unheard of"], "price": [1, None]}, index=["a", "b"]
    )
    with pytest.raises(ValueError, match=r"row 1 .*'b'.* nothing .*'price', 'brand'"):
        rec.similar_items(query)
    if on_empty == "raise":
        with pytest.raises(ValueError, match=r"row 1 .*'b'"):
            rec.transform(query)
    else:
        assert not rec.transform(query)[1].any()


# -- users ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people():
    return pd.DataFrame(
        {
            "user_id": range(80),
            "age": np.arange(80) % 2 * 40.0 + np.arange(80) % 3,
            "country": [*"xyzz"] * 20,
        }
    )


AGES = make_column_transformer(
    (StandardScaler(), ["age"]), (OneHotEncoder(handle_unknown="ignore"), ["country"])
)


def test_users_without_history_are_told_by_their_age(make, tastes, people):
    items, X = tastes
    rec = make(
        ItemCatalog(items),
        user_catalog=ItemCatalog(people, AGES, key="user_id"),
        regularization__history_dropout=0.3,
        training__max_epochs=30,
    ).fit(X)
    assert rec.model_.user_content.modalities == ["age", "country"]
    assert rec.model_.user_content.mask.all()
    new = rec.recommend(np.arange(60, 80), k=5)
    assert (new.user_id % 2 == new.item_id % 2).mean() > 0.8


def test_the_scale_of_ages_is_saved(make, tastes, people, tmp_path):
    items, X = tastes
    users = ItemCatalog(people, AGES, key="user_id")
    rec = make(ItemCatalog(items), user_catalog=users).fit(X)
    rec.save(tmp_path / "model")
    space = MultimodalFusionRecommender.load(tmp_path / "model").model_.user_space
    np.testing.assert_array_equal(
        space.transform(users.blocks).values["age"],
        rec.model_.user_space.transform(users.blocks).values["age"],
    )


def test_users_without_content_are_called_users(make, tastes, people):
    items, X = tastes
    bare = people.rename(columns={"user_id": "member"}).astype({"age": float})
    bare.loc[5, ["age", "country"]] = None
    with pytest.raises(ValueError, match=r"^user 5 \(row 5\) has no modality"):
        make(
            ItemCatalog(items), user_catalog=ItemCatalog(bare, AGES, key="member")
        ).fit(X)
    ignored = ItemCatalog(bare, AGES, key="member", on_empty="ignore")
    rec = make(ItemCatalog(items), user_catalog=ignored).fit(X)
    assert not rec.model_.user_content.mask[5].any()


def test_a_table_of_items_in_place_of_users_is_refused(make, tastes):
    items, X = tastes
    catalog = ItemCatalog(items)
    with pytest.raises(ValueError, match=r"user_catalog has the key 'item_id'.*key="):
        make(catalog, user_catalog=catalog).fit(X)


def test_a_table_of_other_users_is_refused(make, tastes, people):
    items, X = tastes
    others = ItemCatalog(
        people.assign(user_id=people.user_id + 1000), AGES, key="user_id"
    )
    with pytest.raises(
        ValueError, match=r"user_catalog .*none of the users of X.* 1000"
    ):
        make(ItemCatalog(items), user_catalog=others).fit(X)
