"""Which texts a tokenizer does not know, noted while a model reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

# If a greater share of its tokens is unknown, the model cannot read a text. English
# with some emoji stays below; most scripts that all-MiniLM-L6-v2 has never seen give
# 0.7 to 1.
_MOST_UNKNOWN = 0.5

Counts = dict[str, tuple[int, int]]
"""The number of unknown tokens of a text, and of all, with those that frame it."""


class Pieces(list[Any]):
    """The pieces of an item with their weights, and what is unknown of its text.

    `unknown` is the share of tokens that the tokenizer does not know, once the pieces
    were tokenised.
    """

    unknown: float = 0.0

    @property
    def are_unknown(self) -> bool:
        """Whether the model cannot read the text."""
        return self.unknown > _MOST_UNKNOWN


def unknown_id(tokenizer: Any) -> int | None:
    """Return the token that stands for what a tokenizer does not know, if it has one.

    A token with other meanings, as in CLIP, stands for nothing unknown: such tokenizers
    know all bytes.
    """
    tokenizer = getattr(tokenizer, "tokenizer", tokenizer)  # of a processor
    if not hasattr(tokenizer, "unk_token_id"):  # of the library tokenizers
        name = getattr(getattr(tokenizer, "model", None), "unk_token", None)
        return None if name is None else tokenizer.token_to_id(name)
    kinds = ("bos", "eos", "pad", "sep", "cls", "mask")
    others = {getattr(tokenizer, f"{kind}_token_id", None) for kind in kinds}
    unknown = tokenizer.unk_token_id
    return None if unknown in others else unknown


def unknown_rows(tokenizer: Any, tokens: Any) -> list[int]:
    """Return the rows of tokens, as of open_clip, that are mostly unknown.

    Rows of shape (n, length) are padded with the tokenizer's own token. Tokenizers of
    open_clip's own know all bytes.
    """
    inner: Any = getattr(tokenizer, "tokenizer", None)
    unknown = None if inner is None else unknown_id(inner)
    if unknown is None:
        return []
    ids = np.asarray(tokens)
    framing = [inner.pad_token_id, inner.bos_token_id, inner.eos_token_id]
    n_tokens = (~np.isin(ids, [i for i in framing if i is not None])).sum(axis=1)
    share = (ids == unknown).sum(axis=1) / np.maximum(n_tokens, 1)
    return np.flatnonzero(share > _MOST_UNKNOWN).tolist()


def note_unknown(transformer: Any, unknown: int, counts: Counts) -> None:
    """Let a model of sentence-transformers count unknown tokens when it tokenises.

    The method `preprocess` is replaced by one that also counts the token `unknown`, and
    writes each text's counts to `counts`.
    """
    tokenise = transformer.preprocess

    def preprocess(inputs: list[Any], *args: Any, **options: Any) -> Any:
        features = tokenise(inputs, *args, **options)
        texts = [one.get("text") if isinstance(one, dict) else one for one in inputs]
        numbers = _count(features, unknown, len(texts))
        for text, number in zip(texts, numbers, strict=True):
            if isinstance(text, str):
                counts[text] = number
        return features

    transformer.preprocess = preprocess


def note_unknown_ids(contents: list[Pieces], unknown: int, n_framing: int) -> None:
    """Note what is unknown of texts whose pieces are arrays of tokens.

    The attribute `unknown` of the contents is set. `unknown` is the token to count, and
    `n_framing` how many tokens of each piece are not of the text.
    """
    pieces = [tokens for content in contents for tokens, _ in content]
    are_unknown = np.concatenate(pieces) == unknown
    if not are_unknown.any():
        return
    sizes = np.array([[sum(len(t) for t, _ in c), len(c)] for c in contents])
    seen = np.append(0, np.cumsum(are_unknown))[np.cumsum([0, *sizes[:, 0]])]
    shares = np.diff(seen) / np.maximum(sizes[:, 0] - n_framing * sizes[:, 1], 1)
    for row in np.flatnonzero(shares).tolist():
        contents[row].unknown = float(shares[row])


def _count(features: Any, unknown: int, n_texts: int) -> list[tuple[int, int]]:
    """Return the numbers of unknown tokens and of all tokens of each text."""
    ids = features.get("input_ids")
    if ids is None:
        return [(0, 0)] * n_texts
    are_unknown = np.asarray(ids) == unknown
    if "offsets" in features:  # one row of all texts, and where each of them starts
        starts = np.asarray(features["offsets"])
        ends = np.append(starts[1:], len(are_unknown))
        n_unknown = np.diff(np.append(0, np.cumsum(are_unknown))[np.append(0, ends)])
        return list(zip(n_unknown.tolist(), (ends - starts).tolist(), strict=True))
    if are_unknown.shape[:1] != (n_texts,) or "attention_mask" not in features:
        return [(0, 0)] * n_texts
    n_tokens = np.asarray(features["attention_mask"]).sum(axis=1)
    n_unknown = are_unknown.sum(axis=1)
    return list(zip(n_unknown.tolist(), n_tokens.tolist(), strict=True))
