"""Texts to tokens in batches, as sentence-transformers does it, but ahead of the model.

The library sets a tokenizer up anew in each call, so that one thread at a time may use
it, and makes Python lists of everything that a tokenizer can tell. A reader has a
tokenizer of its own, whose settings never change, and takes nothing but the ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from skmmrec.encoders._chunks import cut_text
from skmmrec.encoders._known_words import FEW_TEXTS, KnownWords, Tokens, read_texts
from skmmrec.encoders._word_borders import reads_words, word_test
from skmmrec.runtime import is_of_item, to_device

if TYPE_CHECKING:
    import torch

# What is tokenised both ways before a reader is used. Each text is of a kind in which
# tokenizers differ: case and accents, scripts without spaces, characters of several
# code points, white space of all kinds, words of special tokens, a word without end.
_PROBES = [
    "a",
    "A dog barks at the MOON, isn't it? 3.14 (see http://a.bc/d_e#f)",
    "Ünïcödé e\u0301 İ ß 漢字かな สุนัข собака ﬁ ½",
    "🐶 👩‍👩‍👧 \u200d\u200b\ufeff\u00ad",
    "  two  spaces\tand\nlines\r\n \u00a0\u3000 ",
    "[CLS] [SEP] [PAD] <s> </s> <pad> <unk> <mask> <|endoftext|> <|im_end|> ## ▁ Ġ",
    "x" * 300,
]
# Models that read more than this are not shown a text that is too long for them: it
# takes 0.1 s.
_LONGEST_PROBE = 40_000
# What ends a word for each tokenizer, and whatever else lies between two words.
_SPACES = frozenset(" \t\n\r")
# From here on, transformers means that there is no limit.
_UNLIMITED = 1e20


class Frame(NamedTuple):
    """How a text is framed and cut.

    Parameters
    ----------
    before, after : ndarray of int32
        The tokens that a tokenizer puts around a text.
    limit : int or None
        The most tokens of a framed text; None for any number.
    keeps_end : bool
        Whether a text that is too long loses its beginning.
    """

    before: Tokens
    after: Tokens
    limit: int | None
    keeps_end: bool

    def cut(self, tokens: Tokens) -> Tokens:
        """Shorten the text in a frame to the limit."""
        if self.limit is None or len(tokens) <= self.limit:
            return tokens
        text = tokens[len(self.before) : len(tokens) - len(self.after)]
        room = self.limit - len(self.before) - len(self.after)
        kept = text[len(text) - room :] if self.keeps_end else text[:room]
        return np.concatenate([self.before, kept, self.after])


class TokenReader:
    """Tokenises texts for one model and one prompt; threads may share it.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        One whose settings nobody else changes.
    prompt : str
        Put before each text.
    layout : Padded or Flat
        How the tokens of several texts become the input of a network.
    frame : Frame or None
        How a text is framed and cut; None for a tokenizer that cuts by itself and
        frames nothing.
    """

    def __init__(
        self, tokenizer: Any, prompt: str, layout: Padded | Flat, frame: Frame | None
    ) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt
        self._layout = layout
        self._frame = frame
        self._around = self._surroundings()
        self._words = _known_words(tokenizer, frame)

    def read(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens of texts, however many there are."""
        whole = [self._prompt + text for text in texts] if self._prompt else texts
        if self._words is not None:
            return self._words.read(whole)
        return read_texts(self._tokenizer, whole, self._frame is not None)

    def cut(self, tokens: Tokens) -> Tokens:
        """Shorten a text that is too long for the model."""
        return tokens if self._frame is None else self._frame.cut(tokens)

    def pieces(
        self, texts: Sequence[str], max_tokens: int
    ) -> list[list[tuple[Tokens, int]]]:
        """Return the tokens of the pieces of long texts, and how many the text has.

        The pieces are those of `chunk_text`. Where they begin after white space, most
        tokenizers of words give the tokens that the whole text has there.
        """
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        found: list[list[tuple[Tokens, int]]] = [[] for _ in texts]
        others: list[tuple[int, str, int]] = []
        for i, (text, encoding) in enumerate(zip(texts, encodings, strict=True)):
            pieces = cut_text(text, _Offsets(encoding), max_tokens)
            sizes = [n for _, n in pieces]
            if self._around is not None and _are_apart(text, encoding, sizes):
                found[i] = self._slices(encoding, sizes, *self._around)
            else:
                others += [(i, piece, n) for piece, n in pieces]
        rows = self.read([piece for _, piece, _ in others])
        for (i, _, n), tokens in zip(others, rows, strict=True):
            found[i].append((self.cut(tokens), n))
        return found

    def _slices(
        self, encoding: Any, sizes: list[int], before: Tokens, after: Tokens
    ) -> list[tuple[Tokens, int]]:
        tokens = np.array(encoding.ids, np.int32)
        ends = np.cumsum(sizes).tolist()
        parts = [tokens[end - n : end] for end, n in zip(ends, sizes, strict=True)]
        framed = [self.cut(np.concatenate([before, part, after])) for part in parts]
        return list(zip(framed, sizes, strict=True))

    def _surroundings(self) -> tuple[Tokens, Tokens] | None:
        """Return what stands around each text, if a text has the same tokens alone."""
        ends_in_space = not self._prompt or self._prompt[-1] in _SPACES
        if self._frame is None or not ends_in_space or not reads_words(self._tokenizer):
            return None
        prompt = self._tokenizer.encode(self._prompt, add_special_tokens=False)
        before = np.append(self._frame.before, np.array(prompt.ids, np.int32))
        return before, self._frame.after

    @property
    def is_padded(self) -> bool:
        """Whether texts of a batch become rows of one length, with a mask."""
        return isinstance(self._layout, Padded)

    def features(self, texts: list[Tokens], device: torch.device) -> dict[str, Any]:
        """Return the network's input for some texts, on its device."""
        return self._layout.features(texts, device)


class Padded(NamedTuple):
    """Rows of one length, for transformers.

    Parameters
    ----------
    pad : int
        The token that fills a row.
    pads_left : bool
        Whether it stands before the text.
    has_types : bool
        Whether the network is told the kinds of tokens, which are all 0.
    constants : dict
        What the network is told in each call.
    """

    pad: int
    pads_left: bool
    has_types: bool
    constants: dict[str, Any]

    def features(self, texts: list[Tokens], device: Any) -> dict[str, Any]:
        """Return ids and masks of shape (n_texts, n_tokens), int64.

        Rows are padded on the device: half as many numbers are copied to it.
        """
        import torch

        flat = to_device(torch.from_numpy(np.concatenate(texts)), device)
        width = max(map(len, texts))
        if len(flat) == width * len(texts):
            tokens = flat.view(len(texts), width).long()
            mask = torch.ones_like(tokens)
        else:
            tokens, mask = self._padded(flat, [len(text) for text in texts], width)
        made = {"input_ids": tokens, "attention_mask": mask}
        if self.has_types:
            made["token_type_ids"] = torch.zeros_like(tokens)
        return {**made, **self.constants}

    def _padded(
        self, flat: torch.Tensor, lengths: list[int], width: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the tokens of texts in rows, and a mask of them."""
        import torch

        sizes = to_device(torch.tensor(lengths, device="cpu"), flat.device)[:, None]
        places = torch.arange(width, device=flat.device)
        places = places - self.pads_left * (width - sizes)
        is_full = (places >= 0) & (places < sizes)
        at = (sizes.cumsum(0) - sizes + places).clamp(0, len(flat) - 1)
        return flat[at].where(is_full, self.pad).long(), is_full.long()


class Flat(NamedTuple):
    """One row of all texts, and where each begins, for embeddings of words."""

    def features(self, texts: list[Tokens], device: Any) -> dict[str, Any]:
        """Return ids of shape (n_tokens,) and starts of shape (n_texts,)."""
        import torch

        ids = np.concatenate(texts).astype(np.int64)
        starts = np.cumsum([0, *map(len, texts[:-1])])
        return {
            "input_ids": to_device(torch.from_numpy(ids), device),
            "offsets": to_device(torch.from_numpy(starts), device),
        }


def token_reader(transformer: Any, prompt: str) -> TokenReader | None:
    """Return a reader for a model, or None where it may differ from the library.

    No other thread may use the model's tokenizer meanwhile. The prompt is put before
    each text.
    """
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    module = transformer[0]
    try:
        if type(module) is StaticEmbedding:
            return _checked(_static_reader(module, prompt), transformer, prompt)
        if type(module) is Transformer and _is_plain(module):
            expected = transformer.preprocess(["a"], prompt=prompt)
            reader = _plain_reader(module, prompt, expected)
            return _checked(reader, transformer, prompt)
    except BaseException as error:  # a text that the tokenizer refuses
        if not is_of_item(error):
            raise
    return None


def _static_reader(module: Any, prompt: str) -> TokenReader | None:
    shared = module.tokenizer
    own = _own_tokenizer(shared, shared.encode_special_tokens)
    if own is None:
        return None
    if shared.truncation is not None:
        own.enable_truncation(**shared.truncation)
    return TokenReader(own, prompt, Flat(), None)


def _plain_reader(module: Any, prompt: str, expected: dict) -> TokenReader | None:
    tokenizer = module.tokenizer
    special = tokenizer.split_special_tokens
    own = _own_tokenizer(tokenizer.backend_tokenizer, special)
    frame = None if own is None else _frame(own, tokenizer)
    if frame is None:
        return None
    layout = Padded(
        pad=tokenizer.pad_token_id,
        pads_left=tokenizer.padding_side == "left",
        has_types="token_type_ids" in expected,
        constants={k: v for k, v in expected.items() if not hasattr(v, "shape")},
    )
    return TokenReader(own, prompt, layout, frame)


def _is_plain(module: Any) -> bool:
    """Tell whether a module does nothing to texts but call a tokenizer in Rust."""
    from transformers import PreTrainedTokenizerFast as Fast

    tokenizer = module.processor
    if not isinstance(tokenizer, Fast) or tokenizer.pad_token_id is None:
        return False
    methods = ("__call__", "_encode_plus", "set_truncation_and_padding")
    is_usual = all(getattr(type(tokenizer), m) is getattr(Fast, m) for m in methods)
    is_changed = module.processing_kwargs or module.can_flatten_inputs
    is_embedding = module.transformer_task == "feature-extraction"
    reads_texts = {"text", "message"} & set(module.modality_config) == {"text"}
    return is_usual and is_embedding and reads_texts and not is_changed


def _own_tokenizer(shared: Any, splits_special: bool) -> Any:
    """Return a tokenizer of the same parts, which neither cuts nor pads, or None.

    Parts are shared: a copy of a large vocabulary would take a second and 300 MB.
    """
    from tokenizers import Tokenizer

    own = Tokenizer(shared.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor"):
        if getattr(shared, part) is not None:
            setattr(own, part, getattr(shared, part))
    own.encode_special_tokens = splits_special
    for number, token in sorted(shared.get_added_tokens_decoder().items()):
        (own.add_special_tokens if token.special else own.add_tokens)([token])
        if own.token_to_id(token.content) != number:
            return None
    return own


def _frame(own: Any, tokenizer: Any) -> Frame | None:
    """Return the frame of a text, or None if it leaves no room for one."""
    framed = own.encode("a")
    tokens, is_frame = np.array(framed.ids, np.int32), framed.special_tokens_mask
    text = np.flatnonzero(np.array(is_frame) == 0)
    if not len(text):
        return None
    before, after = tokens[: text[0]], tokens[text[-1] + 1 :]
    is_limited = tokenizer.model_max_length <= _UNLIMITED
    limit = int(tokenizer.model_max_length) if is_limited else None
    if limit is not None and limit <= len(before) + len(after):
        return None
    return Frame(before, after, limit, tokenizer.truncation_side == "left")


def _known_words(tokenizer: Any, frame: Frame | None) -> KnownWords | None:
    """Return what reads texts by their words, where that gives the same tokens."""
    is_apart = word_test(tokenizer)
    if is_apart is None or tokenizer.truncation is not None:
        return None
    nothing = np.empty(0, np.int32)
    before, after = (nothing, nothing) if frame is None else frame[:2]
    words = KnownWords(tokenizer, is_apart, before, after)
    # What comes often is put together.
    probes = _PROBES * FEW_TEXTS
    whole = read_texts(tokenizer, probes, frame is not None)
    found = zip(words.read(probes), whole, strict=True)
    return words if all(np.array_equal(*pair) for pair in found) else None


def _are_apart(text: str, encoding: Any, sizes: list[int]) -> bool:
    """Tell whether white space lies between the pieces of a text, by their sizes."""
    begins = np.cumsum(sizes)[:-1].tolist()
    of = encoding.token_to_chars
    gaps = (text[of(begin - 1)[1] : of(begin)[0]] for begin in begins)
    return all(not _SPACES.isdisjoint(gap) for gap in gaps)


class _Offsets:
    """Where the tokens of an encoding begin and end, looked up where it is asked for.

    The list of all of them would take a tenth of the time of tokenising.
    """

    def __init__(self, encoding: Any) -> None:
        self._encoding = encoding

    def __len__(self) -> int:
        return len(self._encoding)

    def __getitem__(self, token: int) -> tuple[int, int]:
        span: tuple[int, int] = self._encoding.token_to_chars(token)
        return span


def _checked(
    reader: TokenReader | None, transformer: Any, prompt: str
) -> TokenReader | None:
    """Return a reader if it gives the features that the library gives."""
    import torch

    if reader is None:
        return None
    limit = transformer.max_seq_length or 0
    probes = [_PROBES]
    if limit <= _LONGEST_PROBE:
        probes.append(["a", "word, " * int(limit)])
    for texts in probes:
        expected = transformer.preprocess(texts, prompt=prompt)
        tokens = [reader.cut(row) for row in reader.read(texts)]
        if not _are_equal(reader.features(tokens, torch.device("cpu")), expected):
            return None
    return reader


def _are_equal(given: dict[str, Any], expected: dict[str, Any]) -> bool:
    import torch

    def is_equal(one: Any, other: Any) -> bool:
        if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
            return type(one) is type(other) and bool(one == other)
        return one.dtype == other.dtype and torch.equal(one, other)

    are_named_alike = given.keys() == expected.keys()
    return are_named_alike and all(is_equal(given[k], expected[k]) for k in given)
