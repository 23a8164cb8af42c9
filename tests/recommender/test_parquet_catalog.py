"""A recommender of content in files is the one of the same content in a table."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.decomposition import PCA

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.catalog import Blocks
from skmmrec.recommender import ContentRecommender, _principal_axes
from skmmrec.recommender._content_space import ContentSpace
from skmmrec.recommender._principal_axes import PresentRows, principal_axes
from tests.lists import list_of

N_ITEMS, N_USERS = 90, 30


def make(key="item_id", n=N_ITEMS, seed=0):
    """Vectors of 12 and 3 numbers and a price, as lists and as columns."""
    rng = np.random.default_rng(seed)
    ids, price = rng.permutation(n), rng.normal(size=n)
    lists, columns = {key: ids}, {key: ids}
    for name, width in (("text", 12), ("image", 3)):
        vectors = rng.normal(size=(n, width)).astype(np.float32)
        there = rng.random(n) < 0.9
        lists[name] = pa.array(
            [
                v.tolist() if has else None
                for v, has in zip(vectors, there, strict=True)
            ],
            list_of(pa.float32(), width),
        )
        vectors[~there] = np.nan
        columns |= {f"{name}__{c}": vectors[:, c] for c in range(width)}
    lists["price__0"] = columns["price__0"] = price
    return pa.table(lists), pd.DataFrame(columns)


@pytest.fixture(params=["at once", "in pieces"])
def twins(request, tmp_path, monkeypatch):
    """Two catalogues of one content; the second is in two files."""
    if request.param == "in pieces":
        monkeypatch.setattr(_principal_axes, "WHOLE", 100)
        monkeypatch.setattr(_principal_axes, "PIECE", 100)
    table, frame = make()
    pq.write_table(table.slice(0, 40), tmp_path / "0.parquet")
    pq.write_table(table.slice(40), tmp_path / "1.parquet")
    return ItemCatalog(frame), ItemCatalog.from_parquet(tmp_path)


def interactions():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "user_id": rng.integers(0, N_USERS, 600),
            "item_id": rng.integers(0, N_ITEMS - 10, 600),
        }
    )


def fitted(catalog, **params):
    rec = MultimodalFusionRecommender(catalog, random_state=0, **params)
    rec.set_params(training__max_epochs=2, regularization__n_components=5)
    return rec.fit(interactions())


def assert_same_models(one, other):
    one, other = one.model_, other.model_
    assert one.fingerprint() == other.fingerprint()
    np.testing.assert_array_equal(one.content.mask, other.content.mask)
    for name, block in one.content.values.items():
        assert type(other.content.values[name]) is np.ndarray
        np.testing.assert_array_equal(block, other.content.values[name])


def test_the_model_is_that_of_the_table(twins):
    held, stored = (fitted(catalog) for catalog in twins)
    assert held.model_.content.widths == {"text": 5, "image": 3, "price": 2}
    assert_same_models(held, stored)


def test_what_comes_later_is_the_same(twins, tmp_path):
    held, stored = (fitted(catalog) for catalog in twins)
    table, frame = make(n=3, seed=2)
    new = table.to_pandas().assign(item_id=[500, 501, 502])
    stored.add_items(new)
    held.add_items(frame.assign(item_id=new["item_id"]))
    assert_same_models(held, stored)
    X = pd.DataFrame({"user_id": [0, 999], "item_id": [501, 502]})
    for rec in (held, stored):
        rec.partial_fit(X)
    assert_same_models(held, stored)
    content = new[["text", "price__0"]]
    one = held.similar_items(frame[[c for c in frame if c[:4] in ("text", "pric")]], 3)
    pd.testing.assert_frame_equal(stored.similar_items(content, 3), one)
    for rec, catalog in zip((held, stored), twins, strict=True):
        rec.save(tmp_path / "saved")
        again = type(rec).load(tmp_path / "saved", catalog=catalog)
        assert_same_models(rec, again)


def test_items_of_more_files_are_added(twins, tmp_path):
    rec = fitted(twins[1])
    table, _ = make(n=4, seed=2)
    table = table.set_column(0, "item_id", pa.array([500, 501, 502, 503]))
    pq.write_table(table, tmp_path / "2.parquet")
    rec.set_params(catalog=ItemCatalog.from_parquet(tmp_path))
    rec.add_items(pd.DataFrame({"item_id": [503, 501]}))
    assert rec.item_index_[-2:].tolist() == [503, 501]
    assert rec.model_.content.mask[-2:].any(axis=1).all()


def test_a_warm_start_and_users_with_content_read_files_too(twins, tmp_path):
    table, frame = make("user_id", N_USERS, 3)
    pq.write_table(table, tmp_path / "users.parquet")
    users = (
        ItemCatalog(frame, key="user_id", on_empty="ignore"),
        ItemCatalog.from_parquet(
            tmp_path / "users.parquet", key="user_id", on_empty="ignore"
        ),
    )
    held, stored = (
        fitted(items, user_catalog=of_users, warm_start=True).fit(interactions())
        for items, of_users in zip(twins, users, strict=True)
    )
    assert_same_models(held, stored)


def test_content_alone_is_read_from_files(twins):
    one, other = (ContentRecommender(c).fit(interactions()) for c in twins)
    assert_same_models(one, other)


def test_raw_content_may_bring_its_key(tmp_path):
    table, _ = make("sku")
    pq.write_table(table, tmp_path / "items.parquet")
    catalog = ItemCatalog.from_parquet(tmp_path, key="sku")
    rec = fitted_by_sku(catalog)
    content = table.slice(0, 3).to_pandas()
    assert (
        rec.transform(content).shape == rec.transform(content.drop(columns="sku")).shape
    )
    assert rec.transform(content).shape[0] == 3


def fitted_by_sku(catalog):
    rec = MultimodalFusionRecommender(catalog, random_state=0)
    rec.set_params(training__max_epochs=1)
    return rec.fit(interactions().rename(columns={"item_id": "sku"}))


# -- reduction in pieces -------------------------------------------------------------


def in_pieces(monkeypatch):
    monkeypatch.setattr(_principal_axes, "WHOLE", 1000)
    monkeypatch.setattr(_principal_axes, "PIECE", 1000)


def directions(n, d, seed=0):
    """Vectors that vary much along some axes and little along others."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    values = rng.normal(size=(n, d)) * 0.7 ** np.arange(d) @ turn + 0.3
    return values.astype(np.float32)


@pytest.mark.parametrize(("n", "d"), [(3000, 30), (200, 150), (60, 90)])
def test_axes_of_many_are_those_of_scikit_learn(monkeypatch, n, d):
    in_pieces(monkeypatch)
    vectors = directions(n, d)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    axes = principal_axes(PresentRows(vectors, np.arange(n)), 6)
    expected = PCA(6, svd_solver="full").fit(vectors.astype(np.float64)).components_
    assert axes.dtype == np.float32
    np.testing.assert_allclose(axes, expected, rtol=1e-3, atol=2e-3)


def test_a_space_in_pieces_is_that_of_the_whole(monkeypatch):
    vectors = directions(500, 40)
    there = np.random.default_rng(1).random((500, 1)) < 0.8
    blocks = Blocks({"text": np.where(there, vectors, 0)}, there)
    whole = ContentSpace.fit(blocks, 6)
    before = whole.transform(blocks)
    in_pieces(monkeypatch)
    pieces = ContentSpace.fit(blocks, 6)
    np.testing.assert_allclose(
        pieces.means["text"], whole.means["text"], rtol=1e-6, atol=1e-7
    )
    after = pieces.transform(blocks)
    np.testing.assert_array_equal(after.mask, there)
    np.testing.assert_allclose(
        after.values["text"], before.values["text"], rtol=1e-3, atol=2e-3
    )


def test_many_vectors_of_zeros_have_no_axes(monkeypatch):
    in_pieces(monkeypatch)
    rows = PresentRows(np.zeros((700, 20), np.float32), np.arange(700))
    assert principal_axes(rows, 4) is None
