"""The likelihood of a taste after an item's text, by a language model."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from skmmrec.llm._answers import Pair
from skmmrec.llm._chat import pad_left
from skmmrec.llm._generator import NOT_FINITE, LanguageModel
from skmmrec.llm._loading import Loaded
from skmmrec.llm._prompts import Prompt
from skmmrec.llm._safety import fence
from skmmrec.runtime import HalvingBatches, digest

# Part of the keys in the cache. Raise it when a change of the code changes scores.
_VERSION = 1
# Pairs per batch, bounded by the logits: of 20 tokens over the 49,152 words of SmolLM2,
# 31 MB in float32.
_BATCH = {"cpu": 8}
# Likewise, 252 MB. Neither of the two is tuned; they are halved if memory runs out.
_BATCH_ELSEWHERE = 64


class TasteLikelihood:
    """Score pairs (taste, item) by the mean log-likelihood of the taste's tokens.

    Parameters
    ----------
    loaded : Loaded
        A causal language model.
    prompt : Prompt
        The text before the taste, with the placeholder ``{item}``.
    """

    def __init__(self, loaded: Loaded, prompt: Prompt) -> None:
        self._loaded = loaded
        self._prompt = prompt
        self._known = set(inspect.signature(loaded.network.forward).parameters)
        self.identity = loaded.identity + digest(f"{_VERSION}{prompt.text}".encode())

    def __call__(self, pairs: list[Pair]) -> np.ndarray:
        """Score pairs, in batches of similar length."""
        tokens = [self._tokenize(taste, item) for taste, item in pairs]
        self._check_lengths(tokens)
        order = sorted(range(len(tokens)), key=lambda i: -_length(tokens[i]))
        size = _BATCH.get(self._loaded.device.type, _BATCH_ELSEWHERE)
        score = HalvingBatches(self._score, size)
        scores = np.empty(len(pairs), np.float32)
        scores[order] = score([tokens[i] for i in order])
        return scores

    def _tokenize(self, taste: str, item: str) -> tuple[list[int], list[int]]:
        """Return the tokens of the prompt and those of the taste."""
        asked = self._prompt.fill(item=fence(item, "item"))
        before = self._loaded.tokenize(asked, end="\n\n")
        with self._loaded.lock:
            said = self._loaded.tokenizer(taste, add_special_tokens=False)
        return before, said["input_ids"]

    def _check_lengths(self, tokens: list[tuple[list[int], list[int]]]) -> None:
        longest, context = max(map(_length, tokens)), self._loaded.context
        if context is not None and longest > context:
            raise ValueError(
                f"an item's text, the prompt and the taste have {longest} tokens, but "
                f"the model reads {context}: lower max_length, n_words or n_history"
            )

    def _score(self, batch: list[tuple[list[int], list[int]]]) -> np.ndarray:
        import torch

        rows = [before + taste for before, taste in batch]
        ids, mask = pad_left(rows, self._loaded.fill, self._loaded.device)
        longest = max(len(taste) for _, taste in batch)
        with torch.inference_mode():
            logits = self._logits(ids, mask, longest + 1)[:, :-1].float()
            each = logits.log_softmax(-1).gather(2, ids[:, -longest:, None])[..., 0]
        pairs = zip(each.cpu().numpy(), batch, strict=True)
        scores = np.array(
            [row[longest - len(taste) :].mean() for row, (_, taste) in pairs]
        )
        if np.isnan(scores).any():
            raise ValueError(NOT_FINITE)
        return scores

    def _logits(self, ids: Any, mask: Any, n_last: int) -> Any:
        """Return the logits of the last positions."""
        options = {
            "position_ids": (mask.cumsum(1) - 1).clamp(min=0),
            "logits_to_keep": n_last,
            "use_cache": False,
        }
        known = {key: value for key, value in options.items() if key in self._known}
        output = self._loaded.network(input_ids=ids, attention_mask=mask, **known)
        return output.logits[:, -n_last:]


def _length(tokens: tuple[list[int], list[int]]) -> int:
    return sum(map(len, tokens))


def model_for_likelihood(model: Any) -> LanguageModel:
    """Return a `LanguageModel`.

    Raises TypeError if it is not one: a function cannot tell how likely a text is.
    """
    if not isinstance(model, LanguageModel):
        raise TypeError(
            "method='likelihood' needs the name or path of a local model or a "
            "LanguageModel as llm, not a function"
        )
    return model
