"""Fitted models as a folder of safetensors and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from skmmrec import __version__
from skmmrec.fusion import get_fusion_names
from skmmrec.recommender._array_schema import check_arrays, check_network
from skmmrec.recommender._model import FittedModel
from skmmrec.recommender._model_records import (
    check_vectors,
    read_fuser_of,
    read_model,
    write_record,
    write_tensors,
)
from skmmrec.recommender._parameter_records import (
    NOT_SAVED,
    read_params,
    write_params,
)
from skmmrec.recommender._record_schema import ESTIMATOR, PICKLED, Check, check_record
from skmmrec.recommender._saved_folder import (
    ADVICE,
    FORMAT,
    read_folder,
    write_folder,
)
from skmmrec.runtime import survive_fork

if TYPE_CHECKING:
    from skmmrec.llm import SoftTokenFuser


def save(model: FittedModel, path: Path, extra: Mapping[str, Any], card: str) -> None:
    """Write a model as a folder, as `write_folder` does.

    An earlier model there is replaced as a whole. `extra` is what the record says
    besides the model, in terms of JSON, and `card` is Markdown for people to read. A
    ValueError says that `load` would refuse the model.
    """
    record, tensors = {**write_record(model), **extra}, write_tensors(model)
    try:
        _check(json.loads(json.dumps(record)), tensors, ESTIMATOR)
        for number, network in enumerate(model.networks):
            check_network(f"network.{number}.", network, tensors)
        check_vectors(model)
    except ValueError as error:
        raise ValueError(f"the model cannot be saved: {error}") from error
    write_folder(path, record, tensors, card)


def load(path: Path, estimator: str) -> tuple[FittedModel, dict[str, Any]]:
    """Read what `save` wrote.

    Parameters
    ----------
    path : Path
        The folder.
    estimator : str
        Name of the class that asks.

    Returns
    -------
    model : FittedModel
        On the CPU.
    record : dict
        With the parameters of the estimator as ``"params"``, in terms of JSON.

    Raises
    ------
    FileNotFoundError
        Where there is no model.
    ValueError
        Where the files are damaged, do not belong together, say what cannot be, or are
        of another class or of another format.
    """
    record, tensors = read_folder(path)
    if record.get("estimator") != estimator:
        raise ValueError(
            f"{path} holds a {record.get('estimator')}, which is loaded by its own "
            f"class, not by {estimator}"
        )
    survive_fork()
    return _checked_model(record, tensors, ESTIMATOR, partial(naming, path)), record


def naming(path: Path) -> AbstractContextManager[None]:
    """Say of an error that the model in a folder is damaged, and what to do."""
    return _damaged(f"the model in {path}", ADVICE)


@contextmanager
def _damaged(what: str, advice: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what} is damaged: {error}. {advice}") from error
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        RuntimeError,
        OSError,
    ) as error:
        raise ValueError(f"{what} is damaged: {error!r}. {advice}") from error


def _check(
    record: dict[str, Any],
    tensors: Mapping[str, NDArray],
    others: Mapping[str, Check],
) -> None:
    """Refuse what no fitted model can be."""
    check_record(record, others)
    check_arrays(record, tensors)
    _check_fuser(read_fuser_of(record, tensors), tensors)


def _check_fuser(fuser: SoftTokenFuser | None, tensors: Mapping[str, NDArray]) -> None:
    """Refuse a fuser that makes other vectors than the model was fitted with."""
    if fuser is None:
        return
    means = {n: len(v) for n, v in tensors.items() if n.startswith("items.mean.")}
    if [*means.values()] != [fuser.embedding_dim_]:
        raise ValueError(
            f"fuser.fitted.embedding_dim_ is {fuser.embedding_dim_}, but the content "
            f"has {means}"
        )


def write_state(model: FittedModel | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """Write a model and parameters as a text and arrays, for formats without pickle.

    The model is None where there is no fit, and parameters of `NOT_SAVED` are left out.
    Returns a text of JSON, ``"record"``, and a dict of arrays, ``"tensors"``.
    """
    record = {} if model is None else write_record(model)
    record["params"] = write_params(params)
    tensors = {} if model is None else write_tensors(model)
    return {"record": json.dumps(record), "tensors": tensors}


def read_state(
    state: Mapping[str, Any], names: set[str]
) -> tuple[FittedModel | None, dict[str, Any]]:
    """Read what `write_state` wrote.

    Returns the model, on the CPU, and the parameters of the estimator, whose names are
    `names`. A ValueError says that there can be no such model.
    """
    record, tensors, model = json.loads(state["record"]), state["tensors"], None
    if "format" in record:
        if record["format"] != FORMAT:
            raise ValueError(
                f"the pickled model is of format {record['format']!r} and was made by "
                f"skmmrec {record.get('skmmrec')}; this is {__version__}. Fit it again"
            )
        damaged = partial(_damaged, "the pickled model", "Fit it again")
        model = _checked_model(record, tensors, PICKLED, damaged)
    fuser = None if model is None else model.fuser
    left_out = dict.fromkeys(names.intersection(NOT_SAVED))
    return model, {**left_out, **read_params(record["params"], fuser, names)}


def _checked_model(
    record: dict[str, Any],
    tensors: dict[str, NDArray],
    others: Mapping[str, Check],
    damaged: Callable[[], AbstractContextManager[None]],
) -> FittedModel:
    """Read a model; an error says what is damaged, unless a fusion is not known."""
    with damaged():
        _check(record, tensors, others)
    _check_fusion(record)
    with damaged():
        return read_model(record, tensors)


def _check_fusion(record: dict[str, Any]) -> None:
    """Refuse a fusion whose class is not registered here."""
    fusion = record["design"]["fusion"]
    if fusion not in get_fusion_names():
        raise ValueError(
            f"the model was fitted with fusion={fusion!r}, which is not known here: "
            "give its class to skmmrec.fusion.register_fusion first"
        )
