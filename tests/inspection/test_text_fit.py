"""Titles in any script fit into lines."""

from hypothesis import given, strategies as st

from skmmrec.inspection._text_fit import fit_text, text_width

CHINESE = "太开心了。在河边的小馆子吃了一碗热汤面。《明天》还想再来、再来。"
CLOSING = "。、》"


def test_chinese_breaks_between_characters_but_not_before_punctuation():
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
