"""Vectors that somebody gives: any length is read right or refused, by item or row."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.metrics import intra_list_diversity
from skmmrec.retrieval import (
    ApproximateIndex,
    quantize_int8,
    reduce_dimensions,
    rerank_mmr,
)

RNG = np.random.default_rng(0)
VECTORS = pd.DataFrame(RNG.normal(size=(30, 4)), index=[f"i{n:02}" for n in range(30)])
LISTS = pd.DataFrame(
    {
        "user_id": np.repeat([1, 2, 3], 6),
        "item_id": VECTORS.index[np.concatenate([RNG.permutation(30)[:6]] * 3)],
        "score": np.tile(np.arange(6.0, 0, -1), 3),
    }
)
BY_ITEM = {
    "item_vectors": lambda vectors: rerank_mmr(LISTS, vectors, k=4, trade_off=0.3),
    "vectors": lambda vectors: intra_list_diversity(LISTS, vectors).to_frame(),
}


@pytest.mark.parametrize("name", BY_ITEM)
@pytest.mark.parametrize("exponent", [-1000, -120, -60, 0, 60, 100, 1000])
def test_only_directions_count(name, exponent):
    found = BY_ITEM[name](np.ldexp(VECTORS, exponent))
    pd.testing.assert_frame_equal(found, BY_ITEM[name](VECTORS))


@settings(max_examples=30)
@given(st.data())
def test_no_list_has_an_item_twice(data):
    """Whatever vectors are like: it is so, or they are refused."""
    shape = (len(VECTORS), 2)
    numbers = st.floats() | st.sampled_from([0.0, np.inf, np.nan, 1e300, 5e-324])
    drawn = data.draw(st.lists(numbers, min_size=60, max_size=60))
    table = pd.DataFrame(np.reshape(drawn, shape), VECTORS.index)
    needed = table.loc[LISTS.item_id.unique()]
    try:
        found = rerank_mmr(LISTS, table, k=4, trade_off=0.3)
    except ValueError:
        assert np.isinf(table).any(axis=None) or needed.isna().any(axis=None)
        return
    assert len(found) == 12
    assert not found.duplicated(["user_id", "item_id"]).any()


@pytest.mark.parametrize("name", BY_ITEM)
def test_what_is_no_table_of_vectors_is_named(name):
    def message(table, error=ValueError):
        with pytest.raises(error) as told:
            BY_ITEM[name](table)
        return str(told.value)

    for table in (
        VECTORS.to_numpy(),
        VECTORS.T.to_dict("list"),
        pl.DataFrame({"a": [1]}),
    ):
        assert message(table, TypeError).startswith(
            f"{name} must be a DataFrame of pandas"
        )
    twice = pd.concat([VECTORS, VECTORS[3:4]])
    assert message(twice) == f"{name} has item 'i03' twice (row 30)"
    assert "its vectors are empty" in message(VECTORS.iloc[:, :0])
    for value, row in ((np.inf, 5), ("much", 7)):
        odd = VECTORS.astype(object)
        odd.iloc[row, 1] = value
        assert f"({name} in row {row} of column 1)" in message(odd)


def test_an_item_without_a_vector_is_like_no_other():
    """Variety needs it; the mean of what is there does not."""
    lacking = VECTORS.copy()
    lacking.loc[LISTS.item_id[2], 1] = np.nan
    with pytest.raises(ValueError, match=f"holds NaN for item '{LISTS.item_id[2]}'"):
        rerank_mmr(LISTS, lacking)
    assert intra_list_diversity(LISTS, lacking).notna().all()


@pytest.mark.parametrize("exponent", [120, 1000])
def test_numbers_beyond_float32_are_named_when_they_are_compressed(exponent):
    table = VECTORS.to_numpy().copy()
    table[7] = np.ldexp(table[7], exponent + 10)
    for compress in (quantize_int8, lambda v: reduce_dimensions(v, v, 2)):
        with pytest.raises(
            ValueError, match="has numbers in row 7 that float32 cannot"
        ):
            compress(table)


@pytest.mark.parametrize("name", ["items", "users"])
def test_nothing_cannot_be_reduced(name):
    tables = {"items": VECTORS, "users": VECTORS} | {name: VECTORS[:0]}
    with pytest.raises(ValueError, match=f"{name} has no rows"):
        reduce_dimensions(**tables, n_components=2)


def test_an_index_of_long_vectors_is_built_or_refused():
    """Infinite distances end the process, inside of faiss."""
    pytest.importorskip("faiss")
    table = VECTORS.to_numpy()
    index = ApproximateIndex().fit(table)
    found = index.search(table, 3)[0]
    for exponent in (-40, -20, 40):
        other = ApproximateIndex().fit(np.ldexp(table, exponent))
        np.testing.assert_array_equal(
            other.search(np.ldexp(table, exponent), 3)[0], found
        )
    for exponent in (60, 100, 1000):
        message = "finite" if exponent == 1000 else "has numbers beyond 1e"
        long = table.copy()
        long[7] = np.ldexp(long[7], exponent)
        with pytest.raises(ValueError, match=rf"item 7 \(row 7\) .*{message}"):
            ApproximateIndex().fit(long)
        for ask in (
            lambda q: index.search(q, 3),
            lambda q: ApproximateIndex().fit(table, q),
        ):
            with pytest.raises(
                ValueError, match=f"queries must be finite: .*{message}"
            ):
                ask(long)
