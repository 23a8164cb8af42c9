"""What must hold of the arrays of a saved model, given its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from skmmrec.interactions import History
from skmmrec.recommender.training import NetworkDesign

Tensors: TypeAlias = Mapping[str, NDArray]
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Array:
    """What an array must be.

    Attributes
    ----------
    dtype : type
        Of its numbers, which must be finite.
    shape : tuple of int
        Its shape.
    below : int or None
        If given, they are positions: from 0 to below this.
    any_number : bool
        Whether they need not be finite.
    """

    dtype: Any
    shape: Shape
    below: int | None = None
    any_number: bool = False

    def check(self, name: str, array: NDArray) -> None:
        """Refuse another array.

        Raises
        ------
        ValueError
            It names the array.
        """
        if array.dtype != self.dtype or array.shape != self.shape:
            raise ValueError(
                f"{name} must be of type {np.dtype(self.dtype)} and shape "
                f"{self.shape}, got {array.dtype} and {array.shape}"
            )
        if array.dtype.kind == "f" and not self.any_number:
            refuse_infinite(name, array)
        if array.dtype == bool and (array.view(np.uint8) > 1).any():
            raise ValueError(f"{name} has what is neither true nor false")
        if self.below is not None:
            _refuse_outside(name, array, self.below)


def refuse_infinite(name: str, array: NDArray) -> None:
    """Refuse NaN and infinity.

    The ValueError names the array, and the first place.
    """
    finite = np.isfinite(array)
    if not finite.all():
        place = [int(i) for i in np.argwhere(~finite)[0]]
        raise ValueError(f"{name} must be finite, but is {array[*place]} at {place}")


def _refuse_outside(name: str, positions: NDArray, size: int) -> None:
    outside = (positions < 0) | (positions >= size)
    if outside.any():
        odd = positions[outside][0]
        raise ValueError(f"{name} has the position {odd}, but there are {size} items")


def check_arrays(record: Mapping[str, Any], tensors: Tensors) -> None:
    """Refuse arrays that do not fit a record, those of networks not yet.

    `check_record` lets the record pass. A ValueError names the array.
    """
    _check_n_networks(record, tensors)
    expected = dict(_expected(record, tensors))
    for name, like in expected.items():
        like.check(name, _find(tensors, name))
    for name, array in tensors.items():
        if name.startswith("fuser.") and record["fuser"] is not None:
            refuse_infinite(name, array)
        elif name not in expected and not name.startswith("network."):
            raise ValueError(f"{name} is not known")
    _check_missing("items", record["modality_names"], tensors)
    _check_missing("users", record["user_modality_names"] or [], tensors)
    _check_answers(record["tasks"], tensors)
    _check_histories(record, tensors)
    if record["memory"] is not None:
        _check_memory(tensors["memory.neighbors"], tensors["memory.weights"])


def _find(tensors: Tensors, name: str) -> NDArray:
    if name not in tensors:
        raise ValueError(f"{name} is missing")
    return tensors[name]


def _length(tensors: Tensors, name: str) -> int:
    """Size of an array that may have any."""
    array = _find(tensors, name)
    return len(array) if array.ndim else 0


def _check_n_networks(record: Mapping[str, Any], tensors: Tensors) -> None:
    there = {name.split(".")[1] for name in tensors if name.startswith("network.")}
    n = record["n_networks"]
    if len(there) != n or there != {str(number) for number in range(n)}:
        raise ValueError(
            f"n_networks is {n}, but there are arrays of the networks {sorted(there)}"
        )


# -- which arrays there are ----------------------------------------------------------


def _expected(
    record: Mapping[str, Any], tensors: Tensors
) -> Iterator[tuple[str, Array]]:
    """Names and kinds of all arrays but most of those of networks and of a fuser."""
    names, n_items = record["modality_names"], len(record["items"]["ids"])
    known = [*names, *record["muted_modalities"]]
    yield from _content("items", n_items, names, known, record["numbers"], tensors)
    yield "items.met", Array(bool, (n_items,))
    users, n_users = record["user_modality_names"], len(record["users"]["ids"])
    if users is not None:
        numbers = record["user_numbers"]
        yield from _content("users", n_users, users, users, numbers, tensors)
    widths = [_width("items", name, tensors) for name in names]
    dim = record["design"]["n_factors"] or max(1, sum(widths))
    yield from _of_networks(record, n_items, n_users, dim)
    n_pairs = _length(tensors, "seen_.items")
    yield from _pairs("seen_", n_users, n_items, n_pairs)
    yield from _seen_values(record["tasks"], n_pairs, tensors)
    n_liked = _length(tensors, "history_.items")
    yield from _pairs("history_", n_users, n_items, n_liked)
    if not record["tasks"][0]["sampled"]:
        yield "history_.values", Array(np.float32, (n_liked,))
    if record["memory"] is not None:
        yield from _memory(n_items, tensors)
    if record["propagation"]:
        shape = (n_items, record["n_neighbors"] * (1 + len(names)))
        yield "graph.items", Array(np.int64, shape, below=n_items)
        yield "graph.weights", Array(np.float32, shape)
    if "expectation.mask" in tensors:
        sizes = record["n_networks"] * dim, len(record["tasks"])
        by_name = dict(zip(names, widths, strict=True))
        yield from _expectation(by_name, sizes, tensors)


def _memory(n_items: int, tensors: Tensors) -> Iterator[tuple[str, Array]]:
    """Expect lists of all items, of any length."""
    width = _find(tensors, "memory.neighbors").shape[-1]
    yield "memory.neighbors", Array(np.int32, (n_items, width))
    yield "memory.weights", Array(np.float32, (n_items, width))


def _content(
    prefix: str,
    n: int,
    names: list[str],
    known: list[str],
    numbers: Mapping[str, Any],
    tensors: Tensors,
) -> Iterator[tuple[str, Array]]:
    """Content of `n` items or users, and the space that it is in."""
    yield f"{prefix}.mask", Array(bool, (n, len(names)))
    for name in known:
        width = _length(tensors, f"{prefix}.mean.{name}")
        if name in numbers:
            width = len(numbers[name][0]) + 1
        yield f"{prefix}.mean.{name}", Array(np.float32, (width,))
        axes = f"{prefix}.axes.{name}"
        if axes in tensors:
            yield axes, Array(np.float32, (_length(tensors, axes), width))
    for name in names:
        width = _width(prefix, name, tensors)
        yield f"{prefix}.content.{name}", Array(np.float32, (n, width))


def _width(prefix: str, name: str, tensors: Tensors) -> int:
    """Width of a modality in the space of the networks."""
    axes = f"{prefix}.axes.{name}"
    return _length(tensors, axes if axes in tensors else f"{prefix}.mean.{name}")


def _of_networks(
    record: Mapping[str, Any], n_items: int, n_users: int, dim: int
) -> Iterator[tuple[str, Array]]:
    """Arrays that tell the sizes of the networks, before these are made."""
    n_embedded = n_users if record["design"]["user_embedding"] else 0
    for number in range(record["n_networks"]):
        prefix = f"network.{number}."
        yield f"{prefix}item_embedding", Array(np.float32, (n_items, dim))
        yield f"{prefix}user_embedding", Array(np.float32, (n_embedded, dim))


def _pairs(
    name: str, n_users: int, n_items: int, n_pairs: int
) -> Iterator[tuple[str, Array]]:
    yield f"{name}.offsets", Array(np.int64, (n_users + 1,), below=n_pairs + 1)
    yield f"{name}.items", Array(np.int64, (n_pairs,), below=n_items)


def _seen_values(
    tasks: list[dict[str, Any]], n_pairs: int, tensors: Tensors
) -> Iterator[tuple[str, Array]]:
    """Weights and answers: without them, all pairs are likes of the same weight."""
    there, needed = tensors.get("seen_.values"), len(tasks) > 1
    needed |= not tasks[0]["sampled"]
    if there is None and not needed:
        return
    are_weights = not needed and there is not None and there.shape[1:] == (1,)
    n_columns = 1 if are_weights else 1 + len(tasks)
    yield "seen_.values", Array(np.float32, (n_pairs, n_columns), any_number=True)


def _expectation(
    widths: Mapping[str, int], sizes: tuple[int, int], tensors: Tensors
) -> Iterator[tuple[str, Array]]:
    """Arrays that tell of new items: vectors and biases, which are of these sizes."""
    n = _length(tensors, "expectation.mask")
    yield "expectation.mask", Array(bool, (n, len(widths)))
    for name, width in widths.items():
        yield f"expectation.content.{name}", Array(np.float32, (n, width))
    yield "expectation.coefficients", Array(np.float32, (n, sum(sizes)))
    yield "expectation.means", Array(np.float32, sizes[:1])
    yield "expectation.shares", Array(np.float32, (2, len(widths)))


# -- what they say together ----------------------------------------------------------


def _check_missing(prefix: str, names: list[str], tensors: Tensors) -> None:
    """Refuse content of a modality that is marked as missing."""
    for number, name in enumerate(names):
        missing = ~tensors[f"{prefix}.mask"][:, number]
        if tensors[f"{prefix}.content.{name}"][missing].any():
            raise ValueError(
                f"{prefix}.content.{name} has content where {prefix}.mask says that "
                "there is none"
            )


def _check_answers(tasks: list[dict[str, Any]], tensors: Tensors) -> None:
    """Refuse weights, and answers to be predicted, that no fit accepts.

    Of several tasks some may have no answer, which is NaN.
    """
    if "seen_.values" not in tensors:
        return
    values = tensors["seen_.values"]
    refuse_infinite("seen_.values", values[:, :1])
    if (values[:, 0] < 0).any():
        raise ValueError("seen_.values has a weight below 0")
    for task, answers in zip(tasks, values.T[1:], strict=False):
        if len(tasks) == 1 and np.isnan(answers).any():
            raise ValueError("seen_.values has NaN as an answer to the only task")
        if not task["sampled"] and np.isinf(answers).any():
            raise ValueError("seen_.values has infinity as an answer to be predicted")


def _check_memory(neighbors: NDArray, weights: NDArray) -> None:
    """Refuse lists with gaps, with an item twice, or with weights of no item."""
    _refuse_outside("memory.neighbors", neighbors + 1, len(neighbors) + 1)
    there = neighbors >= 0
    if (there[:, 1:] & ~there[:, :-1]).any():
        raise ValueError("memory.neighbors has an item after the end of a list")
    if weights[~there].any():
        raise ValueError("memory.weights has a weight where there is no item")
    ordered = np.sort(neighbors, axis=1)
    if ((np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] >= 0)).any():
        raise ValueError("memory.neighbors has an item twice in one list")


def _check_histories(record: Mapping[str, Any], tensors: Tensors) -> None:
    """Refuse pairs that come twice, and histories that are no part of what was seen."""
    seen, history = (
        _history(name, len(record["items"]["ids"]), tensors)
        for name in ("seen_", "history_")
    )
    pairs = seen.to_csr(np.int8).sorted_indices()  # a copy: these are the histories
    if not pairs.has_canonical_format:
        raise ValueError("seen_.items has an item twice for one user")
    if not _is_part(history, seen):
        raise ValueError("history_.items is no part of seen_.items in the same order")


def _history(name: str, n_items: int, tensors: Tensors) -> History:
    offsets, items = tensors[f"{name}.offsets"], tensors[f"{name}.items"]
    if offsets[0] != 0 or offsets[-1] != len(items) or (np.diff(offsets) < 0).any():
        raise ValueError(
            f"{name}.offsets must rise from 0 to {len(items)}, the number of pairs"
        )
    return History(offsets, items, n_items)


def _is_part(history: History, seen: History) -> bool:
    """Tell whether a history is what was seen less some pairs."""
    if len(history.items) == 0:
        return True
    if len(history.items) < len(seen.items):
        seen = seen.where(history.holds(seen.users, seen.items))
    return np.array_equal(history.offsets, seen.offsets) and np.array_equal(
        history.items, seen.items
    )


# -- networks ------------------------------------------------------------------------


def check_tower(design: NetworkDesign, tensors: Tensors) -> None:
    """Refuse a tower of other sizes than the arrays, before memory is taken for it.

    The ValueError names the array.
    """
    if design.tower is None:
        return
    dim = tensors["network.0.item_embedding"].shape[1]
    with torch.device("meta"):
        state = design.tower.build(dim).state_dict()
    for name, value in state.items():
        there = _find(tensors, f"network.0.tower.{name}")
        if there.shape != tuple(value.shape):
            raise ValueError(
                f"network.0.tower.{name} must be of shape {tuple(value.shape)}, as "
                f"{design.tower!r} says, got {there.shape}"
            )


def check_network(prefix: str, network: nn.Module, tensors: Tensors) -> None:
    """Refuse arrays that are not those of a network.

    The ValueError names the array.
    """
    state, learned = network.state_dict(), dict(network.named_parameters())
    for name, value in state.items():
        like = np.ascontiguousarray(value.numpy())
        # A fusion of the user's own may keep infinity in what it does not learn.
        array = Array(like.dtype, like.shape, any_number=name not in learned)
        array.check(prefix + name, _find(tensors, prefix + name))
    for name in tensors:
        if name.startswith(prefix) and name.removeprefix(prefix) not in state:
            raise ValueError(f"{name} is not known")
