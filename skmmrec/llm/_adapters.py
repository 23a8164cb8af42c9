"""LoRA adapters, trained on pairs of items that the same users like."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from skmmrec.llm._soft_model import Reading, SoftTokenModel
from skmmrec.runtime import Generators

# The rank is peft's own default, and alpha twice the rank is common; neither is tuned.
DEFAULTS = {
    "r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.05,
    "target_modules": "all-linear",
}
# The temperature of SimCLR (Chen et al. 2020), which contrasts cosines too. Not tuned.
TEMPERATURE = 0.1
# Share of the steps over which the step size rises: 10 of the default 100. Not tuned.
WARM_UP = 0.1


@dataclass(frozen=True)
class CoLikes:
    """Who likes which items; the source of pairs that the same users like.

    Parameters
    ----------
    users, items : ndarray of shape (n,)
        Positions of the user and the item of each like, without duplicates.
    """

    users: NDArray
    items: NDArray

    def where(self, kept: NDArray[np.bool_]) -> CoLikes:
        """Keep the likes marked in `kept`, of shape (n,)."""
        return CoLikes(self.users[kept], self.items[kept])

    def draw(self, n: int, rng: np.random.Generator) -> NDArray[np.intp]:
        """Draw n likes, each with another like of the same user: (n, 2) items.

        Raises ValueError if no user likes two items.
        """
        order = np.argsort(self.users, kind="stable")
        _, start, size = np.unique(
            self.users[order], return_index=True, return_counts=True
        )
        start, size = np.repeat(start, size), np.repeat(size, size)
        usable = np.flatnonzero(size > 1)
        if len(usable) == 0:
            raise ValueError("lora needs users with two likes; there are none")
        one = rng.choice(usable, n)
        step = rng.integers(1, size[one])
        other = start[one] + (one - start[one] + step) % size[one]
        return self.items[order][np.column_stack([one, other])]


def with_adapters(model: SoftTokenModel, lora: Any, seed: int) -> SoftTokenModel:
    """Copy a model and add adapters; the copy shares the weights of the model.

    `lora` are settings of the adapters, a mapping of which overrides `DEFAULTS`; `seed`
    is that of their initial weights.
    """
    try:
        from peft import inject_adapter_in_model
    except ImportError as error:
        raise ImportError("lora needs peft: pip install 'skmmrec[llm]'") from error
    adapted = copy.copy(model)
    adapted.soft_tokens = copy.deepcopy(model.soft_tokens)
    shared = [*model.network.parameters(), *model.network.buffers()]
    network = copy.deepcopy(model.network, {id(weight): weight for weight in shared})
    with Generators(seed, model.loaded.device).lent():
        adapted.network = inject_adapter_in_model(_config(lora), network)
    for weight in trainable(adapted).values():
        weight.data = weight.data.float()
    adapted.network.eval()
    return adapted


def trainable(model: SoftTokenModel) -> dict[str, torch.nn.Parameter]:
    """Return the weights of adapters and maps, by name."""
    adapters = {
        f"adapter.{name}": weight
        for name, weight in model.network.named_parameters()
        if weight.requires_grad
    }
    maps = model.soft_tokens.maps
    return adapters | {f"map.{m}": weight for m, weight in enumerate(maps)}


def weights_out(model: SoftTokenModel) -> dict[str, NDArray[np.float32]]:
    """Return copies of a model's `trainable` weights."""
    return {
        name: weight.detach().float().cpu().numpy().copy()
        for name, weight in trainable(model).items()
    }


@torch.no_grad()
def weights_in(model: SoftTokenModel, weights: Mapping[str, NDArray]) -> None:
    """Put the result of `weights_out` into a model with the same adapters.

    Raises ValueError if the adapters differ.
    """
    own = trainable(model)
    if own.keys() != weights.keys():
        raise ValueError("the adapters do not belong to this language model")
    for name, weight in own.items():
        weight.copy_(torch.tensor(weights[name]))  # it may be read-only


def train_adapters(
    model: SoftTokenModel,
    read: Callable[[int], Reading],
    likes: CoLikes,
    *,
    n_steps: int,
    n_pairs: int,
    learning_rate: float,
    seed: int,
    watch: Callable[[Iterable[int], int], Iterable[int]],
) -> list[float]:
    """Train adapters and maps so that items liked by one user get similar vectors.

    Parameters
    ----------
    model : SoftTokenModel
        A model with adapters; it is trained in place.
    read : callable
        Maps the position of an item to the network's input.
    likes : CoLikes
        Who likes what.
    n_steps, n_pairs : int
        Steps, and pairs of items in each, which are negatives of one another.
    learning_rate : float
        Peak step size of AdamW.
    seed : int
        Seed of the pairs and of dropout.
    watch : callable
        Wraps the steps, whose number it gets, in a progress bar.

    Returns
    -------
    list of float
        The loss of each step.
    """
    rng = np.random.default_rng(seed)
    weights = list(trainable(model).values())
    for weight in weights:
        weight.requires_grad_(True)
    optimizer = torch.optim.AdamW(weights, learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: _share_of_rate(step, n_steps)
    )
    losses = []
    model.network.train()
    with Generators(seed, model.loaded.device).lent():
        for _ in watch(range(n_steps), n_steps):
            pairs = likes.draw(n_pairs, rng)
            loss = _contrast(
                model([read(int(item)) for item in pairs.T.ravel()]), pairs
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    model.network.eval()
    model.soft_tokens.requires_grad_(False)
    return losses


def _share_of_rate(step: int, n_steps: int) -> float:
    """Return the share of the peak step size: linear warm-up, then cosine decay."""
    warm = max(1, round(WARM_UP * n_steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + np.cos(np.pi * (step - warm) / max(1, n_steps - warm)))


def _contrast(hidden: Tensor, pairs: NDArray) -> Tensor:
    """Compute InfoNCE between the two sides of the pairs.

    An item is not a negative of itself. Coordinates are standardized over the batch, as
    `SoftTokenFuser` standardizes them over all items afterwards.
    """
    standard = F.batch_norm(hidden.float(), None, None, training=True)
    one, other = F.normalize(standard, dim=1).chunk(2)
    logits = one @ other.T / TEMPERATURE
    same = (pairs[:, :1] == pairs[:, 1]) | (pairs[:, 1:] == pairs[:, 1])
    same |= pairs[:, :1] == pairs[:, 0]
    np.fill_diagonal(same, False)
    logits = logits.masked_fill(torch.from_numpy(same).to(logits.device), -torch.inf)
    target = torch.arange(len(pairs), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _config(lora: Any) -> Any:
    from peft import LoraConfig

    if isinstance(lora, LoraConfig):
        return lora
    if not isinstance(lora, Mapping):
        raise TypeError(
            "lora must be None, a mapping or a peft.LoraConfig, got "
            f"{type(lora).__name__}"
        )
    return LoraConfig(**{**DEFAULTS, **lora})


def settings_of(config: Any) -> dict[str, Any]:
    """Return the settings of a `LoraConfig` that differ from peft's, for JSON."""
    usual, own = type(config)().to_dict(), config.to_dict()
    chosen = {name: value for name, value in own.items() if value != usual.get(name)}
    chosen |= {name: own[name] for name in DEFAULTS}
    return {
        name: sorted(value) if isinstance(value, set) else value
        for name, value in chosen.items()
    }
