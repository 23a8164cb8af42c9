"""A transformer that reads words and vectors in one prompt."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from skmmrec.llm._loading import Loaded
from skmmrec.llm._soft_items import Item
from skmmrec.runtime import ContentError

VECTORS, WORDS = "{modalities}", "{item}"
# Bytes of a float32.
_FLOAT = 4


@dataclass
class Reading:
    """The network's input for one item.

    Parameters
    ----------
    ids : list of int
        Token ids; at the positions of vectors they are ignored.
    places : list of tuple of (int, int)
        Position and modality of each vector.
    vectors : list of ndarray
        The vectors.
    """

    ids: list[int]
    places: list[tuple[int, int]] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)


class SoftTokens(nn.Module):
    """Map the vectors of each modality to tokens of a network, all of one length.

    Parameters
    ----------
    maps : sequence of tensors of shape (d_m, dim)
        One for each modality.
    length : float
        The Euclidean length of the tokens.
    """

    def __init__(self, maps: Sequence[Tensor], length: float) -> None:
        super().__init__()
        self.maps = nn.ParameterList(nn.Parameter(each) for each in maps)
        self.length = length

    def forward(self, modality: int, vectors: Tensor) -> Tensor:
        """Map n vectors of one modality to tokens, of shape (n, dim)."""
        turned = F.normalize(vectors, dim=1) @ self.maps[modality]
        return self.length * F.normalize(turned, dim=1)


def semi_orthogonal(name: str, width: int, dim: int, seed: int) -> Tensor:
    """Draw a map of shape (width, dim) that preserves angles if it does not shrink."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    drawn = rng.normal(size=(max(width, dim), min(width, dim)))
    turned = np.linalg.qr(drawn)[0]
    return torch.from_numpy(turned if width >= dim else turned.T).float()


class SoftTokenModel:
    """Turn items into a network's pooled hidden states.

    Parameters
    ----------
    loaded : Loaded
        A causal or bidirectional transformer without a head.
    template : str
        The prompt, with placeholders for the vectors and the words.
    widths : mapping of str to int
        Width of each modality's vectors.
    pooling : {"auto", "last", "mean"}
        The hidden state of the last token, or the mean of all; ``"auto"`` takes the
        last one of a causal network, otherwise the mean.
    max_tokens : int
        The most tokens of an item's words.
    seed : int
        Seed of the maps from vectors to tokens.
    """

    def __init__(
        self,
        loaded: Loaded,
        template: str,
        widths: Mapping[str, int],
        pooling: str,
        max_tokens: int,
        seed: int,
    ) -> None:
        self.loaded = loaded
        self.network = loaded.network
        self.max_tokens = max_tokens
        self.dim = self.network.get_input_embeddings().weight.shape[1]
        self.soft_tokens = SoftTokens(
            [semi_orthogonal(n, w, self.dim, seed) for n, w in widths.items()],
            _usual_length(self.network.get_input_embeddings()),
        ).to(loaded.device)
        self.soft_tokens.requires_grad_(False)
        parts = re.split(f"({re.escape(VECTORS)}|{re.escape(WORDS)})", template)
        self._parts: list[Any] = [
            part if part in (VECTORS, WORDS) else self._tokens(part) for part in parts
        ]
        self._names = [self._tokens(f" {name}:") for name in widths]
        self._before, self._after = self._frame()
        self._options = _known_options(self.network, use_cache=False)
        if pooling == "auto":
            pooling = "mean" if self._looks_ahead() else "last"
        self.pooling = pooling

    # -- reading ---------------------------------------------------------------------

    def prepare(self, item: Item) -> Reading:
        """Insert an item into the prompt.

        Raises ContentError if the model cannot read as many tokens.
        """
        reading = Reading([*self._before])
        for part in self._parts:
            if part == VECTORS:
                self._add_vectors(reading, item)
            elif part == WORDS:
                reading.ids += self._tokens(item.words)[: self.max_tokens]
            else:
                reading.ids += part
        reading.ids += self._after
        context = self.loaded.context
        if context is not None and len(reading.ids) > context:
            raise ContentError(
                f"the prompt has {len(reading.ids)} tokens, but the model reads "
                f"{context}; lower max_tokens"
            )
        return reading

    def cost(self, content: Reading) -> float:
        """Return the bytes of the largest layer output for an item."""
        config = self.network.config
        widest = max(getattr(config, "intermediate_size", 0) or 0, 4 * self.dim)
        return float(_FLOAT * widest * len(content.ids))

    def _add_vectors(self, reading: Reading, item: Item) -> None:
        for modality, vector in enumerate(item.vectors):
            if vector is not None:
                reading.ids += self._names[modality]
                reading.places.append((len(reading.ids), modality))
                reading.ids.append(0)
                reading.vectors.append(vector)

    def _tokens(self, text: str) -> list[int]:
        """Return the tokens of a text; special tokens in it are read as plain text."""
        with self.loaded.lock:
            return self.loaded.tokenizer(
                text,
                add_special_tokens=False,
                split_special_tokens=True,
                verbose=False,
            )["input_ids"]

    def _frame(self) -> tuple[list[int], list[int]]:
        """Return the special tokens that the tokenizer puts around a text."""
        text = "x"
        with self.loaded.lock:
            framed = self.loaded.tokenizer(text)["input_ids"]
        bare = self._tokens(text)
        for start in range(len(framed) - len(bare) + 1):
            if framed[start : start + len(bare)] == bare:
                return framed[:start], framed[start + len(bare) :]
        return [], []

    # -- running ---------------------------------------------------------------------

    def encode(self, contents: list[Reading]) -> NDArray[np.float32]:
        """Return the pooled hidden states of a batch, of shape (n, dim)."""
        with torch.inference_mode():
            return self(contents).float().cpu().numpy()

    def __call__(self, contents: list[Reading]) -> Tensor:
        """Return the pooled hidden states of a batch, with gradients if enabled."""
        tokens, mask = self._embed(contents)
        output = self.network(
            inputs_embeds=tokens, attention_mask=mask, **self._options
        )
        hidden = output.last_hidden_state
        if self.pooling == "last":
            last = mask.sum(dim=1) - 1
            return hidden[torch.arange(len(hidden), device=hidden.device), last]
        weights = mask.unsqueeze(2).float()
        return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1)

    def _embed(self, contents: list[Reading]) -> tuple[Tensor, Tensor]:
        """Return tokens (n, length, dim) and mask (n, length), padded on the right.

        A causal network does not see padding on the right, which shifts no positions.
        """
        device = self.loaded.device
        lengths = torch.tensor([len(content.ids) for content in contents])
        mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
        ids = torch.zeros(mask.shape, dtype=torch.long)
        ids[mask] = torch.tensor([i for content in contents for i in content.ids])
        tokens = self.network.get_input_embeddings()(ids.to(device))
        for modality in range(len(self.soft_tokens.maps)):
            rows, places, vectors = _of_modality(contents, modality)
            if rows:
                soft = self.soft_tokens(modality, torch.from_numpy(vectors).to(device))
                at = torch.tensor(rows).to(device), torch.tensor(places).to(device)
                tokens = tokens.index_put(at, soft.to(tokens.dtype))
        return tokens, mask.long().to(device)

    def _read(self, tokens: Tensor, **options: Any) -> Tensor:
        output = self.network(inputs_embeds=tokens, **options, **self._options)
        return output.last_hidden_state

    @torch.inference_mode()
    def _looks_ahead(self) -> bool:
        """Tell whether a later token changes the hidden state of an earlier one."""
        table = self.network.get_input_embeddings().weight
        tokens = torch.stack([table[[0, 0]], table[[0, len(table) - 1]]])
        first = self._read(tokens)[:, 0].float()
        return not torch.allclose(first[0], first[1], rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def _usual_length(embeddings: nn.Module) -> float:
    """Return the median length of the tokens that the embeddings give.

    Those of Gemma 3 multiply their table by a number.
    """
    table: Any = embeddings.weight
    length, at = table.float().norm(dim=1).median(dim=0)
    row = at.unsqueeze(0)
    given, plain = (t.float().norm(dim=1) for t in (embeddings(row), table[row]))
    return float(length * (given / plain if plain > 0 else 1))


def _of_modality(
    contents: list[Reading], modality: int
) -> tuple[list[int], list[int], NDArray[np.float32]]:
    """Return rows, positions and vectors of one modality in a batch."""
    found = [
        (row, place, vector)
        for row, content in enumerate(contents)
        for (place, kind), vector in zip(content.places, content.vectors, strict=True)
        if kind == modality
    ]
    vectors = [vector for _, _, vector in found]
    return (
        [row for row, _, _ in found],
        [place for _, place, _ in found],
        np.stack(vectors) if vectors else np.empty((0, 0), np.float32),
    )


def _known_options(network: Any, **options: Any) -> dict[str, Any]:
    """Keep the options that the network's `forward` accepts."""
    known = signature(network.forward).parameters
    return {name: value for name, value in options.items() if name in known}
