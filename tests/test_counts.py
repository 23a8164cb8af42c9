"""A length of lists is refused alike by all that takes one."""

import importlib
import inspect
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from skmmrec import ItemCatalog, MultimodalFusionRecommender, metrics
from skmmrec.experiments import team_draft
from skmmrec.inspection import (
    ExposureCurveDisplay,
    ModalityContributionDisplay,
    RecommendationGalleryDisplay,
)
from skmmrec.llm import LLMReranker
from skmmrec.model_selection import LeaveLastOut, recommend
from skmmrec.ranking import CandidateRanker
from skmmrec.recommender import ItemKNNRecommender, ItemMemory
from skmmrec.retrieval import ApproximateIndex, cap_exposure, cap_groups, rerank_mmr
from tests.test_docs import public_names

# Rooms with tests of their own for it, or without lists that users ask for.
ELSEWHERE = {"feature_store", "service", "testing"}
NOT_FOR_USERS = {"FittedModel.rank"}
LISTS = pd.DataFrame({"user_id": [1, 1], "item_id": ["a", "b"], "score": [2.0, 1.0]})
OF_LISTS = [name for name in dir(metrics) if name.endswith("_at_k")]


@pytest.fixture(scope="module")
def fitted(X, items):
    rec = MultimodalFusionRecommender(ItemCatalog(items), n_factors=4, random_state=0)
    return rec.set_params(training__max_epochs=1).fit(X)


def at(name):
    """A metric of lists, by the length that they are cut to."""
    relevant = [[1]] if name.startswith("graded") else [1]
    return lambda k: getattr(metrics, name)([[1]], relevant, k=k)


@pytest.fixture(scope="module")
def calls(fitted, X):
    """What takes a `k`, by name."""
    vectors = pd.DataFrame(np.eye(2, dtype=np.float32), ["a", "b"])
    index, eye = ApproximateIndex().fit(vectors), csr_array(np.eye(2))
    first = ItemKNNRecommender().fit(X)
    ranker = CandidateRanker(ItemKNNRecommender(), n_candidates=4).fit(X)
    return {
        **{name: at(name) for name in OF_LISTS},
        "VectorRecommender.recommend": lambda k: fitted.recommend(k=k),
        "VectorRecommender.similar_items": lambda k: fitted.similar_items("i00", k),
        "BaseRecommender.recommend": lambda k: first.recommend(k=k),
        "ItemMemory.of_matrix": lambda k: ItemMemory.of_matrix(eye, k),
        "CandidateRanker.recommend": lambda k: ranker.recommend([100], k),
        "CandidateRanker.rerank": lambda k: ranker.rerank(first.recommend(), k=k),
        "recommend": lambda k: recommend(fitted, k=k),
        "ExposureCurveDisplay.from_estimator": lambda k: (
            ExposureCurveDisplay.from_estimator(fitted, k=k)
        ),
        "ModalityContributionDisplay.from_estimator": lambda k: (
            ModalityContributionDisplay.from_estimator(fitted, k=k)
        ),
        "RecommendationGalleryDisplay.from_estimator": lambda k: (
            RecommendationGalleryDisplay.from_estimator(fitted, 100, k=k)
        ),
        "LLMReranker.rerank": lambda k: LLMReranker(str).rerank(
            LISTS, pd.Series(["x", "y"], ["a", "b"]), k=k
        ),
        "team_draft": lambda k: team_draft(LISTS, LISTS, k=k, random_state=0),
        "rerank_mmr": lambda k: rerank_mmr(LISTS, vectors, k=k),
        "cap_exposure": lambda k: cap_exposure(LISTS, k=k, max_share=1.0),
        "cap_groups": lambda k: cap_groups(
            LISTS, pd.Series(["x", "y"], ["a", "b"]), k=k
        ),
        "ApproximateIndex.search": lambda k: index.search(vectors, k),
        "ApproximateIndex.recall": lambda k: index.recall(vectors, k),
        "relevance_from_scores": lambda k: metrics.relevance_from_scores(
            [[1.0]], [[1]], k
        ),
    }


def public_functions():
    """Functions and methods of users that take a `k`, by their names in the code."""
    found = set()
    for room, names in public_names().items():
        module = importlib.import_module(".".join(filter(None, ["skmmrec", room])))
        for public in (getattr(module, name) for name in names):
            members = inspect.getmembers(public) if inspect.isclass(public) else []
            found |= {
                member.__qualname__
                for name, member in [("", public), *members]
                if not name.startswith("_")
                and (inspect.isfunction(member) or inspect.ismethod(member))
                and member.__module__.split(".")[1] not in ELSEWHERE
                and "k" in inspect.signature(member).parameters
            }
    return found - NOT_FOR_USERS


def test_all_that_takes_a_length_is_asked(calls):
    assert set(calls) == public_functions()


@pytest.mark.parametrize(
    ("k", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (2.5, TypeError),
        (True, TypeError),
        ("3", TypeError),
    ],
)
def test_a_length_that_is_none_is_refused(calls, k, error):
    for name, call in calls.items():
        with pytest.raises(error, match=r"\bk\b.* must be a") as raised:
            call(k)
        assert repr(k) in str(raised.value), name


@pytest.mark.parametrize("k", [sys.maxsize, 10**30])
def test_a_length_beyond_all_is_as_long_as_all(calls, k):
    """What people write for "all of them" takes no memory of that length."""
    for name, call in calls.items():
        if "Display" in name or name == "CandidateRanker.recommend":
            continue  # one draws lists of the others, one is limited by its candidates
        found, expected = call(k), call(1000)
        if isinstance(expected, pd.DataFrame):
            pd.testing.assert_frame_equal(found, expected, obj=name)
        elif name.removesuffix("_at_k") not in ("precision", "f1"):  # they divide by it
            assert repr(found) == repr(expected), name


def test_other_counts_beyond_all(X):
    metrics.evaluate_ranking(LISTS, LISTS, f"ndcg@{10**15}")
    with pytest.raises(ValueError, match="LeaveLastOut: no row to test on"):
        next(LeaveLastOut(n_last=10**30).split(X))
