"""The rate at which content is hidden, where a fit chooses it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from skmmrec import ItemCatalog, MultimodalFusionRecommender
from skmmrec.recommender import ContentRecommender
from skmmrec.recommender.training._by_precision import choose_modality_dropout
from tests.recommender.two_tastes import fit

AUTO = "regularization__modality_dropout"
precisions = st.floats(0, 1000)


def rate(precision):
    return choose_modality_dropout(precision).value


@given(precisions, precisions)
def test_the_more_content_speaks_the_less_is_hidden(one, other):
    low, high = sorted((one, other))
    assert 0 <= rate(high) <= rate(low) <= 0.2


@given(st.floats(0.1, 100))
def test_there_is_no_step(precision):
    # The slope is at most that of 0.2 over three and a half powers of e.
    assert abs(rate(precision * 1.01) - rate(precision)) <= 0.06 * np.log(1.01) + 1e-12


def test_free_embeddings_and_those_that_are_not():
    assert [rate(0), rate(0.5), rate(1)] == [0.2, 0.2, 0.2]
    assert [rate(30), rate(100)] == [0, 0]
    np.testing.assert_allclose(rate(30**0.5), 0.1, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("precision", "same"), [(1.0, 0.2), (30.0, 0.0)])
def test_a_fit_hides_what_the_rule_says(tastes, precision, same):
    items, X = tastes
    asked = {"regularization__id_l2": precision, "training__max_epochs": 3}
    by_itself = fit(items, X, **asked)
    by_hand = fit(items, X, **asked, **{AUTO: same})
    pd.testing.assert_frame_equal(by_itself.item_vectors_, by_hand.item_vectors_)
    other = fit(items, X, **asked, **{AUTO: 0.6})
    assert not np.allclose(by_itself.item_vectors_, other.item_vectors_, atol=1e-4)
    choice = by_itself.choices_["modality_dropout"]
    assert choice.value == same
    assert choice.figures == {"id_l2": precision}
    assert "modality_dropout" not in by_hand.choices_


def test_training_further_hides_as_much(tastes):
    items, X = tastes
    vectors = []
    for value in ("auto", 0.0):
        asked = {"regularization__id_l2": 30.0, AUTO: value}
        rec = fit(items, X, **asked, training__partial_fit_epochs=2)
        new = pd.DataFrame({"user_id": [0, 1, 2], "item_id": [1, 2, 3]})
        vectors.append(rec.partial_fit(new).item_vectors_)
    pd.testing.assert_frame_equal(*vectors)


def test_nothing_is_chosen_where_there_is_nothing_to_hide(tastes):
    items, X = tastes
    without = MultimodalFusionRecommender(random_state=0).fit(X)
    assert "id_l2" in without.choices_
    assert "modality_dropout" not in without.choices_
    content = ContentRecommender(ItemCatalog(items)).fit(X)
    assert "modality_dropout" not in content.choices_
