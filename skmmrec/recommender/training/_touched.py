"""How many rows of a table one step touches, and what follows from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skmmrec.interactions import History
from skmmrec.recommender.training._batches import RUN, Batcher
from skmmrec.recommender.training._processes import world
from skmmrec.recommender.training._step import LossOfBatch

# `LazyAdam` is cheaper than an update of the whole table if at most one row in so many
# is touched: on one CPU it takes 1.2 microseconds for a touched row of 64 numbers, as
# it reads and writes each several times and in no order, against 0.18 for any row.
ROWS_PER_TOUCHED = 8
# Tables of fewer numbers are updated as a whole: that takes no longer than the small
# operations of a lazy update. A GPU updates 130 MB in a third of a millisecond, which
# the launches of those operations take as well.
LEAST = {"cpu": 2**20, "cuda": 2**25}


def choose_lazy(loss: LossOfBatch, batcher: Batcher, batch_size: int) -> frozenset[str]:
    """Tell whose tables are better updated row by row.

    Decided before training, from the expected number of rows that a batch touches.

    Returns those of "items" and "users" whose tables are large, and of which a batch of
    `batch_size` examples touches an eighth at most.
    """
    network = loss.network
    least = LEAST.get(network.item_bias.device.type)
    sizes = {
        "items": network.item_embedding.shape,
        "users": network.user_embedding.shape,
    }
    large = {n: s[0] for n, s in sizes.items() if least and s.numel() >= least}
    if not large:
        return frozenset()
    items, users = expect_touched(batcher, batch_size)
    if loss.neighbours is not None:
        items *= 1 + loss.neighbours.items.shape[1]
    touched = {"items": items, "users": users}
    return frozenset(
        name for name, n in large.items() if n >= ROWS_PER_TOUCHED * touched[name]
    )


def expect_touched(batcher: Batcher, batch_size: int) -> tuple[float, float]:
    """Estimate how many items and how many users occur in a batch.

    All processes together; each draws negatives of its own.
    """
    n_drawn = world()[1] * batcher.tables.negatives.number
    if batcher.tables.window is not None:
        events, n_users = _expect_read(batcher, batcher.tables.window, batch_size)
        return _expect_distinct(batcher.history, events + n_drawn), n_users
    history, examples = batcher.history, batcher.examples
    n_users = len(history.lengths)
    counts = np.bincount(examples.users, minlength=n_users)
    there = _share_drawn(counts / max(1, len(examples)), batch_size)
    lengths = np.minimum(history.lengths, batcher.tables.max_history or np.inf)
    events = float(there @ lengths) + batch_size + n_drawn
    return _expect_distinct(history, events), float(there.sum())


def _expect_read(batcher: Batcher, window: int, batch_size: int) -> tuple[float, float]:
    """Items that are read in their order, and users, where runs stay together.

    A history of n items is cut at random (n - 1) / RUN times; after each cut, a window
    of what came before is read again, of which there are n / 2 on the average.
    """
    lengths = batcher.history.lengths[batcher.history.lengths > 0]
    cuts, n_pairs = (lengths - 1) / RUN, max(1, int(lengths.sum()))
    again = cuts @ np.minimum(lengths / 2, window)
    n_users = batch_size * float((1 + cuts).sum()) / n_pairs
    return batch_size * float(1 + again / n_pairs), min(n_users, len(lengths))


def _expect_distinct(history: History, n_events: float) -> float:
    """Distinct items among draws by popularity."""
    shares = history.popularity / max(1, len(history.items))
    return float(_share_drawn(shares, n_events).sum())


def _share_drawn(shares: NDArray, n_draws: float) -> NDArray[np.float64]:
    """Probability that each of some things is drawn at least once."""
    return -np.expm1(n_draws * np.log1p(-np.minimum(shares, 1 - 1e-12)))
