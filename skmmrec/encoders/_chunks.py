"""Cut long texts where a model's window ends, at the start of a word."""

from __future__ import annotations

from typing import Any


def chunk_text(text: str, tokenizer: Any, max_tokens: int) -> list[tuple[str, int]]:
    """Return pieces of a text that fit a model, with their numbers of tokens.

    Parameters
    ----------
    text : str
        Any text that is not blank.
    tokenizer : PreTrainedTokenizerFast
        The model's tokenizer; it must know where in the text a token lies.
    max_tokens : int
        Tokens per piece, special tokens not counted.
    """
    encoding = tokenizer(
        text,
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        truncation=False,
        verbose=False,
    )
    offsets = encoding["offset_mapping"]
    if len(offsets) <= max_tokens:
        return [(text, max(len(offsets), 1))]
    starts = _piece_starts(offsets, max_tokens)
    pieces = zip(starts, [*starts[1:], len(offsets)], strict=True)
    return [(text[offsets[a][0] : offsets[b - 1][1]], b - a) for a, b in pieces]


def _piece_starts(offsets: list[tuple[int, int]], max_tokens: int) -> list[int]:
    starts = [0]
    while len(offsets) - starts[-1] > max_tokens:
        starts.append(_word_start(offsets, starts[-1], starts[-1] + max_tokens))
    return starts


def _word_start(offsets: list[tuple[int, int]], begin: int, end: int) -> int:
    """Return the last token up to `end` that starts a word; `end` if none does."""
    for token in range(end, begin + (end - begin) // 2, -1):
        if offsets[token][0] > offsets[token - 1][1]:
            return token
    return end
