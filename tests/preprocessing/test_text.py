"""What texts lose, and what they keep."""

import sys
import unicodedata

import pytest
from hypothesis import given, strategies as st

from skmmrec.preprocessing import TextCleaner
from skmmrec.preprocessing._text import _TextOfHtml, _visible


def clean(text, **options):
    return TextCleaner(**options).fit_transform([text])[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>One</p><p>two</p>", "One two"),
        ("un<b>believ</b>able", "unbelievable"),
        ("a<br>b<br/>c", "a b c"),
        ("<script>var x = '<p>';</script>shown<style>p {}</style>", "shown"),
        ("<!-- hidden -->shown", "shown"),
        ("Tom &amp; Jerry &lt;3 &#233;", "Tom & Jerry <3 é"),
        ("3 < 5 > 2 & more", "3 < 5 > 2 & more"),
        ("  tabs\tand\n\nlines\u00a0 ", "tabs and lines"),
        ("<b></b>", ""),
        ("a<![CDATA[x]]>b <![if !IE]>c<![endif]> <![<![>d <![ f >e", "ab c d e"),
        ("a <!-- b > c", "a <!-- b > c"),
        ("a <!--> b <!---> c <!-- > --!> d", "a b c d"),
        ("a <b title='> c", "a <b title='> c"),
        ("cut <a href=", "cut <a href="),
        ("<title>a <b>b</b></title> <textarea>c&amp;</textarea>", "a b c&"),
    ],
)
def test_markup_and_whitespace_leave(text, expected):
    assert clean(text) == expected


def test_markup_can_stay():
    assert clean("<b>x</b> &amp;", html=False) == "<b>x</b> &amp;"


JOINED = "\u0645\u06cc\u200c\u062e\u0648 \u0915\u094d\u200d\u0937"
"""Persian and Hindi join letters as emoji do."""
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize(
    ("text", "removed", "described"),
    [
        ("good \U0001f600!", "good !", "good grinning face !"),
        (f"a{FAMILY}b", "a b", "a man woman girl b"),
        ("\U0001f44d\U0001f3fdok", "ok", "thumbs up sign ok"),
        ("\u2764\ufe0f love", "love", "heavy black heart love"),
        ("step 1\ufe0f\u20e3", "step 1", "step 1"),
        ("© 2024 → Ω™ #1", "© 2024 → Ω™ #1", "© 2024 → Ω™ #1"),
        (JOINED, JOINED, JOINED),
    ],
)
def test_emoji_are_removed_or_described(text, removed, described):
    assert clean(text) == removed
    assert clean(text, emoji="describe") == described
    assert clean(text, emoji="keep") == text


def test_stop_words_leave_whatever_their_case():
    assert clean("The cat isn't THE dog", stop_words=["the"]) == "cat isn't dog"
    assert clean("over the top", stop_words="english") == ""
    assert clean("theory", stop_words={"the"}) == "theory"
    assert clean("don't go", stop_words=("don't",)) == "go"


@pytest.mark.parametrize(
    ("text", "words", "left"),
    [
        ("नेपाल में विवाह न करें", ["न", "व", "में"], "नेपाल विवाह करें"),
        ("তার নাম না", ["না", "ন", "ত"], "তার নাম"),
        ("می\u200cشد می", ["می"], "می\u200cشد"),
        ("So\u0301 Ja\u0301 a\u0300 so", ["so", "a"], "So\u0301 Ja\u0301 a\u0300"),
        ("la\u0300 Là l\u00e0 la", ["l\u00e0"], "la"),
        ("Là la", ["la\u0300"], "la"),
        ("क्\u200dष क", ["क"], "क्\u200dष"),
    ],
)
def test_stop_words_of_any_script_are_whole_words(text, words, left):
    """A vowel, an accent or a joiner belongs to the word that it stands in."""
    assert clean(text, stop_words=words) == left


@given(
    st.lists(st.text("अनवकाेि्ंॉaeé\u0301", min_size=1), min_size=1),
    st.integers(0, 9),
)
def test_other_words_stay_whole_whatever_is_left_out(words, place):
    words = [f"x{word}x" for word in words]
    gone = words[place % len(words)]
    alike = unicodedata.normalize("NFC", gone.lower())
    rest = [w for w in words if unicodedata.normalize("NFC", w.lower()) != alike]
    assert clean(" ".join(words), stop_words=[gone]).split() == rest


def test_chinese_words_are_parted_and_the_rest_is_kept():
    pytest.importorskip("rjieba")
    text = "我爱北京天安门 and OpenAI的GPT"
    assert clean(text, segment="chinese") == "我 爱 北京 天安门 and OpenAI 的 GPT"
    without = clean(text, segment="chinese", stop_words=["我", "的"])
    assert without == "爱 北京 天安门 and OpenAI GPT"


def test_a_missing_library_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rjieba", None)
    with pytest.raises(ImportError, match=r"skmmrec\[chinese\]"):
        TextCleaner(segment="chinese").fit(["x"])
    assert clean("我爱") == "我爱"


def test_what_is_no_text_is_named():
    with pytest.raises(ValueError, match="TextCleaner: row 1: expected a text, got"):
        TextCleaner().fit_transform(["a", 7])


def test_a_text_that_utf8_cannot_encode_is_named():
    column = ["a", "\ud800<p>", "b"]
    with pytest.raises(ValueError, match=r"TextCleaner: row 1: .*UTF-8"):
        TextCleaner().fit_transform(column)
    with pytest.warns(UserWarning, match="1 of 3 rows could not be read"):
        cleaned = TextCleaner(on_error="missing").fit_transform(column)
    assert cleaned.tolist() == ["a", None, "b"]


PIECES = """< > ' " = & a x <a <b> </b> &amp; <!-- --> <![CDATA[ ]]> <?x ?> <style </
<script> </script> <! &#65;"""
MARKUP = st.lists(st.sampled_from([" ", *PIECES.split()]), max_size=12).map("".join)


@given(MARKUP)
def test_what_is_shown_is_what_the_parser_shows(text):
    parser = _TextOfHtml()
    parser.feed(text)
    parser.close()
    shown = "".join(parser.parts) if {"<", "&"} & set(text) else text
    assert _visible(text).split() == shown.split()


@pytest.mark.parametrize(
    "tag",
    ["<a ", "<a/", "<a b='", '<a b="x" ', "<!-- >", "<!-- -- >", "<![CDATA[ >"],
)
def test_tags_without_an_end_take_no_time(tag):
    """Looking for the end of each of them would take an hour."""
    text = (tag * 50_000).strip()
    assert TextCleaner().fit_transform([text])[0] == " ".join(text.split())


def test_a_stop_word_that_is_no_word_is_named():
    with pytest.raises(ValueError, match=r"'stop_words' .* must hold words, got 7"):
        TextCleaner(stop_words=["the", 7]).fit([None])
