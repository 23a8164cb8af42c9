"""Answers: asked once, found again, and never those of another model."""

import json
import sqlite3
import subprocess
import sys
from functools import partial
from types import ModuleType
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skmmrec.encoders import EmbeddingCache
from skmmrec.llm import ItemDescriber, LLMReranker
from skmmrec.llm._identities import identity_of
from skmmrec.llm._pair_scores import PairScores
from skmmrec.llm._services import CalledModel, as_writer


class Model:
    """A function that counts what it is asked; its identity tells it apart."""

    def __init__(self, identity="", mark=""):
        self.identity = identity
        self.mark = mark
        self.asked = []

    def __call__(self, prompts):
        self.asked += prompts
        return [f"{self.mark}{prompt}!" for prompt in prompts]


def collected(model, prompts, cache=None):
    answers = {}
    CalledModel(model, cache).collect(prompts, answers)
    return answers


@pytest.mark.parametrize("prompt", ["a", "", "漢字 \ud800", "x" * 10**5, "a\0b"])
def test_any_text_comes_back_from_a_cache(prompt, tmp_path):
    collected(Model(), [prompt], tmp_path)
    again = Model()
    assert collected(again, [prompt], tmp_path) == {prompt: f"{prompt}!"}
    assert again.asked == []


def test_models_do_not_share_answers(tmp_path):
    assert collected(Model("a", mark="1"), ["x"], tmp_path) == {"x": "1x!"}
    assert collected(Model("b", mark="2"), ["x"], tmp_path) == {"x": "2x!"}


def say(questions, what="0"):
    """Answer all questions alike: by a text, which is also a score."""
    return [what] * len(questions)


class Speaker:
    """An object with a method that answers; its identity is what it says."""

    def __init__(self, identity=None):
        self.identity = identity

    def say(self, questions):
        return say(questions, self.identity or "0")


class LoudSpeaker(Speaker):
    def say(self, questions):
        return say(questions, "3")


def says(what, **attributes):
    def answer(questions):
        return say(questions, what)

    vars(answer).update(attributes)
    return answer


def scored(call, pairs, cache=None):
    scores = {}
    PairScores(call, cache).collect(pairs, scores, "test")
    return scores


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (say, partial(say, what="1")),
        (partial(say, what="1"), partial(say, what="2")),
        (partial(say, what="1"), partial(partial(say, what="1"), what="2")),
        (Speaker("1").say, Speaker("2").say),
        (Speaker("1").say, LoudSpeaker("1").say),
        (partial(Speaker("1").say), partial(Speaker("2").say)),
        (says("1", identity="1"), says("2", identity="2")),
    ],
)
def test_functions_do_not_share_answers(one, other, tmp_path):
    first = collected(one, ["x"], tmp_path)
    assert collected(other, ["x"], tmp_path) != first
    assert collected(one, ["x"], tmp_path) == first
    first = scored(one, [("x", "y")], tmp_path)
    assert scored(other, [("x", "y")], tmp_path) != first
    assert scored(one, [("x", "y")], tmp_path) == first
    assert EmbeddingCache(tmp_path).info().n_vectors == 4


@pytest.mark.parametrize(
    "call",
    [
        says("1"),
        lambda questions: ["1"],
        Speaker().say,
        Speaker(identity=object()).say,
        partial(says("1")),
        partial(say, what=object()),
        [].append,
    ],
)
def test_what_may_be_confused_with_others_is_refused_by_a_cache(call, tmp_path):
    for keeps in (CalledModel, PairScores):
        with pytest.raises(ValueError, match=r"cache= cannot tell .* identity"):
            keeps(call, tmp_path)
        keeps(call, None)
    for kind in (ItemDescriber, LLMReranker):
        assert type(clone(kind(call, cache=tmp_path))) is kind


def test_a_function_is_known_in_another_process():
    code = (
        "import json; from functools import partial\n"
        "from skmmrec.llm._identities import identity_of\n"
        "print(identity_of(partial(json.dumps, indent=2, skipkeys=True)).hex())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    here = identity_of(partial(json.dumps, skipkeys=True, indent=2))
    assert ran.stdout.decode().strip() == here.hex()


def test_functions_of_two_scripts_are_told_apart(monkeypatch):
    script = ModuleType("__main__")
    script.answer = says("1")
    script.answer.__module__, script.answer.__qualname__ = "__main__", "answer"
    monkeypatch.setitem(sys.modules, "__main__", script)
    found = []
    for script.__file__ in ("one.py", "other.py", "one.py"):
        found.append(identity_of(script.answer))
    assert found[0] == found[2] != found[1]


def test_a_score_comes_back_from_a_cache_as_it_was(tmp_path):
    first = scored(partial(say, what="0.1"), [("x", "\ud800")], tmp_path)
    assert first == {("x", "\ud800"): 0.1}
    assert scored(partial(say, what="0.1"), [("x", "\ud800")], tmp_path) == first


def test_a_damaged_entry_is_asked_for_again(tmp_path):
    collected(Model(), ["x", "y"], tmp_path)
    with sqlite3.connect(tmp_path / "embeddings.sqlite") as connection:
        connection.execute("UPDATE vectors SET vector = x'00' WHERE rowid = 1")
    connection.close()
    again = Model()
    assert collected(again, ["x", "y"], tmp_path) == {"x": "x!", "y": "y!"}
    assert len(again.asked) == 1


@pytest.mark.parametrize(
    "texts",
    [
        {"a": "A!", "b": "B!"},
        {"A!", "B!"},
        b"AB",
        pd.DataFrame({"x": ["A!", "B!"]}),
        np.array([["A!"], ["B!"]]),
        (text for text in "AB"),
    ],
)
def test_what_has_no_order_is_no_list_of_texts(texts):
    with pytest.raises(ValueError, match="llm must return a list of texts, got "):
        collected(lambda prompts: texts, ["a", "b"])


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series])
def test_texts_in_any_order_that_stays_are_read(kind):
    texts = collected(lambda prompts: kind(["A!", "B!"]), ["a", "b"])
    assert texts == {"a": "A!", "b": "B!"}


class Counted(Model):
    """A model whose copies, as clones have them, keep one record of the questions."""

    asked: ClassVar[list] = []

    def __init__(self, identity):
        self.identity = identity

    def __call__(self, questions):
        self.asked.extend(questions)
        return ["3"] * len(questions)


@pytest.mark.parametrize("method", ["listwise", "pairs"])
def test_clones_of_an_object_with_an_identity_ask_nothing_twice(method):
    table = pd.DataFrame({"user_id": 1, "item_id": [1, 2], "score": [2.0, 1.0]})
    texts, profiles = pd.Series({1: "a war", 2: "a sea"}), pd.Series({1: "sea"})
    Counted.asked.clear()
    reranker = LLMReranker(Counted("a"), method=method)
    reranker.rerank(table, texts, profiles)
    n_asked = len(Counted.asked)
    twin = clone(reranker)
    twin.rerank(table, texts, profiles)
    assert twin.llm is not reranker.llm
    assert len(Counted.asked) == n_asked > 0
    twin.set_params(llm=Counted("b")).rerank(table, texts, profiles)
    assert len(Counted.asked) == 2 * n_asked
    twin.set_params(llm=Counted(None)).rerank(table, texts, profiles)
    assert len(Counted.asked) == 3 * n_asked


def test_prompts_without_an_answer_are_asked_again():
    writer = CalledModel(lambda prompts: [None, "b!"][-len(prompts) :])
    answers = {}
    writer.collect(["a", "b"], answers)
    assert answers == {"b": "b!"}
    writer.collect(["a"], answers)
    assert answers == {"b": "b!", "a": "b!"}


def test_what_is_no_model_is_named():
    with pytest.raises(TypeError, match=r"llm must be None, the name .* got int"):
        as_writer(3)


def test_answers_that_cannot_be_kept_are_given_and_told_once(tmp_path, monkeypatch):
    def refuse(self, entries):
        raise OSError("EmbeddingCache at x: database or disk is full")

    monkeypatch.setattr(EmbeddingCache, "put_bytes", refuse)
    model, answers = CalledModel(Model(), tmp_path), {}
    with pytest.warns(UserWarning, match="disk is full") as caught:
        model.collect(["a", "b"], answers)
    assert len(caught) == 1
    assert answers == {"a": "a!", "b": "b!"}
