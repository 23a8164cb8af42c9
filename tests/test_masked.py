"""What is masked is missing, wherever arrays are taken; never the number below."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from skmmrec import MultimodalFusionRecommender, metrics
from skmmrec.encoders import ContentError, read_picture, read_sound
from skmmrec.experiments import sequential_test
from skmmrec.interactions import check_ids, check_numbers, unmasked
from skmmrec.recommender import PopularityRecommender
from skmmrec.retrieval import reduce_dimensions
from skmmrec.runtime import as_items, is_missing

KINDS = ["int8", "int64", "float32", "float64", "bool", "U3"]


@settings(max_examples=60)
@given(st.sampled_from(KINDS), st.lists(st.tuples(st.integers(0, 99), st.booleans())))
def test_masked_entries_become_missing_and_others_stay(kind, pairs):
    values = np.array([value for value, _ in pairs]).astype(kind)
    mask = np.array([is_masked for _, is_masked in pairs], bool)
    found = np.asarray(unmasked(np.ma.array(values, mask=mask)))
    assert found.shape == values.shape
    assert pd.isna(found).tolist() == mask.tolist()
    assert found[~mask].tolist() == values[~mask].tolist()
    assert unmasked(values) is values


def masked(values, row=1):
    array = np.ma.array(values)
    array[row] = np.ma.masked
    return array


X = np.array([[1, 5], [1, 6], [2, 5], [2, 6]])
IDS = {"int": X, "object": X.astype(object), "large": X + 2**60}
ONES = [[1, 0], [0, 1]]
REFUSED = {
    "ids": lambda: check_ids(masked([1, 2]), "user_id"),
    "numbers": lambda: check_numbers(masked([1.0, 2.0]), "y"),
    "y": lambda: PopularityRecommender().fit(X, masked([1, 1, 1, 1])),
    "floating y": lambda: PopularityRecommender().fit(X, masked([1.0, 1, 1, 1])),
    "weights": lambda: MultimodalFusionRecommender().fit(
        X, sample_weight=masked([1, 1, 1, 1])
    ),
    "relevance": lambda: metrics.ndcg_at_k(masked(ONES), [1, 1]),
    "relevant items": lambda: metrics.ndcg_at_k(ONES, masked([1, 1])),
    "gains": lambda: metrics.graded_ndcg_at_k(masked(ONES), ONES),
    "scores": lambda: metrics.relevance_from_scores(masked([[0.1], [0.2]]), [[1], [1]]),
    "values": lambda: sequential_test(masked([1.0, 2.0]), [1.0, 2.0], effect=1),
    "vectors": lambda: reduce_dimensions(masked(np.eye(3)), np.eye(3), 2),
    **{
        f"{name} table": lambda table=table: PopularityRecommender().fit(masked(table))
        for name, table in IDS.items()
    },
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_must_be_there_is_refused_where_it_is_masked(case):
    with pytest.raises(ValueError, match=r"(?i)missing|nan|none|finite"):
        REFUSED[case]()


def test_several_tasks_may_lack_answers():
    y = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[False, True], [False, False]])
    found = check_numbers(y, "y", ensure_all_finite="allow-nan")
    np.testing.assert_array_equal(found, [[1.0, np.nan], [3.0, 4.0]])


def test_an_item_may_be_masked_as_a_whole():
    texts = np.ma.array(["a", "b"], mask=[False, True])
    assert as_items(texts, "encoder") == ["a", None]
    pictures = masked(np.full((2, 4, 4, 3), 7, np.uint8))
    assert [*map(is_missing, as_items(pictures, "encoder"))] == [False, True]
    assert is_missing(np.ma.masked)


def test_a_part_of_an_item_may_not_be_masked():
    picture = np.ma.array(np.full((4, 4, 3), 9, np.uint8))
    assert read_picture(picture).size == (4, 4)
    picture[0, 0] = np.ma.masked
    with pytest.raises(ContentError, match="has 3 masked pixels"):
        read_picture(picture)
    samples = masked(np.linspace(-1, 1, 100))
    with pytest.raises(ContentError, match="has 1 masked samples"):
        read_sound((samples, 8000), 8000)
