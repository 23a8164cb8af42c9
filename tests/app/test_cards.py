"""Cards: everything from outside is escaped, and bars add up."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.app import _cards
from skmmrec.app._items import Item
from skmmrec.app._lists import Move
from skmmrec.app._media import Picture
from skmmrec.app._sources import Reason

from .conftest import EVIL, SCRIPTS

OURS = {"div", "img", "span", "i", "b", "details", "summary", "h4"}


class Tags(HTMLParser):
    """Collects tags and texts, and sees that tags are closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def everywhere(text):
    """Cards with a text in each place that takes one."""
    item = Item(text, text, [text])
    reason = Reason(text, {text: 0.5, "image": 0.5}, {"interactions": 1.0, text: -1.0})
    picture = Picture(problem=text)
    yield _cards.card(item, picture, rank=1, score=1.0, tag=text, reason=reason)
    yield _cards.strip([(item, picture)])
    row = _cards.Row(item, picture, 1, text, True)
    yield _cards.pair([(text, [row])], has_pictures=True)
    yield _cards.legend([text])
    yield _cards.head(text, text)
    yield _cards.problem(text)


@pytest.mark.parametrize("text", [EVIL, SCRIPTS, '"><script>', "' onload='x"])
def test_texts_are_shown_and_never_interpreted(text):
    for html in everywhere(text):
        found = Tags(html)
        assert found.open == []
        assert {tag for tag, _ in found.tags} <= OURS
        names = {name for _, attributes in found.tags for name in attributes}
        assert names <= {"class", "style", "title", "src", "alt"}
        assert text.lower() in found.text.lower()


@settings(max_examples=50)
@given(st.text(max_size=30))
def test_no_text_makes_a_tag(text):
    for html in everywhere(text):
        assert {tag for tag, _ in Tags(html).tags} <= OURS


def test_bars_have_the_size_of_shares():
    html = _cards.why(Reason("Because.", {"text": 0.75, "image": 0.25, "audio": 0.0}))
    assert re.findall(r"width:([\d.]+)%", html) == ["75.0", "25.0"]
    assert "Words 75%" in html
    assert "Because." in html


def test_parts_go_to_both_sides_of_the_middle():
    parts = {"interactions": 2.0, "text": -1.0, "my_modality": 0.0}
    html = _cards.why(Reason("", {}, parts))
    assert re.findall(r"left:([\d.]+)%;width:([\d.]+)%", html) == [
        ("50.0", "50.0"),
        ("25.0", "25.0"),
        ("50.0", "0.0"),
    ]
    assert "My modality" in html
    assert "+2.00" in html
    assert "-1.00" in html


def test_nothing_is_drawn_of_a_reason_that_is_empty():
    assert _cards.why(Reason()) == ""
    assert "sk-part" not in _cards.why(Reason("Because."))


def test_zeros_are_no_bars():
    assert "nan" not in _cards.why(Reason("", {"text": 0.0}, {"interactions": 0.0}))


def test_a_move_is_shown():
    html = _cards.card(Item("A"), Picture(), rank=1, move=Move(5, 1))
    assert "▲ 5 → 1" in html
    assert "sk-tag up" in html
    html = _cards.card(Item("A"), Picture(), rank=3, move=Move(2, 3))
    assert "sk-tag down" in html


def test_without_pictures_there_is_no_room_for_them():
    assert "sk-picture" in _cards.card(Item("A"), Picture())
    assert "sk-picture" not in _cards.card(Item("A"), Picture(), has_pictures=False)


def test_the_style_asks_no_other_host():
    assert "url(" not in _cards.style()
    assert "@import" not in _cards.style()
