"""Cut long texts into pieces that fit a model's window, between words."""

from __future__ import annotations

from typing import Any, Protocol


class Offsets(Protocol):
    """Where each token begins and ends in a text, as a list of pairs."""

    def __len__(self) -> int: ...
    def __getitem__(self, token: int, /) -> tuple[int, int]: ...


def chunk_text(text: str, tokenizer: Any, max_tokens: int) -> list[tuple[str, int]]:
    """Return pieces of a text that fit a model, with the token count of each.

    `text` is not blank; `tokenizer` must give the offsets of tokens in it, as fast ones
    do. A piece has at most `max_tokens` (at least 1), without special tokens.
    """
    encoding = tokenizer(
        text,
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        truncation=False,
        verbose=False,
    )
    return cut_text(text, encoding["offset_mapping"], max_tokens)


def cut_text(text: str, offsets: Offsets, max_tokens: int) -> list[tuple[str, int]]:
    """Return pieces of a text whose tokens are known, with the token count of each.

    `text` is not blank, and `offsets` say where each token begins and ends in it,
    without special tokens. A piece has at most `max_tokens`, at least 1.
    """
    if len(offsets) <= max_tokens:
        return [(text, max(len(offsets), 1))]
    starts = _piece_starts(text, offsets, max_tokens)
    pieces = zip(starts, [*starts[1:], len(offsets)], strict=True)
    return [(text[offsets[a][0] : offsets[b - 1][1]], b - a) for a, b in pieces]


def _piece_starts(text: str, offsets: Offsets, max_tokens: int) -> list[int]:
    starts = [0]
    while len(offsets) - starts[-1] > max_tokens:
        starts.append(_cut(text, offsets, starts[-1], starts[-1] + max_tokens))
    return starts


def _cut(text: str, offsets: Offsets, begin: int, end: int) -> int:
    """Return the last token up to `end` that starts a word, or else a character."""
    for starts in (_starts_word, _starts_character):
        for token in range(end, begin + (end - begin) // 2, -1):
            if starts(text, offsets, token):
                return token
    return end


def _starts_word(text: str, offsets: Offsets, token: int) -> bool:
    """Tell whether a token follows or begins with white space."""
    start, before = offsets[token][0], offsets[token - 1][1]
    return start > before or (start == before and text[start : start + 1].isspace())


def _starts_character(text: str, offsets: Offsets, token: int) -> bool:
    """Tell whether a token starts a character; some tokenizers split it into bytes."""
    return offsets[token][0] >= offsets[token - 1][1]
