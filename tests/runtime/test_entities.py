"""References to characters by numbers of any length mean what they meant."""

from html import unescape

import pytest
from hypothesis import given, settings, strategies as st

from skmmrec.llm._instructions import without_instructions
from skmmrec.llm._safety import clean, tidy
from skmmrec.preprocessing import TextCleaner
from skmmrec.runtime import short_references

PIECES = st.sampled_from(["&#", "&", "#", "x", "0", "00000000", "65", "1114111", ";"])
TEXTS = st.lists(PIECES | st.sampled_from("a; 9Xé"), max_size=12).map("".join)


@settings(max_examples=60)
@given(TEXTS)
def test_short_references_mean_the_same(text):
    assert unescape(short_references(text)) == unescape(text)
    assert short_references(short_references(text)) == short_references(text)


@pytest.mark.parametrize("digits", ["9" * 5000, "0" * 5000 + "65", "1" + "0" * 9000])
def test_numbers_beyond_those_of_python_are_no_error(digits):
    """Each of them would be: Python reads no int of more than 4,300 digits."""
    text = f"<b title='&#{digits};'>Up &#{digits};</b> away &#{digits}"
    shown = TextCleaner().fit_transform([text])[0]
    assert shown.startswith("Up")
    assert "away" in shown
    for cleaned in (clean(text, 99), tidy(text, 99), without_instructions(text, 99)):
        assert cleaned.startswith("Up")
        assert "away" in cleaned
