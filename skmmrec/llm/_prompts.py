"""Read and fill prompts: text files with placeholders, which users can replace."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")


class Prompt(NamedTuple):
    """A text with placeholders such as ``{item}``; other braces are plain text.

    Parameters
    ----------
    text : str
        The text.
    source : str
        The name of its file, for error messages.
    """

    text: str
    source: str

    def fill(self, **values: str) -> str:
        """Replace placeholders by values; braces in the values are plain text.

        There is one for each placeholder.

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

    `default` names the package's own file, in ``skmmrec/llm/prompts`` and without its
    ending, which None stands for. The file must contain `placeholders`, and may contain
    those that are `optional`. A FileNotFoundError says that there is no such file, a
    ValueError that it is not UTF-8 text, lacks a placeholder, or has an unknown one.
    """
    source, text = _read(prompt, default)
    found = set(_PLACEHOLDER.findall(text))
    absent = [name for name in placeholders if name not in found]
    if absent:
        raise ValueError(f"prompt file {source} lacks the placeholder {{{absent[0]}}}")
    unknown = sorted(found - {*placeholders, *optional})
    if unknown:
        known = ", ".join(f"{{{name}}}" for name in (*placeholders, *optional))
        raise ValueError(
            f"prompt file {source} has the unknown placeholder {{{unknown[0]}}}; "
            f"known are {known}"
        )
    return Prompt(text, source)


def _read(prompt: str | os.PathLike | None, default: str) -> tuple[str, str]:
    if prompt is None:
        file = files("skmmrec.llm") / "prompts" / f"{default}.txt"
        return f"{default}.txt", file.read_text(encoding="utf-8").strip()
    path = Path(prompt).expanduser()
    if not os.path.isfile(path):  # which is False, too, for what no file can be called
        raise FileNotFoundError(
            f"prompt={os.fspath(prompt)!r:.200} is not a file: save the prompt as a "
            "text file, and give its path"
        )
    try:
        return str(path), path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"prompt file {path} is not UTF-8 text: {error}") from error
