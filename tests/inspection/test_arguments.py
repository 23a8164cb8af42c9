"""Arguments as they are naturally given: right, or an error that says what to do."""

import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from skmmrec import MultimodalFusionRecommender
from skmmrec.inspection import (
    explain,
    history_contributions,
    modality_contributions,
    nearest_in_history,
)
from skmmrec.recommender import PopularityRecommender

OF_PAIRS = pytest.mark.parametrize(
    "split", [modality_contributions, history_contributions, nearest_in_history]
)
USER, ITEM = "user-0001", "item-0002"


@OF_PAIRS
def test_one_id_goes_with_all_of_the_others(fitted, split):
    items = [ITEM, "item-0007"]
    expected = split(fitted, [USER, USER], items)
    pd.testing.assert_frame_equal(split(fitted, USER, items), expected)
    alone = expected[expected.item_id == ITEM]
    pd.testing.assert_frame_equal(split(fitted, USER, ITEM), alone)
    users = [USER, "user-0002"]
    pd.testing.assert_frame_equal(
        split(fitted, users, ITEM), split(fitted, users, [ITEM, ITEM])
    )


@OF_PAIRS
def test_the_recommender_may_be_inside(fitted, split):
    expected = split(fitted, [USER], [ITEM])
    pd.testing.assert_frame_equal(
        split(make_pipeline(fitted), [USER], [ITEM]), expected
    )


@OF_PAIRS
@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        (ITEM, USER, "items holds ids of users.*give users first"),
        ([USER] * 3, [ITEM] * 2, "users has 3 entries, items 2"),
        ([1], [ITEM], "user_id 1 is a number, but the known ids are strings"),
        ([USER], ["no"], "item 'no' .* is not in the catalogue"),
        ([USER], [None], r"item_id is missing \(NaN or None\) in row 0"),
    ],
)
def test_pairs_that_are_none(fitted, split, users, items, message):
    with pytest.raises(ValueError, match=message):
        split(fitted, users, items)


@OF_PAIRS
def test_what_has_no_vectors_is_named(fitted, truth, split):
    popular = PopularityRecommender().fit(truth.interactions[["user_id", "item_id"]])
    with pytest.raises(TypeError, match="PopularityRecommender has no vectors"):
        split(popular, USER, ITEM)
    with pytest.raises(NotFittedError):
        split(MultimodalFusionRecommender(), USER, ITEM)
    with pytest.raises(TypeError, match="list neither has nor contains"):
        split([USER], [ITEM], fitted)


def test_repeated_labels_of_rows_stay_rows(fitted):
    """As after a concat of two lists."""
    parts = [fitted.recommend(user, k=2) for user in (USER, "user-0002")]
    expected = explain(fitted, pd.concat(parts, ignore_index=True))
    explained = explain(fitted, pd.concat(parts))
    assert explained.index.tolist() == [0, 1, 0, 1]
    pd.testing.assert_frame_equal(explained.reset_index(drop=True), expected)


def test_what_is_no_table_of_recommendations(fitted):
    ranked = fitted.recommend(USER, k=2)
    for wrong in ([USER], USER, None):
        with pytest.raises(TypeError, match="DataFrame with the columns user_id and"):
            explain(fitted, wrong, ITEM)
    with pytest.raises(ValueError, match="has no column 'item_id'"):
        explain(fitted, ranked.drop(columns="item_id"))
    with pytest.raises(ValueError, match="has a column 'image' already"):
        explain(fitted, ranked.assign(image="poster.png"))
    with pytest.raises(ValueError, match="has a column 'reason' already"):
        explain(fitted, ranked.assign(reason="because"))


def test_titles_are_found_by_item_id(fitted, truth):
    ranked, table = fitted.recommend(USER, k=2), truth.item_table
    with pytest.raises(TypeError, match="titles must be a Series, got a DataFrame"):
        explain(fitted, ranked, table)
    with pytest.raises(ValueError, match="titles has no ids in its index"):
        explain(fitted, ranked, table.description)
    with pytest.raises(TypeError, match=r"titles must be a Series of pandas.* got str"):
        explain(fitted, ranked, "description")
    titles = table.set_index("item_id").description
    with pytest.raises(ValueError, match=r"titles has item .* more than once"):
        explain(fitted, ranked, pd.concat([titles, titles]))
    said = explain(fitted, ranked, titles)
    pd.testing.assert_frame_equal(explain(fitted, ranked, titles.to_dict()), said)
