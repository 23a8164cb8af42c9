"""Which columns of a catalogue read words, pictures, sounds and videos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer
from sklearn.pipeline import Pipeline

from skmmrec.app._columns import kind_of
from skmmrec.catalog import Blocks, ItemCatalog
from skmmrec.encoders import BaseEncoder, MultimodalEncoder, encoder_class

# What an encoder of a kind reads; a MultimodalEncoder is told its kind.
_MODALITIES = {"text": "words", "image": "picture", "audio": "sound", "video": "video"}
_ENCODERS = {encoder_class(kind): words for kind, words in _MODALITIES.items()}
_KINDS = {"text": "words", "picture": "picture", "sound": "sound", "video": "video"}


def inputs_of(catalog: ItemCatalog | None) -> dict[str, str]:
    """Name the column that reads each kind of content.

    Only columns that a transformer reads alone can be asked by themselves.

    The kinds are "words", "picture", "sound" and "video".
    """
    found: dict[str, str] = {}
    if catalog is None or len(catalog) == 0:
        return found
    for transformer, column in _columns_read(catalog.encoder):
        kind = _reads(transformer, column, catalog)
        if kind is not None:
            found.setdefault(kind, column)
    return found


def require_read(content: Blocks, kinds: Iterable[str]) -> None:
    """Refuse what somebody gave if nothing could be read of it.

    Encoders with ``on_error="missing"`` take a broken file for one that is not there.

    The ValueError says what was given, not in which row of a table it stood.
    """
    if not content.mask.any():
        given = list(kinds)
        broken = "." if given == ["words"] else ": a file may be damaged."
        raise ValueError(
            f"Nothing is understood of the {' and the '.join(given)}{broken}"
        )


def _columns_read(encoder: Any) -> Iterator[tuple[Any, str]]:
    """Yield each transformer with the one column that it reads."""
    if isinstance(encoder, Pipeline):
        encoder = encoder.steps[-1][1]
    if not isinstance(encoder, ColumnTransformer):
        return
    for _, transformer, columns in encoder.transformers:
        names = [columns] if isinstance(columns, str) else columns
        if isinstance(names, list) and len(names) == 1 and isinstance(names[0], str):
            yield transformer, names[0]


def _reads(transformer: Any, column: str, catalog: ItemCatalog) -> str | None:
    """Tell what a transformer reads: by its class, or else by what is in its column.

    Paths may look like words in a column. Where the transformer says what it reads,
    that counts: words of a visitor must not be taken for a path.
    """
    if isinstance(transformer, Pipeline):
        transformer = transformer.steps[-1][1]
    if not isinstance(transformer, (BaseEncoder, CountVectorizer, HashingVectorizer)):
        return None
    if isinstance(transformer, MultimodalEncoder):
        return _MODALITIES.get(transformer.modality)
    known = (kind for cls, kind in _ENCODERS.items() if isinstance(transformer, cls))
    return next(known, None) or _KINDS.get(kind_of(catalog.items[column]) or "")
