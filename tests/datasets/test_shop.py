"""The generated shop keeps what it promises."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from skmmrec.datasets import make_shop
from skmmrec.datasets._goods import COLOURS, KINDS, PATTERNS, Look, photograph


@pytest.fixture(scope="module")
def shop():
    return make_shop(150, 60, missing_rate=0.2, n_uploads=6, random_state=0)


def test_same_seed_gives_the_same_bytes(shop):
    again = make_shop(150, 60, missing_rate=0.2, n_uploads=6, random_state=0)
    for table in ("item_table", "interactions", "users", "item_attributes", "uploads"):
        pd.testing.assert_frame_equal(shop[table], again[table])
    other = make_shop(20, 60, missing_rate=0.2, n_uploads=6, random_state=1)
    assert not shop.item_table.title.equals(other.item_table.title)


def test_visits_are_distinct_pairs_in_strict_order_of_time(shop):
    rows = shop.interactions
    assert not rows.duplicated(["user_id", "item_id"]).any()
    assert not rows.duplicated(["user_id", "timestamp"]).any()
    assert rows.timestamp.is_monotonic_increasing
    assert set(rows.user_id) == set(shop.users.user_id)
    assert rows.bought.isin([0.0, 1.0]).all()
    assert 0.2 < rows.bought.mean() < 0.7


def test_only_what_was_bought_is_rated(shop):
    rated = shop.interactions[shop.interactions.rating.notna()]
    assert rated.bought.eq(1).all()
    assert set(rated.rating) <= {1.0, 2.0, 3.0, 4.0, 5.0}
    assert 0 < len(rated) < shop.interactions.bought.sum()


def test_goods_say_what_they_are(shop):
    items, hidden = shop.item_table, shop.item_attributes
    kinds = hidden.kind.astype(str).to_numpy()
    assert all(k in t for k, t in zip(kinds, items.title, strict=True))
    assert items.price.gt(0).all()
    by_class = items.price.groupby(hidden.price_class.to_numpy(), observed=True).mean()
    assert by_class["budget"] < by_class["middle"] < by_class["premium"]
    for column in ("description", "image"):
        assert 0.05 < items[column].isna().mean() < 0.4


def test_photos_can_be_decoded(shop):
    photos = [*shop.item_table.image.dropna(), *shop.uploads.image]
    for photo in photos:
        with Image.open(io.BytesIO(photo)) as picture:
            assert (picture.format, picture.size, picture.mode) == (
                "PNG",
                (128, 128),
                "RGB",
            )


@pytest.mark.parametrize("kind", KINDS)
def test_every_look_gives_another_photo(kind):
    drawn = {
        photograph(Look(kind, c, p), np.random.default_rng(0), 32)
        for c in COLOURS
        for p in PATTERNS
    }
    assert len(drawn) == len(COLOURS) * len(PATTERNS)


def test_customers_buy_what_they_like(shop):
    affinity = pd.DataFrame(shop.affinity(), shop.users.user_id, shop.affinity.items)
    rows = shop.interactions
    liked = [affinity.at[pair] for pair in zip(rows.user_id, rows.item_id, strict=True)]
    by_bought = pd.Series(liked).groupby(rows.bought).mean()
    assert by_bought[1.0] > by_bought[0.0] + 0.3


def test_good_brands_are_rated_better(shop):
    brand = shop.item_table.set_index("item_id").brand
    stars = shop.interactions.rating.groupby(
        shop.interactions.item_id.map(brand)
    ).mean()
    assert stars["Ahorn"] > stars["Falke"] + 1


def best_and_worst(shop, k=10):
    affinity = shop.affinity()
    lists = []
    for order in (np.argsort(-affinity, axis=1), np.argsort(affinity, axis=1)):
        table = pd.DataFrame({"user_id": np.repeat(shop.users.user_id.to_numpy(), k)})
        table["item_id"] = shop.affinity.items[order[:, :k].ravel()]
        lists.append(table.assign(rank=np.tile(np.arange(1, k + 1), len(affinity))))
    return lists


def test_better_lists_sell_more(shop):
    best, worst = (shop.show(lists, random_state=0) for lists in best_and_worst(shop))
    assert best.bought.mean() > 3 * worst.bought.mean()


def test_customers_stop_looking(shop):
    shown = shop.show(best_and_worst(shop)[0], random_state=0)
    looked = shown.groupby("rank").looked.mean()
    assert looked[1] == 1
    assert looked.is_monotonic_decreasing
    assert looked[10] == pytest.approx(0.85**9, rel=0, abs=0.12)
    assert not (shown.bought & ~shown.looked).any()
    again = shop.show(best_and_worst(shop)[0], random_state=0)
    pd.testing.assert_frame_equal(shown, again)


def test_a_list_is_refused_that_says_too_little(shop):
    lists = best_and_worst(shop)[0]
    with pytest.raises(ValueError, match="has no column 'rank'"):
        shop.show(lists.drop(columns="rank"))
    with pytest.raises(ValueError, match=r"columns .*user_id"):
        shop.show(["item-0001"])
    with pytest.raises(ValueError, match="unknown item_id: 'nothing'"):
        shop.show(lists.assign(item_id="nothing"))


def test_sizes_may_be_least():
    shop = make_shop(1, 1, missing_rate=0, n_uploads=0, random_state=0)
    assert len(shop.item_table) == len(shop.interactions) == 1
    assert shop.item_table.notna().all(axis=None)
    assert list(shop.uploads) == ["image", "kind", "colour", "pattern"]
