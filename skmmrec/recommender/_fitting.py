"""What stands between the estimator and the training loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

from skmmrec.catalog import Blocks
from skmmrec.fusion import Fusion
from skmmrec.recommender._history import History
from skmmrec.recommender._network import FusionNetwork
from skmmrec.recommender._training import Content

DENSE_INTERACTIONS_PER_ITEM = 12
N_BATCHES = 30


def choose_batch_size(history: History) -> int:
    """Batch size for ``batch_size="auto"``.

    Many steps are wanted where there is much to learn about each item, and some steps
    in any case.
    """
    n_pairs = len(history.items)
    n_liked_items = np.count_nonzero(history.popularity)
    dense = n_pairs >= DENSE_INTERACTIONS_PER_ITEM * n_liked_items
    return int(np.clip(n_pairs // N_BATCHES, 32, 512 if dense else 2048))


def make_network(
    fusion: type[Fusion],
    widths: Sequence[int],
    history: History,
    *,
    n_factors: int,
    history_exponent: float,
    cold_popularity: float,
) -> FusionNetwork:
    """Untrained network whose item biases are the log of the popularity."""
    popularity = history.popularity
    network = FusionNetwork(
        len(popularity),
        fusion(widths, n_factors) if widths else None,
        n_factors,
        history_exponent,
    )
    bias = np.log(np.where(popularity, popularity + 0.5, cold_popularity))
    with torch.no_grad():
        network.item_bias.copy_(torch.from_numpy(bias))
    return network


def to_tensors(blocks: Blocks, dtype: torch.dtype, device: Any) -> Content:
    """Content as tensors on a device."""
    values = [torch.from_numpy(v).to(device, dtype) for v in blocks.values.values()]
    return Content(values, torch.from_numpy(blocks.mask).to(device))


@contextmanager
def seeded(random_state: Any, device: torch.device) -> Iterator[None]:
    """Seed torch inside the block, and leave its generators as they were."""
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    with torch.random.fork_rng(devices=_cuda_devices(device)):
        torch.manual_seed(seed)
        yield


def _cuda_devices(device: torch.device) -> list[int]:
    if device.type != "cuda":
        return []
    return [torch.cuda.current_device() if device.index is None else device.index]
