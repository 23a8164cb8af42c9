"""How far to trust the embeddings of single items."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray

from skmmrec.recommender._choices import Choice
from skmmrec.recommender.training._batches import Batcher
from skmmrec.recommender.training._dropout import Noise
from skmmrec.recommender.training._loop import Trainer
from skmmrec.recommender.training._paired_errors import errors_behind, standard_error
from skmmrec.recommender.training._processes import mean_over_processes
from skmmrec.runtime import progress

# Precisions: the least (2 was no better on validation rows), from where on the result
# is trusted, and the most (60 loses 15 % on random films). The latter two were chosen
# on validation rows of generated catalogues (benchmarks/README.md).
LOW, CLEAR, HIGH = 1.0, 8.0, 30.0
# 30 steps by a factor of exp(0.25) lead from LOW to HIGH in half of an epoch; a probe
# of 2,048 pairs tells the sign of a gradient, at the price of a step or two.
N_PROBES, PROBE_SIZE, STEP = 30, 2048, 0.25
# Length of the lists and number of users that have the last word. Most users have one
# like held out, which is seldom among the first 20 of so short a training: 100 tell the
# same with less noise, and so do 2,000 users, where the memory's trial asks 1,000.
LENGTH, MAX_JUDGED = 100, 2000
# By how many standard errors lists may be worse before the precision is trusted less,
# and from where on it is given up. Where embeddings should be free, lists are 1.6 to
# 4.7 worse, elsewhere 1.3 at most (benchmarks/README.md).
TRUSTED, GIVEN_UP = 1.0, 2.0


def learn_precision(
    trainer: Trainer,
    hidden: Batcher,
    n_epochs: int,
    before_last: Callable[[], None] = lambda: None,
) -> Choice:
    """Learn the precision of the embeddings' normal prior from held-out pairs.

    The likelihood of the training pairs always asks for larger embeddings. So pairs are
    held out of a short training. In its last epoch they are asked at intervals whether
    their likelihood would grow if all embeddings shrank and content made up for the
    length that the vectors lose. If so, the precision goes up by a step, otherwise it
    goes down. The result is the geometric mean of the second half of these steps if
    that is clearly above the lowest precision, and the lowest precision if not.

    The trainer trains a copy of the network, which is thrown away; `hidden` makes
    batches of what is held out. `before_last` is called before the last epoch, until
    which the precision is the lowest. The figure of the choice is the mean that the
    trial came to.

    References
    ----------
    Y. Chen et al., "λOpt: learn to regularize recommender models in finer levels", KDD
    2019 (regularization that follows the gradient of a held-out loss); D. MacKay,
    "Bayesian interpolation", Neural Computation 4(3), 1992 (learned prior precisions).
    """
    search = _Search(trainer, hidden)
    with closing(trainer.run()) as epochs:
        for number in progress(range(n_epochs), "choose id_l2", unit="epoch"):
            if number == n_epochs - 1:
                before_last()
                trainer.after_step = search.after_step
            next(epochs)
    # It holds the trainer, whose tables would lie in memory for as long.
    trainer.after_step = None
    mean = float(np.exp(np.mean(search.way[len(search.way) // 2 :])))
    figures = {"the trial's": mean, "trusted from": CLEAR}
    if mean >= CLEAR:
        reason = "pairs held out of a trial are more likely with shorter embeddings"
        return Choice(min(mean, HIGH), reason, figures)
    reason = "pairs held out of a trial do not clearly ask for shorter embeddings"
    return Choice(LOW, reason, figures)


def confirm_precision(
    chosen: Choice, without: NDArray[np.float64], ndcg: NDArray[np.float64]
) -> Choice:
    """Trust a precision above the lowest less if held-out likes are ranked worse.

    A likelihood suffers from scores that are too sure, though their order may be the
    best that there is. With few interactions it asks for short embeddings even where
    content says little, and lists are much worse for them. Where lists are alike the
    likelihood is believed: it tells earlier that embeddings are learned by heart.

    Parameters
    ----------
    chosen : Choice
        What likelihood asks for.
    without, ndcg : ndarray of shape (n_users,)
        NDCG of users by a network of the lowest precision, and by one of that.

    Returns
    -------
    Choice
        What is asked for where lists are worse by one standard error at most, the
        lowest precision from two on, and between them what lies between by logarithms.
    """
    figures = {
        **chosen.figures,
        f"ndcg@{LENGTH} without": float(without.mean()),
        "with": float(ndcg.mean()),
        "standard error": standard_error(ndcg - without),
    }
    left = GIVEN_UP - errors_behind(without, ndcg)
    trust = float(np.clip(left / (GIVEN_UP - TRUSTED), 0, 1))
    if trust == 1:
        return Choice(chosen.value, f"{chosen.reason}, and ranked no worse", figures)
    value = LOW * (chosen.value / LOW) ** trust
    how = "but ranked worse" if trust == 0 else "but ranked somewhat worse"
    return Choice(value, f"{chosen.reason}, {how}", figures)


class _Search:
    def __init__(self, trainer: Trainer, hidden: Batcher) -> None:
        self.trainer = trainer
        self.hidden = hidden
        self.interval = max(1, trainer.steps_per_epoch // N_PROBES)
        self.n_steps = 0
        self.way = [np.log(LOW)]

    def after_step(self) -> None:
        """Ask the held-out pairs at intervals."""
        self.n_steps += 1
        if self.n_steps % self.interval:
            return
        gains = _would_gain_by_shrinking(self.trainer, self.hidden)
        step = STEP if gains else -STEP
        self.way.append(np.clip(self.way[-1] + step, np.log(LOW), np.log(HIGH)))
        n_examples = len(self.trainer.batcher.examples)
        self.trainer.optimizer.set_id_decay(float(np.exp(self.way[-1])) / n_examples)


def _would_gain_by_shrinking(trainer: Trainer, hidden: Batcher) -> bool:
    """Whether the likelihood of hidden pairs grows if the embeddings shrink.

    Early in training, longer vectors are better whatever they consist of. So the effect
    of the vectors' length is left out.
    """
    loss = trainer.loss
    chosen = torch.randperm(
        len(hidden.examples), generator=hidden.generator, device=hidden.home
    )
    batch = hidden.batch(chosen[:PROBE_SIZE])
    rows = trainer.rows(batch)
    loss.eval()
    value = loss(batch, rows=rows)
    (gradient,) = torch.autograd.grad(value, [rows.items])
    with torch.no_grad():
        vectors, gradient, own = (
            values if batch.reach is None else values[batch.reach.own]
            for values in (
                loss.own_vectors(rows.at, rows.items, Noise())[0],
                gradient,
                rows.items,
            )
        )
        share = (own * vectors).sum() / vectors.square().sum().clamp(min=1e-12)
        gain = gradient * (own - share * vectors)
    loss.train()
    return mean_over_processes(float(gain.sum())) > 0
