"""Clean texts: markup, emoji, whitespace, stop words, Chinese words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Hashable
from functools import cache, lru_cache
from html import unescape
from html.parser import HTMLParser
from typing import Any, ClassVar, Self

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from sklearn.utils._param_validation import StrOptions

from skmmrec.interactions import RawColumn
from skmmrec.preprocessing._base import BaseContentTransformer
from skmmrec.runtime import checked_text, has_marks, marks, short_references

_SYMBOL = "[\U0001f000-\U0001faff\u2600-\u27bf\u231a\u231b\u23e9-\u23fa\u2b50\u2b55]"
_MODIFIERS = "[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*"
_EMOJI = re.compile(
    f"{_SYMBOL}{_MODIFIERS}(?:\u200d{_SYMBOL}?{_MODIFIERS})*|[\ufe0e\ufe0f\u20e3]"
)
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]+")
# What stands inside of words: apostrophes, and in Persian or Hindi what keeps letters
# apart or joins them.
_INSIDE = "['\u2019\u200c\u200d]"
# HTML elements that do not end a word.
_INLINE = {
    "a", "abbr", "b", "bdi", "bdo", "cite", "code", "em", "font", "i", "ins", "kbd",
    "mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "u", "var",
    "wbr",
}  # fmt: skip
_HIDDEN = {"script", "style", "template"}


_EMPTY_COMMENT = re.compile("<!---?>")


class _TextOfHtml(HTMLParser):
    """Collect the text that a browser would show.

    It is the same in every version of Python. Those of the base class differ in
    comments, in declarations, in tags that never end and in which elements have no tags
    in them.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.hidden += tag in _HIDDEN
        self._separate(tag)

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(self.hidden - (tag in _HIDDEN), 0)
        self._separate(tag)

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)

    def parse_starttag(self, i: int) -> int:
        return self._to(super().parse_starttag(i), i)

    def parse_endtag(self, i: int) -> int:
        return self._to(super().parse_endtag(i), i)

    def parse_pi(self, i: int) -> int:
        return self._to(super().parse_pi(i), i)

    def parse_comment(self, i: int, report: bool = True) -> int:
        if match := _EMPTY_COMMENT.match(self.rawdata, i):
            return match.end()
        ends = [self._after(last, i + 4) for last in ("-->", "--!>")]
        return self._to(min((end for end in ends if end >= 0), default=-1), i)

    def parse_html_declaration(self, i: int) -> int:
        """Read ``<!...>``, also ``<![CDATA[...]]>``."""
        if self.rawdata.startswith("<!--", i):
            return self.parse_comment(i)
        last = "]]>" if self.rawdata.startswith("<![CDATA[", i) else ">"
        return self._to(self._after(last, i), i)

    def set_cdata_mode(self, elem: str, *, escapable: bool = False) -> None:
        if elem in ("script", "style"):
            super().set_cdata_mode(elem)

    def goahead(self, end: bool) -> None:
        self.places: dict[str, int] = {}
        super().goahead(end)

    def _after(self, last: str, i: int) -> int:
        """Where the next `last` ends; -1: nowhere. Nothing is read twice."""
        if last not in self.places or 0 <= self.places[last] < i:
            self.places[last] = self.rawdata.find(last, i)
        place = self.places[last]
        return place if place < 0 else place + len(last)

    def _to(self, end: int, i: int) -> int:
        """Go on at `end`; what begins at `i` is text if it never ends (-1)."""
        if end >= 0:
            return end
        end = self.rawdata.find(">", i + 1) + 1 or self.rawdata.find("<", i + 1)
        end = i + 1 if end < 0 else end
        self.handle_data(unescape(self.rawdata[i:end]))
        return end

    def _separate(self, tag: str) -> None:
        if tag not in _INLINE:
            self.parts.append(" ")


class TextCleaner(BaseContentTransformer):
    """Clean a column of texts before it is encoded.

    Markup and emoji are removed first, then words are segmented, then stop words and
    superfluous whitespace are removed. Modern text encoders need no segmentation and no
    stop words.

    Parameters
    ----------
    html : bool, default=True
        Keep only what a browser would show: remove tags, comments, scripts and styles,
        and resolve character references such as ``&amp;``.
    emoji : {"remove", "describe", "keep"}, default="remove"
        Remove emoji and dingbats, replace each by its Unicode name, or keep them.
    stop_words : "english", collection of str or None, default=None
        Words to remove, in upper or lower case; ``"english"`` is scikit-learn's list.
    segment : {"chinese"} or None, default=None
        Put spaces between Chinese words, for models that split at spaces. Needs the
        package ``rjieba``, which the extra ``chinese`` installs.
    on_error : {"raise", "missing"}, default="raise"
        Whether an item that is not a str raises an error that names its row, or becomes
        None; one warning then counts these rows.

    Attributes
    ----------
    n_features_in_ : int
        Always 1.
    feature_names_in_ : ndarray of shape (1,)
        The column's name, if `fit` got a pandas or polars column with a name.

    Notes
    -----
    Whitespace is always reduced to single spaces. HTML is parsed by the standard
    library's `html.parser`; a ``<`` without a letter after it is kept as text, and so
    is a tag or a comment that never ends.

    Examples
    --------
    >>> from skmmrec.preprocessing import TextCleaner
    >>> cleaner = TextCleaner(stop_words=["the"])
    >>> cleaner.fit_transform(["<p>The&nbsp;  cat</p>", None, "3 < 5 \U0001f600"])
    array(['cat', None, '3 < 5'], dtype=object)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseContentTransformer._parameter_constraints,
        "html": ["boolean"],
        "emoji": [StrOptions({"remove", "describe", "keep"})],
        "stop_words": [StrOptions({"english"}), list, tuple, set, frozenset, None],
        "segment": [StrOptions({"chinese"}), None],
    }
    _items_are_paths: ClassVar[bool] = False

    def __init__(
        self,
        *,
        html: bool = True,
        emoji: str = "remove",
        stop_words: str | Collection[str] | None = None,
        segment: str | None = None,
        on_error: str = "raise",
    ) -> None:
        self.html = html
        self.emoji = emoji
        self.stop_words = stop_words
        self.segment = segment
        self.on_error = on_error

    def _validate_params(self) -> None:
        super()._validate_params()
        odd = [word for word in self.stop_words or () if not isinstance(word, str)]
        if odd:
            raise ValueError(
                "The 'stop_words' parameter of TextCleaner must hold words, got "
                f"{odd[0]!r:.100}"
            )

    def fit(self, X: RawColumn, y: object = None) -> Self:
        """Check the parameters and the column; read no item.

        Parameters
        ----------
        X : Series, one-column DataFrame, sequence or array of shape (n,) or (n, 1)
            One column of texts.
        y : None
            Ignored.

        Returns
        -------
        self : object

        Raises
        ------
        ImportError
            If ``segment="chinese"`` and ``rjieba`` is not installed.
        """
        if self.segment == "chinese":
            _chinese_cutter()
        return super().fit(X)

    def _content_key(self, item: Any) -> Hashable:
        return checked_text(item)

    def _change(self, item: str) -> str:
        text = _visible(item) if self.html else item
        if self.emoji != "keep":
            text = _EMOJI.sub(_names if self.emoji == "describe" else " ", text)
        if self.segment:
            text = _segment(text)
        text = self._without_stop_words(text)
        return " ".join(text.split())

    def _without_stop_words(self, text: str) -> str:
        if not self.stop_words:
            return text
        is_named = isinstance(self.stop_words, str)
        words = ENGLISH_STOP_WORDS if is_named else self.stop_words
        left_out = _folded_words(frozenset(words))
        word = _word(has_marks(text))
        return word.sub(lambda m: "" if _folded(m[0]) in left_out else m[0], text)


@cache
def _word(with_marks: bool) -> re.Pattern[str]:
    """Return the pattern of a word; letters may be followed by marks, or not."""
    part = rf"\w[\w{marks()}]*" if with_marks else r"\w+"
    return re.compile(f"{part}(?:{_INSIDE}{part})*")


def _folded(word: str) -> str:
    """Return a word in lower case, and its accents as parts of letters."""
    return unicodedata.normalize("NFC", word.lower())


@lru_cache(8)  # of few cleaners; each asks for its own with every text
def _folded_words(words: frozenset[str]) -> frozenset[str]:
    return frozenset(map(_folded, words))


def _visible(text: str) -> str:
    if "<" not in text and "&" not in text:
        return text
    text = short_references(text)
    # What follows the last ">" is in no tag. The parser would look for the end of each
    # tag that begins there, in time that grows with the square of the length.
    end = text.rfind(">") + 1
    parser = _TextOfHtml()
    parser.feed(text[:end])
    parser.close()
    if not parser.hidden:
        parser.parts.append(unescape(text[end:]))
    return "".join(parser.parts)


def _names(match: re.Match) -> str:
    """Return the names of an emoji's symbols, without its modifiers."""
    symbols = re.findall(f"(?![\U0001f3fb-\U0001f3ff]){_SYMBOL}", match[0])
    names = (unicodedata.name(symbol, "").lower() for symbol in symbols)
    return f" {' '.join(names)} "


def _segment(text: str) -> str:
    cut = _chinese_cutter()
    return _HAN.sub(lambda match: f" {' '.join(cut(match[0]))} ", text)


def _chinese_cutter() -> Callable[[str], list[str]]:
    try:
        import rjieba
    except ImportError as error:
        raise ImportError(
            "TextCleaner(segment='chinese') needs rjieba: "
            "pip install 'skmmrec[chinese]'"
        ) from error
    return rjieba.cut
