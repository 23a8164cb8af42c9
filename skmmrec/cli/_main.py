"""``skmmrec``: all commands."""

from __future__ import annotations

import click

from skmmrec import __version__
from skmmrec.cli._command import Group
from skmmrec.cli._encode import encode
from skmmrec.cli._evaluate import evaluate
from skmmrec.cli._fit import fit
from skmmrec.cli._recommend import recommend, similar
from skmmrec.cli._repository import (
    init_repo,
    publications,
    publish,
    rollback,
    verify,
)
from skmmrec.cli._serving import browse, serve

COMMANDS = (
    encode,
    fit,
    evaluate,
    recommend,
    similar,
    browse,
    init_repo,
    publish,
    verify,
    publications,
    rollback,
    serve,
)


class Ordered(Group):
    """Lists the commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, as they were added."""
        return list(self.commands)


@click.group(
    cls=Ordered,
    commands={str(command.name): command for command in COMMANDS},
    epilog="""\b
Examples:
  skmmrec encode items.csv vectors --text title --image poster
  skmmrec fit likes.csv model --items vectors
  skmmrec recommend model --user user-0001
  skmmrec init-repo shop
  skmmrec publish model shop
  skmmrec serve shop

\b
Exit codes:
  0    done
  1    done, but 'verify' found damage, or 'evaluate' a figure below --min
  2    wrong usage
  3    input or data that cannot be used
  130  interrupted by Ctrl-C; the same command goes on where it can
  141  the reader of the output has closed it, as 'head' does

Results go to stdout, everything else to stderr.
""",
)
@click.version_option(__version__, prog_name="skmmrec")
def cli() -> None:
    """Recommend things that have words, pictures and sounds.

    'skmmrec COMMAND --help' describes a command.
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line, and end the process by its exit code.

    Parameters
    ----------
    args : list of str or None, default=None
        What stands behind ``skmmrec``; None: what the process was started with.

    Examples
    --------
    >>> from skmmrec.cli import main
    >>> try:
    ...     main(["--version"])
    ... except SystemExit as end:
    ...     print(end.code)
    skmmrec, version ...
    0
    """
    cli.main(args, prog_name="skmmrec")
