"""Prompts are text files with placeholders, which a user can replace."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


class Prompt(NamedTuple):
    """A text with placeholders such as ``{item}``; other braces are just braces.

    Parameters
    ----------
    text : str
        The text.
    source : str
        The name of its file, for messages.
    """

    text: str
    source: str

    def fill(self, **values: str) -> str:
        """Put values in the place of the placeholders; what is in them stays as it is.

        Parameters
        ----------
        **values : str
            One for each placeholder.

        Examples
        --------
        >>> from skmmrec.llm._prompts import Prompt
        >>> Prompt('Say {"a": 1} of {item}.', "p.txt").fill(item="{item} and {a}")
        'Say {"a": 1} of {item} and {a}.'
        """
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.text)


def read_prompt(
    prompt: str | os.PathLike | None,
    default: str,
    placeholders: Collection[str],
    optional: Collection[str] = (),
) -> Prompt:
    """Read a prompt file, and check that it can be filled.

    Parameters
    ----------
    prompt : str, path or None
        A file of the user's, or None for the one that the package brings.
    default : str
        The name of the latter, in ``skmmrec/llm/prompts``, without its ending.
    placeholders : collection of str
        What the file must hold, each in braces.
    optional : collection of str, default=()
        What it may hold besides.

    Returns
    -------
    Prompt

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is no UTF-8 text, lacks a placeholder or has one that is not known.
    """
    source, text = _read(prompt, default)
    found = set(_PLACEHOLDER.findall(text))
    absent = [name for name in placeholders if name not in found]
    if absent:
        raise ValueError(
            f"prompt file {source} lacks the placeholder {{{absent[0]}}}, where "
            f"{'the values go' if len(absent) > 1 else 'its value goes'}"
        )
    unknown = sorted(found - {*placeholders, *optional})
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in (*placeholders, *optional))
        raise ValueError(
            f"prompt file {source} has the placeholder {{{unknown[0]}}}, which nothing "
            f"fills; there are {known}"
        )
    return Prompt(text, source)


def _read(prompt: str | os.PathLike | None, default: str) -> tuple[str, str]:
    if prompt is None:
        file = files("skmmrec.llm") / "prompts" / f"{default}.txt"
        return f"{default}.txt", file.read_text(encoding="utf-8").strip()
    path = Path(prompt).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"prompt={os.fspath(prompt)!r} is no file")
    try:
        return str(path), path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"prompt file {path} is no UTF-8 text: {error}") from error
