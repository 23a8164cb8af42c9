"""Whether all processes of a fit were given the same to learn from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skmmrec.catalog import Blocks
from skmmrec.recommender.network import FusionNetwork
from skmmrec.recommender.training._plan import Plan
from skmmrec.recommender.training._problem import Problem
from skmmrec.recommender.training._processes import from_all, world

# Machines round differently, by 1e-7 of a number. The content of one other item changes
# a sum over n by 1 / sqrt(n) of its size: over 10,000,000, by 3e-4.
TOLERANCE = 1e-4
# Items that are summed at a time: of 64 components in float64, 32 MB.
AT_ONCE = 2**16


def check_agreement(
    problem: Problem,
    plan: Plan,
    ids: Sequence[pd.Index | NDArray],
    networks: Sequence[FusionNetwork] = (),
) -> None:
    """Refuse processes that were given different things.

    They would train one network on what does not belong together, and nobody would
    notice. Numbers of content may differ by rounding, all else must be equal.

    `ids` are those of the items and of the users, or of the pairs that are new;
    `networks` are what is started from. The ValueError, in all processes, names the
    first that differs from process 0, and in what.
    """
    if world()[1] == 1:
        return
    everyone = from_all(dict(_facts(problem, plan, ids, networks)))
    for rank, theirs in enumerate(everyone):
        for name, fact in everyone[0].items():
            if not _agree(fact, theirs.get(name)):
                raise ValueError(
                    f"process {rank} of {len(everyone)} was given other {name} than "
                    "process 0: the processes of one fit need the same X, y, "
                    "sample_weight, catalogs and parameters, in the same order"
                )


def _agree(one: Any, other: Any) -> bool:
    if not isinstance(one, np.ndarray):
        return bool(one == other)
    # Rows: sums, and how large they are at most by chance.
    if other is None or one.shape != other.shape:
        return False
    return bool((np.abs(one[0] - other[0]) <= TOLERANCE * one[1] + 1e-30).all())


def _facts(
    problem: Problem,
    plan: Plan,
    ids: Sequence[pd.Index | NDArray],
    networks: Sequence[FusionNetwork],
) -> Iterator[tuple[str, Any]]:
    """Collect what must agree: hashes or, of numbers that were computed, sums."""
    yield "ids", [_hash(pd.util.hash_array(np.asarray(part))) for part in ids]
    seen, history = problem.seen, problem.history
    yield "interactions", _hash(seen.offsets, seen.items, history.offsets)
    if seen.values is not None:
        yield "answers or weights", _hash(seen.values)
    yield from _facts_of_content("content of items", problem.content)
    if problem.user_content is not None:
        yield from _facts_of_content("content of users", problem.user_content)
    yield "parameters", _parameters(problem, plan)
    learned = [p.detach().numpy() for network in networks for p in network.parameters()]
    yield "networks to start from", _hash(*learned)


def _facts_of_content(name: str, content: Blocks) -> Iterator[tuple[str, Any]]:
    mask = np.packbits(content.mask)
    yield name, (content.widths, len(content), _hash(mask))
    for modality, block in content.values.items():
        yield f"{name} in {modality!r}", _sums(block)


def _sums(block: NDArray) -> NDArray[np.float64]:
    """Add up columns; below, the roots of their sums of squares: (2, n_columns).

    Each row has a weight of its own, so that no two can change places.
    """
    sums = np.zeros((2, block.shape[1]))
    for start in range(0, len(block), AT_ONCE):
        part = block[start : start + AT_ONCE].astype(np.float64)
        sums[0] += np.cos(np.arange(start, start + len(part))) @ part
        sums[1] += np.square(part).sum(axis=0)
    sums[1] = np.sqrt(sums[1])
    return sums


def _hash(*arrays: NDArray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _parameters(problem: Problem, plan: Plan) -> str:
    """Write down what changes steps; seeds may differ, that of process 0 counts."""
    training = plan.training.get_params()
    for name in ("checkpoint_dir", "max_time"):
        training[name] = training[name] is None
    stopping = plan.early_stopping
    held_out = None if stopping is None else stopping.get_params()
    parts = [plan.design, plan.regularization.get_params(), held_out]
    parts += [plan.n_members, plan.cold_popularity, plan.memory]
    # What else tasks have is learned from the answers, with rounding.
    parts += [(task.objective, task.sampled) for task in problem.tasks]
    graph = None if problem.graph is None else problem.graph.items.shape
    return repr([training, *parts, problem.propagation, graph])
