"""Say in ``feature_store.yaml`` what made published vectors, for words and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from skmmrec.feature_store.backends.base import same_encoder
from skmmrec.runtime import replacing

from ._repo import open_store

_FILE = "feature_store.yaml"
_STORE, _ENCODERS = "online_store", "encoders"
# Lines stay whole, as they are read by people.
_WIDTH = 10_000

Entries = Mapping[str, Mapping[str, Any]]


class NamedEncoders(NamedTuple):
    """What `name_encoders` found and did, by names of vectors."""

    added: list[str]
    other: list[str]


def name_encoders(repo: str | Path, encoders: Entries) -> NamedEncoders:
    """Add encoders to a repository's ``feature_store.yaml``.

    What it says already stays as it is, comments too.

    Parameters
    ----------
    repo : str or path
        Folder of the repository.
    encoders : mapping of str to mapping
        By the name of the vectors that each has made: its ``kind``, and its parameters.

    Returns
    -------
    NamedEncoders
        What was ``added``, and what was there as an ``other`` encoder, which would make
        vectors of another kind of the same content.

    Raises
    ------
    ValueError
        When the file is written in a way that nothing can be added to; the message has
        what to add.
    """
    file = (Path(repo) / _FILE).resolve()
    config = open_store(repo).config
    found = {name: same_encoder(config, name, each) for name, each in encoders.items()}
    added = {name: encoders[name] for name, same in found.items() if same is None}
    if added:
        text = _with_entries(file, added)
        with replacing(file, file.stat().st_mode & 0o777) as fresh:
            fresh.write_text(text, encoding="utf-8", newline="\n")
    return NamedEncoders([*added], [n for n, same in found.items() if same is False])


def encoder_lines(encoders: Entries) -> str:
    """Return entries as lines of YAML, one for each."""
    return "".join(
        yaml.safe_dump(
            {name: dict(each)},
            default_flow_style=None,  # what is inside a line stays in it
            sort_keys=False,
            allow_unicode=True,
            width=_WIDTH,
        )
        for name, each in encoders.items()
    )


def _with_entries(file: Path, added: Entries) -> str:
    """Return the text with further entries, and see that it says that and no more."""
    text = file.read_text(encoding="utf-8")
    wanted = yaml.safe_load(text)
    store = wanted[_STORE]
    store[_ENCODERS] = {**(store.get(_ENCODERS) or {}), **_plain(added)}
    written = _inserted(text, added)
    try:
        says = None if written is None else yaml.safe_load(written)
    except yaml.YAMLError:
        says = None
    if written is None or says != wanted:
        raise ValueError(
            f"nothing can be added to {file} as it is written: add below "
            f"{_STORE}.{_ENCODERS} yourself\n{encoder_lines(added)}"
        )
    return written


def _plain(entries: Entries) -> dict[str, dict[str, Any]]:
    return {name: dict(each) for name, each in entries.items()}


def _inserted(text: str, added: Entries) -> str | None:
    """Put entries behind those that are there, or at the end of the online store."""
    store = _entry(yaml.compose(text), _STORE)
    if not _is_block(store):
        return None
    known, indent = _entry(store, _ENCODERS), store.value[0][0].start_mark.column
    lines, head = encoder_lines(added).splitlines(), []
    if known is None:
        place, head = store, [" " * indent + f"{_ENCODERS}:"]
        indent += 2
    elif _is_block(known):
        place, indent = known, known.value[0][0].start_mark.column
    elif known.value == "":  # nothing behind the colon
        place, indent = known, indent + 2
    else:
        return None
    return _after(text, place, head + _moved(lines, indent))


def _moved(lines: list[str], indent: int) -> list[str]:
    return [" " * indent + line for line in lines]


def _entry(node: Any, key: str) -> Any:
    """Return what a mapping says of a key, or None."""
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _is_block(node: Any) -> bool:
    """Tell a mapping of a line for each entry."""
    is_mapping = isinstance(node, yaml.MappingNode)
    return is_mapping and not node.flow_style and bool(node.value)


def _after(text: str, node: Any, lines: list[str]) -> str:
    """Put lines behind the last line of a node."""
    while _is_block(node):
        node = node.value[-1][1]
    end = node.end_mark
    # What ends at the beginning of a line has ended before it.
    last = end.line if end.column else end.line - 1
    there = text.splitlines()
    return "\n".join([*there[: last + 1], *lines, *there[last + 1 :]]) + "\n"
