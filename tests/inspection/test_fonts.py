"""Titles in any script are legible, or their ids stand in their place."""

import warnings

import matplotlib
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from skmmrec.inspection import RecommendationGalleryDisplay, _fonts
from skmmrec.inspection._fonts import drawable, font_families
from skmmrec.inspection._text_fit import fit_text, text_width

matplotlib.use("agg")
CHINESE = "太开心了。在河边的小馆子吃了一碗热汤面。《明天》还想再来、再来。"
CLOSING = "。、》"
HAS_CHINESE = len(font_families()) > 1


@pytest.fixture
def without_chinese(monkeypatch):
    monkeypatch.setattr(_fonts, "_CJK", ())


@pytest.fixture
def with_chinese(monkeypatch):
    """Let the default font pass for one that has all characters."""
    monkeypatch.setattr(_fonts, "_has", lambda *_: True)


def _draw(titles):
    items = pd.DataFrame({"item_id": range(len(titles)), "title": titles})
    items["image"] = None
    display = RecommendationGalleryDisplay.from_recommendations(
        list(items["item_id"]), items
    )
    display.figure_.canvas.draw()
    return [text.get_text() for text in display.ax_.texts]


def test_english_is_drawn_as_it_was(without_chinese):
    assert drawable("Noodle soup, at 8!") == "Noodle soup, at 8!"
    assert font_families() == matplotlib.rcParams["font.family"]


def test_the_own_setting_comes_first():
    with matplotlib.rc_context({"font.family": ["monospace"]}):
        assert font_families()[0] == "monospace"


def test_without_a_font_ids_stand_in_and_one_warning_tells(without_chinese):
    with pytest.warns(UserWarning, match="letters of 2 titles.*fonts-noto-cjk") as told:
        drawn = _draw([CHINESE, "Noodle soup", "饺子"])
    assert len(told) == 1
    assert drawn[1:] == ["0", "Noodle soup", "2"]


@pytest.mark.skipif(not HAS_CHINESE, reason="no font with Chinese is installed")
def test_chinese_is_drawn_where_there_is_a_font():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = "".join(_draw([CHINESE]))
    assert CHINESE[:8] in drawn


def test_symbols_without_a_font_are_left_out_and_the_rest_stays(without_chinese):
    private = "\U0010fffd"  # no font has it
    assert drawable(f"Soup {private}!") == "Soup !"
    assert _draw([f"Soup {private}!"])[1:] == ["Soup !"]
    assert _draw([private])[1:] == ["0"]


def test_chinese_breaks_between_characters_but_not_before_punctuation(with_chinese):
    lines = fit_text(CHINESE, 10, 8 * text_width("太", 10), 9)
    assert "".join(lines) == CHINESE
    assert len(lines) > 2
    assert not any(line[0] in CLOSING for line in lines)
    assert fit_text("用Python写的book 很好", 10, 1e9, 1) == ["用Python写的book 很好"]


words = st.text("ab 河边、。《》", max_size=30)


@given(words, st.integers(20, 200), st.integers(1, 4))
def test_lines_fit_and_lose_nothing_but_their_end(text, width, n_lines):
    lines = fit_text(text, 10, width, n_lines)
    assert len(lines) <= n_lines
    assert all(text_width(line, 10) <= width for line in lines)
    shown = "".join(lines).removesuffix("…").replace(" ", "")
    assert text.replace(" ", "").startswith(shown)
