"""What is natural to write: it works, or a warning or an error says what to do."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.model_selection import GridSearchCV, cross_validate

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.metrics import get_scorer
from skmmrec.model_selection import LeaveLastOut, TimeSplit
from skmmrec.recommender import (
    ContentRecommender,
    ItemKNNRecommender,
    MatrixFactorizationRecommender,
    PopularityRecommender,
    Training,
)

STARS = r"y is from {} to {}, and each row counts as liked.*subtract the rating"
SEEN = r"{} of {} relevant rows were seen in fit"
ONE = Training(max_epochs=1)


def warned(call):
    """Warnings of a call, as they reach whoever asks for all of them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return caught


def ranking(catalog):
    yield PopularityRecommender()
    yield ItemKNNRecommender()
    yield ContentRecommender(catalog)
    for objective in ("softmax", "bpr", "bce"):
        yield MatrixFactorizationRecommender(2, objective=objective, training=ONE)
    yield MultimodalFusionRecommender(catalog, n_factors=2, training=ONE)


# -- ratings that are all above 0 --


def test_stars_are_one_warning_at_the_line_of_the_caller(catalog, pairs, stars):
    for rec in ranking(catalog):
        (warning,) = warned(lambda rec=rec: rec.fit(pairs, stars))
        assert warning.filename == __file__
        with pytest.warns(UserWarning, match=STARS.format(1, 5)):
            rec.fit(pairs, stars)


def test_likes_and_ratings_that_are_predicted_are_no_mistake(catalog, pairs, stars):
    for rec in ranking(catalog):
        for y in (None, np.ones(len(pairs)), np.full(len(pairs), 5), stars - 2):
            assert warned(lambda rec=rec, y=y: rec.fit(pairs, y)) == []
    rec = MatrixFactorizationRecommender(2, objective="mse", training=ONE)
    assert warned(lambda: rec.fit(pairs, stars)) == []


def test_feedback_may_be_all_liked(catalog, pairs, stars):
    rec = ContentRecommender(catalog).fit(pairs, stars - 2)
    assert warned(lambda: rec.partial_fit(pairs.head(2), [1, 2])) == []


def test_of_several_answers_each_is_looked_at(catalog, pairs, stars):
    rec = MultimodalFusionRecommender(
        catalog, n_factors=2, training=ONE, objective=["mse", "bpr"]
    )
    y = np.column_stack([stars, np.where(stars > 4, np.nan, stars)])
    with pytest.warns(UserWarning, match=STARS.format(1, 4)):
        rec.fit(pairs, y)
    assert warned(lambda: rec.fit(pairs, y - [0, 2])) == []


@settings(max_examples=40)
@given(st.lists(st.integers(-2, 5), min_size=1, max_size=6))
def test_a_warning_is_for_distinct_numbers_above_zero(y):
    X = pd.DataFrame({"user_id": 1, "item_id": range(len(y))})
    caught = warned(lambda: PopularityRecommender().fit(X, y))
    said = [str(w.message).startswith("y is from") for w in caught]
    assert any(said) == (min(y) > 0 and len(set(y)) > 1)


# -- an order that is none --


ORDERED = {
    "the last rows": lambda X: list(LeaveLastOut().split(X)),
    "a sequence": lambda X: MultimodalFusionRecommender(
        user_tower="sequence", n_factors=2, training=ONE, random_state=0
    ).fit(X),
    "a half-life": lambda X: MultimodalFusionRecommender(
        half_life=3, n_factors=2, training=ONE, random_state=0
    ).fit(X),
}


@pytest.mark.parametrize("use", ORDERED)
@pytest.mark.parametrize("up", [True, False])
def test_rows_sorted_by_item_are_no_order_of_time(use, up):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(0, 9, (90, 2)), columns=["user_id", "item_id"])
    X = X.drop_duplicates()
    by_id = X.sort_values(["user_id", "item_id"], ascending=up)
    (warning,) = warned(lambda: ORDERED[use](by_id))
    assert "rows of each user are sorted by item" in str(warning.message)
    assert Path(warning.filename) == Path(__file__)
    timed = by_id.assign(timestamp=range(len(by_id)))
    for told in (X, timed, by_id.head(9)):
        assert not warned(lambda told=told: ORDERED[use](told))


def test_rows_that_come_user_by_user_are_no_order_of_time():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(0, 9, (60, 2)), columns=["user_id", "item_id"])
    by_user = X.sort_values("user_id", kind="stable")
    (warning,) = warned(lambda: list(TimeSplit().split(by_user)))
    assert "rows come user by user" in str(warning.message)
    assert Path(warning.filename) == Path(__file__)
    timed = by_user.assign(timestamp=range(60))
    for told in (X, timed, by_user.head(9)):
        assert not warned(lambda told=told: list(TimeSplit().split(told)))


def test_where_nothing_reads_the_order_rows_may_be_sorted(pairs):
    X = pairs.sort_values(["user_id", "item_id"])
    rec = MultimodalFusionRecommender(n_factors=2, training=ONE, random_state=0)
    assert not warned(lambda: rec.fit(X))


# -- rows that were seen --


def test_rows_of_fit_are_a_warning_instead_of_zero(catalog, pairs):
    n = len(pairs)
    for rec in ranking(catalog):
        rec.fit(pairs)
        for judge in (rec.score, lambda X, rec=rec: get_scorer("recall@5")(rec, X)):
            with pytest.warns(UserWarning, match=SEEN.format(n, n)):
                judge(pairs)
            (warning,) = warned(lambda judge=judge: judge(pairs))
            assert Path(warning.filename) == Path(__file__)


def test_repeats_are_tolerated_up_to_a_half(pairs):
    rec = PopularityRecommender().fit(pairs.iloc[4:])
    assert warned(lambda: rec.score(pairs.iloc[:8])) == []
    with pytest.warns(UserWarning, match=SEEN.format(5, 9)):
        rec.score(pairs.iloc[:9])


def test_rows_that_are_not_relevant_do_not_count(pairs):
    rec = PopularityRecommender().fit(pairs.iloc[4:])
    y = np.arange(9) < 5
    assert warned(lambda: rec.score(pairs.iloc[:9], y)) == []
    assert warned(lambda: get_scorer("ndcg@5")(rec, pairs.iloc[:9], y)) == []


def test_unknown_users_and_rows_that_are_ranked_alone_are_not_seen(pairs, catalog):
    rec = ContentRecommender(catalog).fit(pairs)
    assert warned(lambda: rec.score(pairs.assign(user_id=1))) == []
    from skmmrec.metrics import make_ranking_scorer

    scorer = make_ranking_scorer("ndcg@5", candidates="rows")
    assert warned(lambda: scorer(rec, pairs)) == []


def test_a_search_may_ask_for_scores_of_training(pairs):
    """They are 0 by what a list is: nobody is warned of each fit."""
    rec, cv = PopularityRecommender(), LeaveLastOut()
    found = cross_validate(rec, pairs, cv=cv, return_train_score=True)
    assert found["train_score"].tolist() == [0.0]
    some_liked = np.arange(len(pairs)) % 2
    for scoring in (None, get_scorer("ndcg@10")):
        cross_validate(
            rec, pairs, some_liked, cv=cv, scoring=scoring, return_train_score=True
        )
    wrong = [(np.arange(len(pairs)), np.arange(9))]
    with pytest.warns(UserWarning, match=SEEN.format(9, 9)):
        cross_validate(rec, pairs, cv=wrong)


# -- parameters inside of parameters --


@pytest.mark.parametrize("name", ["catalog", "user_catalog"])
def test_a_catalogue_is_given_as_a_whole(catalog, name):
    rec = MultimodalFusionRecommender(catalog)
    message = rf"{name}=\[ItemCatalog\(\.\.\.\), ItemCatalog\(\.\.\.\)\]"
    with pytest.raises(ValueError, match=message):
        rec.set_params(**{f"{name}__encoder": None})


def test_what_has_no_parameters_is_given_as_a_whole(catalog, pairs):
    rec = MultimodalFusionRecommender(catalog)
    for name in ("fusion", "objective", "n_factors", "random_state", "pretrained"):
        with pytest.raises(ValueError, match=rf"in a grid is {name}=\[\.\.\.\]"):
            rec.set_params(**{f"{name}__any": 1})
    with pytest.raises(ValueError, match="Invalid parameter 'no'"):
        rec.set_params(no__any=1)
    with pytest.raises(ValueError, match="n_neighbors as a whole"):
        ItemKNNRecommender().set_params(n_neighbors__any=1)
    grid = GridSearchCV(
        ContentRecommender(), {"catalog__key": ["a"]}, cv=LeaveLastOut()
    )
    with pytest.raises(ValueError, match="catalog as a whole"):
        grid.fit(pairs)


def test_a_grid_of_catalogues(items, pairs):
    catalogs = [ItemCatalog(items), ItemCatalog(items.drop(columns="text__0"))]
    grid = GridSearchCV(ContentRecommender(), {"catalog": catalogs}, cv=LeaveLastOut())
    assert grid.fit(pairs).best_params_["catalog"] in catalogs


# -- answers that are neither yes nor no --


def test_what_was_seen_is_left_out_or_not(pairs):
    rec = PopularityRecommender().fit(pairs)
    shown = rec.recommend([100], k=99, exclude_seen=np.False_)
    assert len(shown) == len(rec.item_index_)
    for wrong in ("no", 2, None):
        with pytest.raises(ValueError, match="exclude_seen must be True or False"):
            rec.recommend([100], exclude_seen=wrong)


# -- similar items among some --


@pytest.mark.parametrize("content", [{"size__0": 2}, {"size__0": [2, 3]}])
def test_a_dict_of_content_is_sent_to_a_table(content):
    items = pd.DataFrame({"item_id": [1, 2, 3], "size__0": [1, 2, 3]})
    X = pd.DataFrame({"user_id": [1, 2], "item_id": [1, 3]})
    rec = ContentRecommender(ItemCatalog(items)).fit(X)
    with pytest.raises(TypeError, match=r"got dict: give pd\.DataFrame\(\[query\]\)"):
        rec.similar_items(content)


def test_a_row_of_content_is_no_list_of_ids():
    """Its numbers may be ids, too."""
    items = pd.DataFrame({"item_id": [1, 2, 3], "size__0": [1, 2, 3], "age__0": 3})
    X = pd.DataFrame({"user_id": [1, 2], "item_id": [1, 3]})
    rec = ContentRecommender(ItemCatalog(items)).fit(X)
    for row in (items.iloc[0], items.iloc[0, 1:], pd.Series({"age__0": 2})):
        with pytest.raises(ValueError, match=r"row of content.*to_frame\(\)\.T"):
            rec.similar_items(row)
    ids = pd.Series([3, 1], index=["a", "b"])
    assert rec.similar_items(ids, k=1)["query"].tolist() == [3, 1]
    assert len(rec.similar_items(items.iloc[0].to_frame().T, k=2)) == 2


def test_similar_items_among_some(catalog, items, pairs):
    rec = ContentRecommender(catalog).fit(pairs)
    some = ["i03", "i00", "i07"]
    for query in (["i00", "i05"], items.drop(columns="item_id").iloc[[2, 4]]):
        everything = rec.similar_items(query, k=99)
        expected = everything[everything.item_id.isin(some)].reset_index(drop=True)
        found = rec.similar_items(query, k=99, items=some)
        expected["rank"] = expected.groupby("query").cumcount() + 1
        pd.testing.assert_frame_equal(found, expected)
        first = rec.similar_items(query, k=1, items=some)
        pd.testing.assert_frame_equal(
            first, expected[expected["rank"] == 1].reset_index(drop=True)
        )
    assert rec.similar_items("i00", items="i00").empty
    with pytest.raises(ValueError, match=r"item 'zz' .* is not in the catalogue"):
        rec.similar_items("i00", items=["i03", "zz"])
    with pytest.raises(ValueError, match="is missing"):
        rec.similar_items("i00", items=[None])
