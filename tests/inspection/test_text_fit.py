"""Titles in any script fit into lines."""

import pytest
from hypothesis import given, strategies as st

from skmmrec.inspection import _text_fit
from skmmrec.inspection._text_fit import fit_text


def width_of(text, size):
    """Measure a text in a font in which all letters are squares."""
    return len(text) * size


@pytest.fixture(scope="module", autouse=True)
def one_font():
    """Every letter has a font: machines lack those of some scripts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_text_fit, "text_width", width_of)
        yield


CHINESE = "太开心了。在河边的小馆子吃了一碗热汤面。《明天》还想再来、再来。"
CLOSING = "。、》"


def test_chinese_breaks_between_characters_but_not_before_punctuation():
    lines = fit_text(CHINESE, 10, 8 * width_of("太", 10), 9)
    assert "".join(lines) == CHINESE
    assert len(lines) > 2
    assert not any(line[0] in CLOSING for line in lines)
    assert fit_text("用Python写的book 很好", 10, 1e9, 1) == ["用Python写的book 很好"]


def test_lines_of_chinese_may_end_anywhere():
    width = width_of("風" * 4, 10) + 1
    lines = fit_text("風" * 10, 10, width, 3)
    assert [len(line) for line in lines] == [4, 4, 2]
    assert "".join(fit_text("Storm 海上的風暴", 10, 1000, 2)) == "Storm 海上的風暴"


words = st.text("ab 河边、。《》", max_size=30)


@given(words, st.integers(20, 200), st.integers(1, 4))
def test_lines_fit_and_lose_nothing_but_their_end(text, width, n_lines):
    lines = fit_text(text, 10, width, n_lines)
    assert len(lines) <= n_lines
    assert all(width_of(line, 10) <= width for line in lines)
    shown = "".join(lines).removesuffix("…").replace(" ", "")
    assert text.replace(" ", "").startswith(shown)
