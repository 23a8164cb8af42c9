"""Fitted models in terms of JSON and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from skmmrec import __version__
from skmmrec.catalog import Blocks, NumberSpace
from skmmrec.interactions import History, InteractionData, Keys, plain
from skmmrec.recommender._array_schema import (
    check_network,
    check_tower,
    refuse_infinite,
)
from skmmrec.recommender._choices import Choices
from skmmrec.recommender._content_space import ContentSpace
from skmmrec.recommender._facts import Facts
from skmmrec.recommender._forgotten import Forgotten
from skmmrec.recommender._model import FittedModel
from skmmrec.recommender._parameter_records import (
    read_index,
    read_settings,
    write_fusion,
    write_index,
    write_settings,
)
from skmmrec.recommender._saved_folder import FORMAT
from skmmrec.recommender._user_towers import get_tower
from skmmrec.recommender.cold_start import Expectation
from skmmrec.recommender.memory import ItemMemory
from skmmrec.recommender.network import FusionNetwork, ItemGraph, Task
from skmmrec.recommender.training import NetworkDesign
from skmmrec.runtime import Generators, own_modes

if TYPE_CHECKING:
    from skmmrec.llm import SoftTokenFuser


def write_tensors(model: FittedModel) -> dict[str, NDArray]:
    """Write the arrays of a model, by name."""
    tensors: dict[str, NDArray] = {}
    for number, network in enumerate(model.networks):
        for name, value in network.state_dict().items():
            tensors[f"network.{number}.{name}"] = value.numpy()
    for name, history in (("history_", model.data.history), ("seen_", model.data.seen)):
        tensors[f"{name}.offsets"] = history.offsets
        tensors[f"{name}.items"] = history.items
        if history.values is not None:
            tensors[f"{name}.values"] = history.values
    tensors |= _content_tensors("items", model.content, model.space)
    if model.user_content is not None and model.user_space is not None:
        tensors |= _content_tensors("users", model.user_content, model.user_space)
    tensors |= _fuser_weights(model.fuser) | _expectation_tensors(model.expectation)
    tensors["items.met"] = model.met
    if model.memory is not None:
        tensors["memory.neighbors"] = model.memory.neighbors
        tensors["memory.weights"] = model.memory.weights
    if model.graph is not None:
        tensors["graph.items"] = model.graph.items
        tensors["graph.weights"] = model.graph.weights
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def write_record(model: FittedModel) -> dict[str, Any]:
    """Write what is left of a model, in terms of JSON."""
    users = model.user_content
    return {
        "format": FORMAT,
        "skmmrec": __version__,
        "version": model.fingerprint(),
        "flat": model.is_flat,
        "keys": asdict(model.keys),
        "design": _write_design(model.design),
        "modality_names": model.content.modalities,
        "muted_modalities": list(model.space.muted),
        "user_modality_names": None if users is None else users.modalities,
        "numbers": model.space.numbers.to_record(),
        "user_numbers": _numbers_of_users(model),
        "fuser": _fuser_record(model.fuser),
        "n_networks": len(model.networks),
        "half_life": plain(model.half_life),
        "memory": _write_memory(model.memory),
        "id_l2": plain(model.id_l2),
        "cold_popularity": plain(model.cold_popularity),
        "propagation": plain(model.propagation),
        "n_neighbors": plain(model.n_neighbors),
        "tasks": [asdict(task) for task in model.tasks],
        "items": write_index(model.data.items),
        "users": write_index(model.data.users),
        "loss_curve": model.loss_curve,
        "validation_curve": model.validation_curve,
        "forgotten": list(model.forgotten.hashes),
        "facts": asdict(model.facts),
        "choices": model.choices.to_record(),
    }


@own_modes()
def read_model(record: dict[str, Any], tensors: dict[str, NDArray]) -> FittedModel:
    """Read a model whose record and arrays were checked, onto the CPU.

    A ValueError says that its vectors are infinite.
    """
    names, users = record["modality_names"], record["user_modality_names"]
    muted = record["muted_modalities"]
    numbers, user_numbers = record["numbers"], record["user_numbers"]
    content, space = _read_content("items", names, muted, numbers, tensors)
    user_content, user_space = None, None
    if users is not None:
        user_content, user_space = _read_content(
            "users", users, [], user_numbers, tensors
        )
    graph = None
    if "graph.items" in tensors:
        graph = ItemGraph(tensors["graph.items"], tensors["graph.weights"])
    model = FittedModel(
        data=_read_data(record, tensors),
        tasks=[Task(**task) for task in record["tasks"]],
        design=_read_design(record["design"]),
        networks=[],
        content=content,
        space=space,
        met=tensors["items.met"],
        is_flat=record["flat"],
        cold_popularity=record["cold_popularity"],
        keys=Keys(*(tuple(record["keys"][kind]) for kind in ("user", "item"))),
        user_content=user_content,
        user_space=user_space,
        fuser=read_fuser_of(record, tensors),
        expectation=_read_expectation(names, tensors),
        graph=graph,
        propagation=record["propagation"],
        n_neighbors=record["n_neighbors"],
        half_life=record["half_life"],
        memory=_read_memory(record, tensors),
        id_l2=record["id_l2"],
        loss_curve=record["loss_curve"],
        validation_curve=record["validation_curve"],
        forgotten=Forgotten(tuple(record["forgotten"])),
        facts=Facts(**record["facts"]),
        choices=Choices.from_record(record["choices"]),
    )
    check_tower(model.design, tensors)
    problem = model.problem()
    with Generators(0).lent():
        model.networks = [
            _network_in(f"network.{number}.", model.design.make(problem), tensors)
            for number in range(record["n_networks"])
        ]
    with np.errstate(over="ignore", invalid="ignore"):
        model.update_items()
        model.update_users()
    check_vectors(model)
    model.saved_as(record["version"])
    return model


def _read_memory(
    record: dict[str, Any], tensors: dict[str, NDArray]
) -> ItemMemory | None:
    if record["memory"] is None:
        return None
    neighbors, weights = tensors["memory.neighbors"], tensors["memory.weights"]
    return ItemMemory(neighbors, weights, **record["memory"])


def _write_memory(memory: ItemMemory | None) -> dict[str, Any] | None:
    if memory is None:
        return None
    return {name: plain(getattr(memory, name)) for name in ("exponent", "half_life")}


def _read_data(record: dict[str, Any], tensors: dict[str, NDArray]) -> InteractionData:
    items, users = read_index(record["items"]), read_index(record["users"])
    seen, history = (
        History(
            tensors[f"{name}.offsets"],
            tensors[f"{name}.items"],
            len(items),
            tensors.get(f"{name}.values"),
        )
        for name in ("seen_", "history_")
    )
    return InteractionData(users, items, seen, history)


def _fuser_record(fuser: SoftTokenFuser | None) -> dict[str, Any] | None:
    if fuser is None:
        return None
    from skmmrec.llm import write_fuser

    return write_fuser(fuser)


def _fuser_weights(fuser: SoftTokenFuser | None) -> dict[str, NDArray]:
    if fuser is None:
        return {}
    from skmmrec.llm import write_fuser_weights

    return write_fuser_weights(fuser)


def read_fuser_of(
    record: dict[str, Any], tensors: Mapping[str, NDArray]
) -> SoftTokenFuser | None:
    """Read what fuses content before it enters the networks, if anything does."""
    if record["fuser"] is None:
        return None
    from skmmrec.llm import read_fuser

    return read_fuser(record["fuser"], tensors)


def _write_design(design: NetworkDesign) -> dict[str, Any]:
    tower = design.tower
    return {
        "fusion": write_fusion(design.fusion),
        "tower": None if tower is None else write_settings(tower),
        "n_factors": plain(design.n_factors),
        "user_embedding": design.user_embedding,
    }


def _read_design(record: dict[str, Any]) -> NetworkDesign:
    tower = None if record["tower"] is None else read_settings(record["tower"])
    return NetworkDesign(
        record["fusion"],
        None if tower is None else get_tower(tower),
        record["n_factors"],
        record["user_embedding"],
    )


def _content_tensors(
    prefix: str, content: Blocks, space: ContentSpace
) -> dict[str, NDArray]:
    tensors: dict[str, NDArray] = {f"{prefix}.mask": content.mask}
    for name, block in content.values.items():
        tensors[f"{prefix}.content.{name}"] = block
    for name, mean in space.means.items():
        tensors[f"{prefix}.mean.{name}"] = mean
    for name, axes in space.axes.items():
        tensors[f"{prefix}.axes.{name}"] = axes
    return tensors


def _numbers_of_users(model: FittedModel) -> dict[str, Any]:
    return {} if model.user_space is None else model.user_space.numbers.to_record()


def _read_content(
    prefix: str,
    names: list[str],
    muted: list[str],
    numbers: dict[str, Any],
    tensors: dict[str, NDArray],
) -> tuple[Blocks, ContentSpace]:
    values = {name: tensors[f"{prefix}.content.{name}"] for name in names}
    means = {name: tensors[f"{prefix}.mean.{name}"] for name in [*names, *muted]}
    axes = {
        name: tensors[f"{prefix}.axes.{name}"]
        for name in means
        if f"{prefix}.axes.{name}" in tensors
    }
    space = ContentSpace(means, axes, tuple(muted), NumberSpace.from_record(numbers))
    return Blocks(values, tensors[f"{prefix}.mask"]), space


def _expectation_tensors(expectation: Expectation | None) -> dict[str, NDArray]:
    if expectation is None:
        return {}
    landmarks = {
        f"expectation.content.{name}": block
        for name, block in expectation.landmarks.values.items()
    }
    return landmarks | {
        "expectation.mask": expectation.landmarks.mask,
        "expectation.coefficients": expectation.coefficients,
        "expectation.means": expectation.means,
        "expectation.shares": expectation.shares,
    }


def _read_expectation(
    names: list[str], tensors: dict[str, NDArray]
) -> Expectation | None:
    if "expectation.mask" not in tensors:
        return None
    values = {name: tensors[f"expectation.content.{name}"] for name in names}
    return Expectation(
        Blocks(values, tensors["expectation.mask"]),
        tensors["expectation.coefficients"],
        tensors["expectation.means"],
        tensors["expectation.shares"],
    )


def _network_in(
    prefix: str, network: FusionNetwork, tensors: dict[str, NDArray]
) -> FusionNetwork:
    check_network(prefix, network, tensors)
    network.load_state_dict(
        {
            name.removeprefix(prefix): torch.from_numpy(value.copy())
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
    )
    return network


def check_vectors(model: FittedModel) -> None:
    """Refuse vectors that are infinite, though what they are made of is not."""
    for name in ("item_vectors", "item_biases", "user_vectors"):
        refuse_infinite(name, getattr(model, name))
