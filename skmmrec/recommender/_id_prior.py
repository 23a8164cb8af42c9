"""How far the embeddings of single items are to be trusted."""

from __future__ import annotations

import math

import numpy as np
import torch

from skmmrec.recommender._distributed import mean_over_processes
from skmmrec.recommender._examples import Batcher
from skmmrec.recommender._step import LossOfBatch

START, LOW, HIGH = 2.0, 1.0, 30.0
MIN_EXAMPLES = 2000
SHARE, MAX_HIDDEN = 0.1, 10_000
N_EPOCHS = 2
N_PROBES, PROBE_SIZE, STEP = 30, 2048, 0.25


class IdPrior:
    """Learns the precision of the embeddings' normal prior from held-out pairs.

    The likelihood of the pairs learned from always asks for larger embeddings. In the
    second epoch, that of pairs which training has not seen yet is asked now and then:
    where it would grow if all embeddings shrank, the precision goes up by a step, and
    otherwise down. The mean of the second half of the way, in logarithms, is kept, and
    from the third epoch on all pairs are learned from.

    Parameters
    ----------
    loss : LossOfBatch
        Holds the network.
    batcher : Batcher
        Makes batches of what is learned from meanwhile.
    hidden : Batcher
        Makes batches of what is held out.
    steps_per_epoch : int
        Steps that such an epoch takes.

    References
    ----------
    Y. Chen et al., "λOpt: learn to regularize recommender models in finer levels", KDD
    2019 (regularization that follows the gradient of a held-out loss); D. MacKay,
    "Bayesian interpolation", Neural Computation 4(3), 1992 (learned prior precisions).
    """

    def __init__(
        self,
        loss: LossOfBatch,
        batcher: Batcher,
        hidden: Batcher,
        steps_per_epoch: int,
    ) -> None:
        self.loss = loss
        self.batcher = batcher
        self.hidden = hidden
        self.interval = max(1, steps_per_epoch // N_PROBES)
        self.n_steps = 0
        self.way: list[float] = []

    def holds_out(self, epoch: int) -> bool:
        """Whether `batcher` is to be used in this epoch, counted from 0."""
        return epoch < N_EPOCHS

    def after_step(self, epoch: int) -> None:
        """Ask the held-out pairs, if it is time."""
        if epoch != N_EPOCHS - 1:
            return
        self.n_steps += 1
        if self.n_steps % self.interval == 0:
            direction = 1 if self._would_gain_by_shrinking() else -1
            factor = math.exp(STEP * direction)
            self._set(float(self.loss.network.id_precision) * factor)
            self.way.append(math.log(float(self.loss.network.id_precision)))

    def after_epoch(self, epoch: int) -> None:
        """Settle on a precision when all has been asked."""
        if epoch == N_EPOCHS - 1 and self.way:
            self._set(math.exp(np.mean(self.way[len(self.way) // 2 :])))

    def _set(self, precision: float) -> None:
        self.loss.network.id_precision.fill_(min(max(precision, LOW), HIGH))

    def _would_gain_by_shrinking(self) -> bool:
        embedding = self.loss.network.item_embedding
        rows = torch.randperm(len(self.hidden.examples))[:PROBE_SIZE].numpy()
        batch = self.hidden.batch(rows).to(embedding.device)
        self.loss.eval()
        (gradient,) = torch.autograd.grad(self.loss(batch), [embedding])
        self.loss.train()
        return mean_over_processes(float((gradient * embedding.detach()).sum())) > 0
