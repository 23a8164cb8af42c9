"""The mean of the weights that a training goes through towards its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skmmrec.recommender.network import is_by_id

# Share of the steps, the last ones, over which weights are averaged at most, chosen on
# validation rows of TikTok (half: +0.6 %, not +2.1 %).
LONGEST = 0.7
# Weights that are averaged. Seven, one an epoch, are as good as 54 (TikTok).
N_SNAPSHOTS = 8


class WeightAverage:
    """Mean of a network's weights after some of the last steps.

    Parameters
    ----------
    network : Module
        In training, on its device.
    n_steps : int
        Steps of the whole training.
    strength : float
        From 0, only the last weights count, to 1, those of the last `LONGEST`.

    References
    ----------
    B. T. Polyak and A. B. Juditsky, "Acceleration of stochastic approximation by
    averaging", SIAM Journal on Control and Optimization 30(4), 1992; P. Izmailov et
    al., "Averaging weights leads to wider optima and better generalization", UAI 2018.
    """

    def __init__(self, network: nn.Module, n_steps: int, strength: float) -> None:
        self.network = network
        before_end = np.linspace(0, LONGEST * strength, N_SNAPSHOTS, endpoint=False)
        at = n_steps - np.rint(before_end * n_steps).astype(int)
        self.steps = frozenset(at.tolist())
        self.sums: dict[str, Tensor] = {}
        self.n_taken = 0

    def wants(self, step: int) -> bool:
        """Whether the weights after so many steps are averaged."""
        return step in self.steps

    @torch.no_grad()
    def take(self) -> None:
        """Count the weights as they are now."""
        self.n_taken += 1
        for name, values in self._weights():
            # Sums, as all parts of a table must be rounded alike: `lerp_` is not.
            if name in self.sums:
                self.sums[name].add_(values)
            else:
                self.sums[name] = values.clone()

    @torch.no_grad()
    def give(self) -> None:
        """Give the network the mean, if anything was taken."""
        for name, values in self._weights():
            if name in self.sums:
                values.copy_(self.sums[name]).div_(self.n_taken)

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        """All that is learned; tables are, even if torch keeps no gradient of them."""
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad or is_by_id(name):
                yield name, parameter.detach()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the network, for a checkpoint."""
        return {"sums": self.sums, "n_taken": self.n_taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.n_taken = state["n_taken"]
        self.sums = {
            name: state["sums"][name].to(values.device)
            for name, values in self._weights()
            if name in state["sums"]
        }
