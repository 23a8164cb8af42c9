"""What is asked of a recommender that learns meanwhile, in another thread."""

import sys
from copy import copy
from functools import partial
from itertools import permutations
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import skmmrec
from skmmrec import MultimodalFusionRecommender
from skmmrec.inspection import (
    history_contributions,
    modality_contributions,
    nearest_in_history,
)
from skmmrec.recommender import (
    EASERecommender,
    ImplicitALSRecommender,
    MatrixFactorizationRecommender,
    MeanTower,
    RandomWalkRecommender,
    Training,
    UserKNNRecommender,
)
from skmmrec.recommender._search import KeptIndex

PACKAGE = str(Path(skmmrec.__file__).parent)
N_USERS, N_ITEMS = 8, 10
# Of the calls of functions in an answer: all of them would take ten times as long.
N_PLACES = 6


def rows(n, users, items):
    """Interactions, with the content of their items."""
    rng = np.random.default_rng(0)
    content = np.random.default_rng(1).normal(size=(N_ITEMS + 2, 2))
    X = pd.DataFrame({"user_id": rng.choice(users, n), "item_id": rng.choice(items, n)})
    X[["text__0", "text__1"]] = content[X.item_id]
    return X


X = rows(50, range(N_USERS), range(N_ITEMS))
HELD_OUT = rows(30, range(1, N_USERS), range(1, N_ITEMS))
PAIRS = [3, 4, 5], [4, 5, 6]
TRAINED = {"n_factors": 4, "training": Training(max_epochs=1), "random_state": 0}

RECOMMENDERS = {
    "fusion": MultimodalFusionRecommender(**TRAINED, memory=0.5),
    "users": MultimodalFusionRecommender(
        **TRAINED, user_tower=MeanTower(user_embedding=True), objective="bce"
    ),
    "factors": MatrixFactorizationRecommender(**TRAINED),
    "ease": EASERecommender(),
    "als": ImplicitALSRecommender(n_factors=4, random_state=0),
    "knn": UserKNNRecommender(),
    "walks": RandomWalkRecommender(),
}

# Each changes the positions of users or items.
LEARNED = {
    "forget": lambda rec: rec.forget([0]),
    "remove_items": lambda rec: rec.remove_items([0]),
    "partial_fit": lambda rec: rec.partial_fit(rows(4, [9, 5], [N_ITEMS + 1, 2])),
}

ASKED = {
    "recommend": lambda rec: rec.recommend(k=5),
    "score": lambda rec: rec.score(HELD_OUT),
    "recommend some": lambda rec: rec.recommend([3, 7], 5, items=range(3, 9)),
    "card": lambda rec: str(rec.card()),
    "recommend fresh": lambda rec: rec.recommend(k=5, fresh=2, fresh_met=3),
    "predict": lambda rec: rec.predict(HELD_OUT),
    "transform": lambda rec: rec.transform(HELD_OUT),
    "similar_items": lambda rec: rec.similar_items([4, 5], k=8),
    "item_vectors_": lambda rec: rec.item_vectors_,
    "user_vectors_": lambda rec: rec.user_vectors_,
    "item_biases_": lambda rec: rec.item_biases_.to_frame(),
    "serving_vectors": lambda rec: rec.serving_vectors().users,
    "history_contributions": lambda rec: history_contributions(rec, *PAIRS),
    "modality_contributions": lambda rec: modality_contributions(rec, *PAIRS),
    "nearest_in_history": lambda rec: nearest_in_history(rec, *PAIRS),
}
OF_ALL = [*ASKED][:2]


@pytest.fixture(scope="module")
def fitted():
    y = np.tile([1.0, 1.0, 0.0], len(X))[: len(X)]
    return {name: rec.fit(X, y) for name, rec in RECOMMENDERS.items()}


def in_the_middle(outer, inner, place):
    """Do something where something else calls the function at a place.

    Returns what both gave, and the number of calls; the place may lie behind the last.
    """
    n_calls, found = 0, None

    def count(frame, event, _):
        nonlocal n_calls, found
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            n_calls += 1
            if n_calls == place:
                sys.setprofile(None)
                found = inner()

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        return outer(), found, n_calls
    finally:
        sys.setprofile(before)


def interleave(rec, outer, inner):
    """Yield what copies of a recommender gave, by interruptions at several places."""
    n_calls = in_the_middle(partial(outer, copy(rec)), None, -1)[2]
    for place in np.unique(np.linspace(1, n_calls, N_PLACES).astype(int)).tolist():
        now = copy(rec)
        yield in_the_middle(partial(outer, now), partial(inner, now), place)[:2]


def tell(answer):
    """Bring an answer into what can be compared."""
    if isinstance(answer, pd.DataFrame):
        return answer.to_json()
    return answer if isinstance(answer, str) else np.asarray(answer).tolist()


def check(rec, ask, learn):
    """What is asked before, while or after something is learned is of one model."""
    after = copy(rec)
    learn(after)
    known = [tell(ask(rec)), tell(ask(after))]
    assert all(tell(answer) in known for answer, _ in interleave(rec, ask, learn))
    found = [answer for _, answer in interleave(rec, learn, ask) if answer is not None]
    assert found
    assert all(tell(answer) in known for answer in found)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("learned", LEARNED)
def test_an_answer_is_that_of_one_model(fitted, asked, learned):
    check(fitted["fusion"], ASKED[asked], LEARNED[learned])


@pytest.mark.parametrize("name", [*RECOMMENDERS][1:])
@pytest.mark.parametrize("asked", OF_ALL)
def test_every_recommender_answers_by_one_model(fitted, name, asked):
    learned = [*LEARNED][: 3 if hasattr(fitted[name], "partial_fit") else 2]
    for each in learned:
        check(fitted[name], ASKED[asked], LEARNED[each])


@pytest.mark.parametrize("learned", LEARNED)
def test_an_index_is_searched_as_the_model_is(fitted, learned):
    pytest.importorskip("faiss")

    def ask(rec):
        table = rec.recommend(k=5)
        assert table.attrs["search"] == "approximate"
        return table.round(3)

    rec = fitted["fusion"]
    rec.build_index()
    kept = rec._kept

    def ask_of_index(rec):
        rec._kept = kept
        return ask(rec)

    check(rec, ask_of_index, LEARNED[learned])


def change_in_threads(rec, first, second, place):
    """Start a change in another thread, in the middle of one in this thread."""
    other = Thread(target=second, args=[rec])

    def start():
        other.start()
        other.join(0.02)  # a change that waits for nobody is over by then

    in_the_middle(partial(first, rec), start, place)
    other.join()
    return rec


@pytest.mark.parametrize("name", RECOMMENDERS)
@pytest.mark.parametrize("place", [1, 20])
def test_no_change_undoes_another(fitted, name, place):
    changes = [
        lambda rec: rec.forget([1]),
        lambda rec: rec.remove_items([1]),
        *([LEARNED["partial_fit"]] if hasattr(fitted[name], "partial_fit") else []),
    ]
    for first, second in permutations(changes, 2):
        expected = copy(fitted[name])
        first(expected)
        second(expected)
        rec = change_in_threads(copy(fitted[name]), first, second, place)
        assert set(rec.user_index_) == set(expected.user_index_)
        assert set(rec.item_index_) == set(expected.item_index_)


@pytest.mark.parametrize("name", ["fusion", "factors"])
@pytest.mark.parametrize("place", [1, 20])
def test_of_two_threads_that_begin_one_takes_in_what_the_other_learns(name, place):
    columns = ["user_id", "item_id"] if name == "factors" else list(X.columns)
    halves = [X[columns][X.user_id % 2 == n] for n in (0, 1)]
    first, second = (partial(type(RECOMMENDERS[name]).partial_fit, X=h) for h in halves)
    rec = change_in_threads(clone(RECOMMENDERS[name]), first, second, place)
    assert set(rec.user_index_) == set(X.user_id)


def test_an_index_of_a_model_is_kept_by_no_other(fitted, monkeypatch):
    """One that was updated from fit to fit would find less than it says."""
    pytest.importorskip("faiss")
    rec, of = copy(fitted["fusion"]), KeptIndex.of
    rec.build_index()

    def learn_meanwhile(kept, model):
        rec.fit(X)
        return of(kept, model)

    monkeypatch.setattr(KeptIndex, "of", learn_meanwhile)
    assert rec.recommend(k=5).attrs["search"] == "approximate"
    assert rec._kept is None
