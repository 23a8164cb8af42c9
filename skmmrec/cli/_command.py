"""What all commands share: exit codes, messages, and who reads them.

Nothing here, nor at the top of any module of commands, imports a heavy library: help
must come at once.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import click

DONE, WRONG, FAILED = 0, 1, 3  # 2, for wrong usage, is click's own
# 128 and the number of the signal, SIGINT or SIGPIPE, as shells report it.
INTERRUPTED, CLOSED = 130, 141
# In the order of their numbers: what is opened gets the lowest that is free.
_STREAMS = {"stdin": "r", "stdout": "w", "stderr": "w"}
DEBUG = "SKMMREC_DEBUG"
# What bad input and the world outside raise; anything else is a mistake of ours.
EXPECTED = (ValueError, TypeError, OSError, ImportError, RuntimeError)


class Failure(click.ClickException):
    """Input or data that cannot be used."""

    exit_code = FAILED


class ClosedError(Exception):
    """Nobody reads stdout any more; click would end by 1, which says something else."""


class Group(click.Group):
    """Commands with the exit codes of the documentation."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command, and end the process by its exit code."""

        def run() -> Any:
            return super(Group, self).main(
                args, prog_name, complete_var, standalone_mode=False, **extra
            )

        if not standalone_mode:
            return run()
        _open_closed_streams()
        code = _code_of(run)
        sys.exit(code if isinstance(code, int) else DONE)


def _open_closed_streams() -> None:
    """Put the null device in the place of streams that are closed, as by ``>&-``.

    Else the next file that is opened, such as a database, would get the number of one,
    and be written to as if it were that.
    """
    for name, mode in _STREAMS.items():
        if getattr(sys, name) is None:
            null = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
            os.set_inheritable(null.fileno(), True)
            setattr(sys, name, null)


def _code_of(run: Callable[[], Any]) -> Any:
    """Return the exit code of a command; what it returns, if it just ends."""
    try:
        return run()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("Interrupted.", err=True)
        return INTERRUPTED
    except ClosedError:
        _forget_stdout()
        return CLOSED
    except OSError as error:  # of help and version, which no command writes
        _forget_stdout()
        Failure(str(error)).show()
        return FAILED


def _forget_stdout() -> None:
    """Send what is still buffered nowhere, as nobody reads it any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Command(click.Command):
    """A command that says what is wrong in one message, without a traceback."""

    def __init__(self, *args: Any, **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.params += [
            click.Option(
                ["-q", "--quiet"],
                is_flag=True,
                help="Say nothing but errors: no progress, no warnings, no notes.",
            ),
            click.Option(
                ["-v", "--verbose"], count=True, help="Log what is done; -vv logs more."
            ),
            click.Option(
                ["--debug"],
                is_flag=True,
                envvar=DEBUG,
                help=f"Show the traceback of an error; so does {DEBUG}=1.",
            ),
        ]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and turn what it raises into a message."""
        quiet, verbose, debug = map(ctx.params.pop, ("quiet", "verbose", "debug"))
        ctx.meta["quiet"] = quiet
        with _messages(quiet, verbose), _bars(quiet):
            try:
                result = super().invoke(ctx)
                sys.stdout.flush()
                return result
            except (click.ClickException, click.exceptions.Exit, click.Abort):
                raise
            except BrokenPipeError as error:
                raise ClosedError from error
            except Exception as error:
                if debug:
                    traceback.print_exc()
                raise Failure(_told(error)) from error


def _told(error: Exception) -> str:
    name, text = type(error).__name__, str(error)
    # LookupError is raised with a message of its own; a KeyError or IndexError is not.
    # Feast's own errors are about what feature_store.yaml and a repository say.
    is_of_feast = type(error).__module__.partition(".")[0] == "feast"
    if isinstance(error, EXPECTED) or type(error) is LookupError or is_of_feast:
        return text or name
    return f"{name}: {text}. This looks like a mistake of skmmrec; --debug shows where"


@contextmanager
def _messages(quiet: bool, verbose: int) -> Iterator[None]:
    """Write warnings and the log to stderr, a line each, as much as is asked for."""
    log = logging.getLogger("skmmrec")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    before = log.level
    with warnings.catch_warnings():
        warnings.showwarning = _silent if quiet else _warn
        log.addHandler(handler)
        log.setLevel(_level(quiet, verbose))
        try:
            yield
        finally:
            log.removeHandler(handler)
            log.setLevel(before)


def _bars(quiet: bool) -> AbstractContextManager[None]:
    """Draw no progress where nothing is to be said."""
    if not quiet:
        return nullcontext()
    from skmmrec.runtime import showing

    return showing(False)


def _level(quiet: bool, verbose: int) -> int:
    if quiet:
        return logging.ERROR
    return (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]


def _warn(message: Warning | str, *_args: Any, **_more: Any) -> None:
    click.echo(f"Warning: {message}", err=True)


def _silent(*_args: Any, **_more: Any) -> None:
    """Show no warning."""


def note(text: str) -> None:
    """Tell the user something, unless asked to be quiet; stdout is for data alone."""
    if not click.get_current_context().meta["quiet"]:
        click.echo(text, err=True)


def show(record: Mapping[str, Any], as_json: bool) -> None:
    """Print names and values, as text or JSON."""
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False, default=str))
        return
    width = max(map(len, record))
    for name, value in record.items():
        click.echo(f"{name:{width}}  {value}")


# Each says its default, on a terminal and on the page of the reference.
option = partial(click.option, show_default=True)


def command(*, epilog: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command whose help ends in examples, printed as they are."""
    return click.command(
        cls=Command,
        epilog="\b\n" + epilog.strip("\n"),
        context_settings={"max_content_width": 100},
    )


as_json = option("--json", "as_json", is_flag=True, help="Print JSON in place of text.")
