"""Run the Python blocks and commands of a Markdown page, and see what they give."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner

from skmmrec.cli._main import cli

BLOCK = re.compile(r"^```(python|text|console)\n(.*?)^```$", re.S | re.M)
# A command, which may go on in further lines, and what it prints.
COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.M)


class Printed(str):
    """What a command has printed."""

    __repr__ = str.__str__


class Given(NamedTuple):
    """The value of a block's last line, and what the page says it is, if it does."""

    line: int
    value: Any
    shown: str | None


def run_page(page: Path, names: dict[str, Any]) -> Iterator[Given]:
    """Run the blocks of a page from top to bottom, in one namespace."""
    text = page.read_text()
    found = [*BLOCK.finditer(text)]
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block[1] == "python":
            line = text.count("\n", 0, block.start()) + 2
            value = run_block(block[2], names, f"{page.name}:{line}")
            shown = after[2] if after is not None and after[1] == "text" else None
            yield Given(line, value, shown)
        elif block[1] == "console":
            yield from run_console(block[2], text.count("\n", 0, block.start()) + 2)


def run_console(block: str, first_line: int) -> Iterator[Given]:
    """Run the commands of a block; only those of this package are to be there."""
    for found in COMMAND.finditer(block):
        line = first_line + block.count("\n", 0, found.start())
        program, *args = shlex.split(found[1].replace("\\\n", ""))
        assert program == "skmmrec", f"{program!r} in line {line} is not run"
        result = CliRunner().invoke(cli, args)
        assert result.exit_code == 0, f"line {line}: {result.output}"
        yield Given(line, Printed(result.stdout), found[2] or None)


def run_block(code: str, names: dict[str, Any], where: str) -> Any:
    """Run code; where it ends in an expression, return its value."""
    tree = ast.parse(code, where)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, where, "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), where, "eval"), names)


def without_numbers(text: str) -> str:
    """Leave out what depends on the processor: digits, signs and widths."""
    return " ".join(re.sub(r"-?\d+(\.\d*)?(e[-+]\d+)?", "0", text).split())
