"""Texts that pandas counts as one: equal up to a NUL, or without a form in UTF-8."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings, strategies as st

from skmmrec import ItemCatalog
from skmmrec.interactions import check_ids, positions, refuse_merged, sorted_index
from skmmrec.metrics import evaluate_ranking
from skmmrec.recommender import PopularityRecommender

WORDS = st.text(alphabet=["a", "b", "\0", "é", "\ud800"], max_size=4)


def as_objects(texts):
    return pd.Series(texts, dtype=object).to_numpy()


@settings(max_examples=300)
@given(st.lists(WORDS, min_size=1, max_size=6))
@example(["a\0b", "a\0c"])
@example(["a\0b", "a\0b", "a"])
@example(["a\0b", "b\0b"])
@example(["\ud800", "a\ud800"])
def test_texts_that_differ_stay_apart_or_are_refused(texts):
    column = as_objects(texts)
    is_merged = "\ud800" in "".join(texts) or (
        len(set(pd.factorize(column)[0])) < len(set(texts))
    )
    if is_merged:
        with pytest.raises(ValueError, match=r"^sku in row "):
            check_ids(column, "sku")
        return
    ids = check_ids(column, "sku")
    index = sorted_index(ids)
    assert sorted(index.tolist()) == sorted(set(texts))
    assert index[positions(index, ids)].tolist() == texts


def test_the_row_and_both_texts_are_named():
    with pytest.raises(ValueError, match=r"row 2 is 'a\\x00c'.* from 'a\\x00b'"):
        refuse_merged(as_objects(["x", "a\0b", "a\0c"]), "sku")


def test_half_a_character_is_refused():
    with pytest.raises(ValueError, match=r"row 1 is 'a\\ud800', which UTF-8 cannot"):
        check_ids(["a", "a\ud800"], "sku")


def test_many_texts_are_looked_through():
    texts = [f"user {n}" for n in range(100_000)]
    refuse_merged(as_objects(texts), "sku")
    with pytest.raises(ValueError, match="row 100001"):
        refuse_merged(as_objects([*texts, "a\0b", "a\0c"]), "sku")


def test_a_nul_alone_does_no_harm():
    X = pd.DataFrame({"user_id": ["u\0x", "v\0x"], "item_id": ["a\0", "b\0c"]})
    rec = PopularityRecommender().fit(X)
    table = rec.recommend(["u\0x"], k=5, exclude_seen=False)
    assert sorted(table.item_id) == ["a\0", "b\0c"]


def test_tables_and_models_refuse_what_would_be_merged():
    X = pd.DataFrame({"user_id": ["u", "v"], "item_id": ["a\0b", "a\0c"]})
    with pytest.raises(ValueError, match="item_id in row 1"):
        PopularityRecommender().fit(X)
    with pytest.raises(ValueError, match="item_id in row 1"):
        ItemCatalog(X[["item_id"]].assign(text__0=[1.0, 2.0]))


def test_two_tables_are_looked_at_together():
    shown = pd.DataFrame({"user_id": ["u"], "item_id": ["a\0b"]})
    liked = pd.DataFrame({"user_id": ["u"], "item_id": ["a\0c"]})
    with pytest.raises(ValueError, match="item_id of recommendations and relevant"):
        evaluate_ranking(shown, liked, ["hit_rate@1"])
    same = evaluate_ranking(shown, shown, ["hit_rate@1"]).mean()
    np.testing.assert_allclose(same, 1.0, rtol=1e-6, atol=1e-6)
