"""How far the embeddings of single items are to be trusted."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import torch

from skmmrec.recommender._distributed import mean_over_processes
from skmmrec.recommender._examples import Batcher
from skmmrec.recommender._step import LossOfBatch
from skmmrec.recommender._training import Trainer

LOW, CLEAR, HIGH = 1.0, 8.0, 30.0
N_PROBES, PROBE_SIZE, STEP = 30, 2048, 0.25


def learn_precision(trainer: Trainer, hidden: Batcher, n_epochs: int) -> float:
    """Learn the precision of the embeddings' normal prior from held-out pairs.

    The likelihood of the pairs learned from always asks for larger embeddings. So in
    the last epoch of a short training, that of pairs which it does not see is asked now
    and then: where it would grow if all embeddings shrank, content making up for the
    length that vectors lose, the precision goes up by a step, and otherwise down. The
    mean of the second half of the way, in logarithms, is the result if it is clearly
    above the lowest precision.

    Parameters
    ----------
    trainer : Trainer
        Of a network that is not used any further.
    hidden : Batcher
        Makes batches of what is held out.
    n_epochs : int
        How far to train.

    References
    ----------
    Y. Chen et al., "λOpt: learn to regularize recommender models in finer levels", KDD
    2019 (regularization that follows the gradient of a held-out loss); D. MacKay,
    "Bayesian interpolation", Neural Computation 4(3), 1992 (learned prior precisions).
    """
    search = _Search(trainer, hidden)
    with closing(trainer.run()) as epochs:
        for _ in range(n_epochs - 1):
            next(epochs)
        trainer.after_step = search.after_step
        next(epochs)
    mean = float(np.exp(np.mean(search.way[len(search.way) // 2 :])))
    return min(mean, HIGH) if mean >= CLEAR else LOW


class _Search:
    def __init__(self, trainer: Trainer, hidden: Batcher) -> None:
        self.trainer = trainer
        self.hidden = hidden
        self.interval = max(1, trainer.steps_per_epoch // N_PROBES)
        self.n_steps = 0
        self.way = [np.log(LOW)]

    def after_step(self) -> None:
        """Ask the held-out pairs, if it is time."""
        self.n_steps += 1
        if self.n_steps % self.interval:
            return
        gains = _would_gain_by_shrinking(self.trainer.loss, self.hidden)
        step = STEP if gains else -STEP
        self.way.append(np.clip(self.way[-1] + step, np.log(LOW), np.log(HIGH)))
        n_examples = len(self.trainer.batcher.examples)
        self.trainer.set_id_decay(float(np.exp(self.way[-1])) / n_examples)


def _would_gain_by_shrinking(loss: LossOfBatch, hidden: Batcher) -> bool:
    """Whether the likelihood of hidden pairs grows if the embeddings shrink.

    Longer vectors suit a training that is not at its end, whatever they consist of. So
    what a change of all lengths would bring is left out.
    """
    embedding = loss.network.item_embedding
    rows = torch.randperm(len(hidden.examples))[:PROBE_SIZE].numpy()
    batch = hidden.batch(rows).to(embedding.device)
    loss.eval()
    (gradient,) = torch.autograd.grad(loss(batch), [embedding])
    with torch.no_grad():
        gradient, own = gradient[batch.needed], embedding[batch.needed]
        vectors = loss.own_vectors(batch.needed)[0]
        share = (own * vectors).sum() / vectors.square().sum().clamp(min=1e-12)
        gain = gradient * (own - share * vectors)
    loss.train()
    return mean_over_processes(float(gain.sum())) > 0
