"""What tells catalogues apart whose encoders differ."""

from __future__ import annotations

from pickle import PicklingError
from typing import Any, NamedTuple

import joblib
from sklearn.compose import ColumnTransformer

from skmmrec.catalog._catalog import ItemCatalog
from skmmrec.catalog._readers import ColumnReader, parts_of
from skmmrec.encoders import BaseEncoder, encoder_identity
from skmmrec.runtime import digest


class Encoding(NamedTuple):
    """What an encoder makes of a table.

    Attributes
    ----------
    columns : list of str
        Columns that it reads; all of the table, where that is not known.
    identities : dict of str to str
        A hash of what the vectors of each modality depend on, in hexadecimal digits.
    """

    columns: list[str]
    identities: dict[str, str]


def encoding_of(catalog: ItemCatalog) -> Encoding:
    """Describe the encoder of a catalogue.

    Raises ValueError if there is no encoder, or if it has a part that cannot be
    pickled, and so has no hash.
    """
    blocks, fitted = catalog.blocks, catalog._fitted
    if fitted is None:
        raise ValueError(f"{catalog!r} has no encoder")
    outputs = fitted.outputs
    if outputs is None or not isinstance(fitted.encoder, ColumnTransformer):
        identity = _identity(fitted.encoder).hex()
        return Encoding(list(catalog.items), dict.fromkeys(blocks.modalities, identity))
    read = [column for output in outputs for column in output.columns]
    identities = {}
    for name in blocks.modalities:
        parts = [
            _identity(output.transformer) + repr(output.columns).encode()
            for output in fitted.outputs_of(name)
        ]
        identities[name] = digest(b"".join(parts)).hex()
    return Encoding(list(dict.fromkeys(read)), identities)


def _identity(transformer: Any) -> bytes:
    if isinstance(transformer, BaseEncoder):
        return encoder_identity(transformer)
    parts = _fitted_parts(transformer)
    if not parts:
        return _hash(transformer)
    weights = repr(getattr(transformer, "transformer_weights", None))
    hashes = b"".join(map(_identity, parts))
    return digest(f"{type(transformer).__name__}{weights}".encode() + hashes)


def _fitted_parts(transformer: Any) -> list[Any]:
    if isinstance(transformer, ColumnReader):
        return [transformer.transformer_, str(transformer.numeric_)]
    if isinstance(transformer, ColumnTransformer):
        parts = transformer.transformers_
        return [part for _, step, columns in parts for part in (step, str(columns))]
    return parts_of(transformer)


def _hash(transformer: Any) -> bytes:
    try:
        return joblib.hash(transformer).encode()
    except (AttributeError, PicklingError, TypeError) as error:
        raise ValueError(
            f"{transformer!r} has no hash by which it could be told from others, since "
            f"it cannot be pickled ({error}): give a function of a module in place of "
            "a lambda"
        ) from error
