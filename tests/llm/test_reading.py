"""What a model's answer says, whatever is around it and whatever script it is in."""

import re

import pytest
from hypothesis import given, strategies as st

from skmmrec.llm._letters import find_words, share_words
from skmmrec.llm._reading import read_text
from skmmrec.llm._safety import whole_sentences

SAID = "Ran is a film about war."
FACTS = "title: Ran\nplot: A king can see that I am unable to provide this with help"


@pytest.mark.parametrize(
    "answer",
    [
        f"<think>\nThe user wants Ran. {SAID}? Or not.\n</think>\n\n{SAID}",
        f"Ran, hmm. Let me write.</think>{SAID}",
        f"<THINK>a</THINK><thinking>b</thinking>{SAID}",
        f"Sure! Here is a description of the item:\n\n{SAID}",
        f"Here's the description you asked for: {SAID}",
        f"**Description:** {SAID}",
        f'"{SAID}"',
        f"\u201c{SAID}\u201d",
        f'{{"text": "{SAID}"}}\nLet me know what you think!',
        f'Here is the JSON:\n```json\n{{"text": "{SAID}"}}\n```\nEnjoy!',
        f'[{{"text": "{SAID}"}}]',
        f'{{"item": {{"id": 3, "text": "{SAID}"}}}}',
        f"```\n{SAID}\n```\nThat is all.",
    ],
)
def test_what_is_around_a_text_is_left_out(answer):
    assert read_text(answer, 200, "text", FACTS) == SAID


@pytest.mark.parametrize(
    "answer",
    [
        "<think>Ran is a film. Maybe I should",
        "[THINK]Ran is a film. Maybe I should",
        "I'm sorry, but I can't help with that request.",
        "I\u2019m sorry, but I can\u2019t help with that.",
        "Unfortunately, I cannot describe Ran without more facts.",
        "Sorry, I am unable to write that.",
        "I don't have enough facts about Ran.",
        "As an AI language model, I know Ran.",
        'Here you are: {"text": "Ran is',
    ],
)
def test_thoughts_without_end_and_refusals_are_no_text(answer):
    assert read_text(answer, 200, "text", FACTS) is None


@pytest.mark.parametrize(
    "text",
    [
        "Sorry, Wrong Number is a film noir.",
        "Here is where the war ends: a film about Ran.",
        'Ran says "I cannot go on."',
        "I, Robot is about a machine.",
        "[Ran] is a film (1985).",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert read_text(text, 200, "text") == text


def test_a_refusal_that_the_item_itself_says_is_none():
    assert read_text("I can't is a song.", 200, "text", "title: I can't") is not None


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        (
            "\u5343\u3068\u5343\u5c0b\u306f\u6620\u753b\u3067\u3059\u3002",
            "title: \u5343\u3068\u5343\u5c0b",
        ),
        ("\u706b\u306f\u6620\u753b\u3067\u3059\u3002", "title: \u706b"),
        (
            "\u0e20\u0e32\u0e1e\u0e22\u0e19\u0e15\u0e23\u0e4c\u0e2a\u0e07\u0e04\u0e23\u0e32\u0e21",
            "title: \u0e2a\u0e07\u0e04\u0e23\u0e32\u0e21",
        ),
        (
            "\u092f\u0939 \u092f\u0941\u0926\u094d\u0927 \u0915\u0940"
            " \u092b\u093f\u0932\u094d\u092e \u0939\u0948\u0964",
            "title: \u092f\u0941\u0926\u094d\u0927",
        ),
        (
            "\u0b87\u0ba4\u0bc1 \u0baa\u0bcb\u0bb0\u0bcd \u0baa\u0bb1\u0bcd\u0bb1\u0bbf"
            "\u0baf \u0baa\u0b9f\u0bae\u0bcd.",
            "title: \u0baa\u0bcb\u0bb0\u0bcd",
        ),
    ],
)
def test_texts_in_other_scripts_are_about_their_items(text, facts):
    assert read_text(text, 100, "text", facts) == text
    assert read_text("Something else altogether.", 100, "text", facts) is None


def test_a_sentence_takes_its_closing_quote_with_it():
    said = 'He says "Come here." And th'
    assert whole_sentences(said) == 'He says "Come here."'
    assert read_text(said, 100, "text") == 'He says "Come here."'


@given(st.text(), st.integers(1, 4))
def test_words_without_marks_are_those_of_a_plain_pattern(text, n):
    plain = re.findall(rf"[^\W\d_]{{{n},}}", text)
    if text.isascii():
        assert find_words(text, n) == plain
    assert len("".join(find_words(text, n))) >= len("".join(plain))


@given(st.text(min_size=1))
def test_a_text_shares_words_with_itself(text):
    assert share_words(text, text, 1) in (True, None)
