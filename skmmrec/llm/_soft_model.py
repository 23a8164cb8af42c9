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

VECTORS, WORDS = "{modalities}", "{item}"
_FLOAT = 4


@dataclass
class Reading:
    """One item as the network reads it.

    Parameters
    ----------
    ids : list of int
        Tokens; any where a vector stands.
    places : list of tuple of (int, int)
        Where vectors stand, and which modality's.
    vectors : list of ndarray
        These vectors.
    """

    ids: list[int]
    places: list[tuple[int, int]] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)


class SoftTokens(nn.Module):
    """Vectors of each modality as tokens of a network: turned, and scaled alike.

    Parameters
    ----------
    maps : sequence of tensors of shape (d_m, dim)
        One for each modality.
    length : float
        Length of a token.
    """

    def __init__(self, maps: Sequence[Tensor], length: float) -> None:
        super().__init__()
        self.maps = nn.ParameterList(nn.Parameter(each) for each in maps)
        self.length = length

    def forward(self, modality: int, vectors: Tensor) -> Tensor:
        """Turn n vectors of one modality into tokens: (n, dim)."""
        turned = F.normalize(vectors, dim=1) @ self.maps[modality]
        return self.length * F.normalize(turned, dim=1)


def semi_orthogonal(name: str, width: int, dim: int, seed: int) -> Tensor:
    """Draw a map that keeps angles, as far as its shape (width, dim) lets it."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    drawn = rng.normal(size=(max(width, dim), min(width, dim)))
    turned = np.linalg.qr(drawn)[0]
    return torch.from_numpy(turned if width >= dim else turned.T).float()


class SoftTokenModel:
    """Items to the hidden state in which a network has read them.

    Parameters
    ----------
    loaded : Loaded
        A causal or bidirectional transformer without a head.
    template : str
        The prompt, with the places of the vectors and of the words.
    widths : mapping of str to int
        Width of each modality's vectors.
    pooling : {"auto", "last", "mean"}
        Which hidden states count: that of the last token, the mean of all, or by
        whether the network sees the past alone.
    max_tokens : int
        Where an item's words are cut.
    seed : int
        Of the maps from vectors to tokens.
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
        table = self.network.get_input_embeddings().weight
        self.dim = table.shape[1]
        self.soft_tokens = SoftTokens(
            [semi_orthogonal(n, w, self.dim, seed) for n, w in widths.items()],
            float(table.float().norm(dim=1).median()),
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
        """Put an item into the prompt."""
        reading = Reading([*self._before])
        for part in self._parts:
            if part == VECTORS:
                self._add_vectors(reading, item)
            elif part == WORDS:
                reading.ids += self._tokens(item.words)[: self.max_tokens]
            else:
                reading.ids += part
        reading.ids += self._after
        return reading

    def cost(self, content: Reading) -> float:
        """Bytes of the largest result that a layer gives for an item."""
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
        """Tokens of words; none of them has a meaning of its own, whatever they say."""
        with self.loaded.lock:
            return self.loaded.tokenizer(
                text,
                add_special_tokens=False,
                split_special_tokens=True,
                verbose=False,
            )["input_ids"]

    def _frame(self) -> tuple[list[int], list[int]]:
        """Return the special tokens that the network wants before and after a text."""
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
        """Hidden states of a batch: (n, dim)."""
        with torch.inference_mode():
            return self(contents).float().cpu().numpy()

    def __call__(self, contents: list[Reading]) -> Tensor:
        """Hidden states of a batch, with gradients where there are any."""
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
        """Tokens (n, length, dim) and mask (n, length), padded on the right.

        There padding is behind the back of a causal network and needs no positions.
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
        """Whether a later token changes what the network makes of an earlier one."""
        table = self.network.get_input_embeddings().weight
        tokens = torch.stack([table[[0, 0]], table[[0, len(table) - 1]]])
        first = self._read(tokens)[:, 0].float()
        return not torch.allclose(first[0], first[1], rtol=1e-3, atol=1e-4)


def _of_modality(
    contents: list[Reading], modality: int
) -> tuple[list[int], list[int], NDArray[np.float32]]:
    """Rows, places and vectors of one modality in a batch."""
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
    """Keep the options that the network's `forward` takes."""
    known = signature(network.forward).parameters
    return {name: value for name, value in options.items() if name in known}
