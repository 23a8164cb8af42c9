"""Which encoder made each modality of a catalogue, and of which columns."""

from __future__ import annotations

from typing import Any

from sklearn.pipeline import Pipeline

from skmmrec.catalog._catalog import ItemCatalog
from skmmrec.catalog._readers import steps_of
from skmmrec.encoders import BaseEncoder, origins_of


def modality_origins(catalog: ItemCatalog) -> dict[str, dict[str, Any]]:
    """Describe how each modality of a catalogue came about, once it is encoded.

    Returns
    -------
    dict of str to dict
        By modality, in terms of JSON: ``columns`` (names of raw columns, where they
        are known), ``steps`` (class names of the transformers) and ``models`` (as
        `skmmrec.encoders.origins_of` describes them). Without an encoder, all are
        empty. Nothing is encoded for this.
    """
    if catalog._encoded is None:
        return {}
    modalities = catalog._encoded.modalities
    fitted = catalog._fitted
    if fitted is None:
        return {name: _origin([], []) for name in modalities}
    whole = fitted.encoder
    if fitted.outputs is None:
        columns = list(map(str, catalog.content_columns))
        return {name: _origin(columns, [whole]) for name in modalities}
    before = whole.steps[:-1] if isinstance(whole, Pipeline) else []
    origins = {}
    for name in modalities:
        own = fitted.outputs_of(name)
        columns = [str(column) for output in own for column in output.columns]
        parts = [step for _, step in before] + [output.transformer for output in own]
        origins[name] = _origin(list(dict.fromkeys(columns)), parts)
    return origins


def _origin(columns: list[str], parts: list[Any]) -> dict[str, Any]:
    steps = [step for part in parts for step in steps_of(part)]
    encoders = [step for step in steps if isinstance(step, BaseEncoder)]
    names = [step if isinstance(step, str) else type(step).__name__ for step in steps]
    return {
        "columns": columns,
        "steps": list(dict.fromkeys(names)),
        "models": [origin for encoder in encoders for origin in origins_of(encoder)],
    }
