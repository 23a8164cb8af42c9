"""Answers: asked once, found again, and never those of another model."""

import sqlite3

import pytest

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


def test_a_damaged_entry_is_asked_for_again(tmp_path):
    collected(Model(), ["x", "y"], tmp_path)
    with sqlite3.connect(tmp_path / "embeddings.sqlite") as connection:
        connection.execute("UPDATE vectors SET vector = x'00' WHERE rowid = 1")
    connection.close()
    again = Model()
    assert collected(again, ["x", "y"], tmp_path) == {"x": "x!", "y": "y!"}
    assert len(again.asked) == 1


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
