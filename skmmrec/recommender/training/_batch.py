"""What one training step learns from."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from skmmrec.recommender.network import Past, Targets


class TaskRows(NamedTuple):
    """The pairs of a batch that a task learns from.

    Attributes
    ----------
    rows : tensor of shape (n,), int64, or None
        Which of the pairs; None: all.
    weights : tensor of shape (n,)
        Weights of these pairs, adding up to 1.
    """

    rows: Tensor | None
    weights: Tensor

    def of(self, values: Tensor) -> Tensor:
        """Select the rows of something that all pairs have."""
        return values if self.rows is None else values[self.rows]


class Reach(NamedTuple):
    """Items whose vectors are mixed into those of a batch.

    Attributes
    ----------
    items : tensor of shape (n,), int64
        The items of the batch and their neighbours, as positions in the catalogue.
    own : tensor of shape (n_needed,), int64
        Where the items of the batch are among these.
    near : tensor of shape (n_needed, k), int64
        Where their neighbours are.
    """

    items: Tensor
    own: Tensor
    near: Tensor


class Batch(NamedTuple):
    """One step's pairs, with items numbered by their place in `needed`.

    Attributes
    ----------
    needed : tensor of shape (n_needed,), int64
        Items that occur, as positions in the catalogue.
    past : Past
        Histories, or what is drawn from them, of the users that occur.
    users : tensor of shape (n_users,), int64
        These users, as positions.
    targets : Targets
        The pairs.
    negatives : tensor of shape (k,), int64
        Items that the positives are ranked against.
    scored, scored_items : tensor of shape (p + k,), int64
        Items of the pairs and, after these, the negatives: by their place in `needed`,
        and as positions in the catalogue.
    log_q : tensor of shape (p + k,)
        Log probability with which each of them is drawn as a negative.
    shares : tensor of shape (p + k, 1)
        Weights of the pairs and of the negatives, each adding up to 1. Those of the
        pairs do so in the mean of all processes that share the batch.
    excluded : tensor of shape (p, k), bool
        True where a drawn item is no negative for a pair: it is the pair's own or, if
        these are spared, another that the user likes.
    answers, weights : tensors of shape (p, n_tasks) and (p,)
        As in `Examples`.
    tasks : tuple of TaskRows
        What each task learns from.
    reach : Reach or None
        With a graph of items: what is mixed.
    n_users : tensor of shape (), int64, or None
        How many of the users there are, if others follow that only fill up the tensor;
        None: all.
    """

    needed: Tensor
    past: Past
    users: Tensor
    targets: Targets
    negatives: Tensor
    scored: Tensor
    scored_items: Tensor
    log_q: Tensor
    shares: Tensor
    excluded: Tensor
    answers: Tensor
    weights: Tensor
    tasks: tuple[TaskRows, ...]
    reach: Reach | None = None
    n_users: Tensor | None = None
