"""Help, exit codes, and who reads what."""

import inspect
import json
import logging
import re
import shlex
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from skmmrec import __version__
from skmmrec.cli import _command, main
from skmmrec.cli._command import command
from skmmrec.cli._main import COMMANDS, Ordered, cli
from skmmrec.runtime import progress, showing
from tests.cli.conftest import run
from tests.test_import import HEAVY

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NAMES = [c.name for c in COMMANDS]


def test_the_commands_of_the_whole_path_are_there():
    wanted = "init-repo encode fit evaluate publish verify serve browse"
    assert set(wanted.split()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help_teaches(name):
    result = run(name, "--help")
    assert f"Usage: skmmrec {name}" in result.stdout.replace("cli", "skmmrec")
    assert "Example" in result.stdout
    assert f"  skmmrec {name} " in result.stdout
    for parameter in cli.commands[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts} has no help"


@pytest.mark.parametrize("name", NAMES)
def test_examples_of_the_help_are_commands(name):
    """What the examples name exists: each is parsed, and nothing is run."""
    text = cli.commands[name].epilog.replace("\\\n", " ")
    lines = [ln.strip() for ln in text.splitlines() if ln.startswith("  skmmrec")]
    assert lines
    for line in lines:
        words = shlex.split(line.split(" || ")[0].split(" > ")[0])
        assert words[1] == name
        with cli.commands[name].make_context(name, words[2:]):
            pass


def shell_lines(page):
    """Commands of this package in the shell blocks of a page, and in its sentences."""
    text = page.read_text("utf-8")
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```$", text, re.S | re.M)
    whole = "\n".join(blocks).replace("\\\n", " ").splitlines()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)
    spans = re.findall(r"`([^`]+)`", prose)
    return [
        [line.strip().removeprefix("$ ") for line in lines if "skmmrec " in line]
        for lines in (whole, spans)
    ]


PAGES = [
    page
    for page in [ROOT / "README.md", *DOCS.glob("*.md"), *DOCS.glob("guide/*.md")]
    if any(shell_lines(page))
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_of_the_pages_are_commands(page):
    """They are parsed, and nothing is run; in sentences they may lack arguments."""
    whole, cut = shell_lines(page)
    for line in [*whole, *cut]:
        program, name, *words = shlex.split(re.split(r" (?:\|\||&&|>)", line)[0])
        if name == "COMMAND":
            continue
        assert (program, name in NAMES) == ("skmmrec", True), line
        lacking = (click.MissingParameter, click.BadOptionUsage) if line in cut else ()
        with suppress(*lacking), cli.commands[name].make_context(name, words):
            pass


def test_options_of_the_page_are_options():
    text = (DOCS / "guide" / "command_line.md").read_text("utf-8")
    parameters = [p for name in NAMES for p in cli.commands[name].params]
    known = {option for parameter in parameters for option in parameter.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))
    assert len(named) > 20
    assert named <= known | {"--help"}


def test_the_list_of_commands_tells_exit_codes_in_order():
    text = run("--help").stdout
    assert [text.index(f"\n  {name} ") for name in NAMES] == sorted(
        text.index(f"\n  {name} ") for name in NAMES
    )
    for code in ("0", "1", "2", "3", "130", "141"):
        assert f"\n    {code} " in text


def test_the_version_is_that_of_the_package():
    assert run("--version").stdout == f"skmmrec, version {__version__}\n"


@pytest.mark.parametrize("args", [["--help"], ["fit", "--help"], ["serve", "--help"]])
def test_help_loads_no_heavy_library(args):
    code = (
        "import json, sys\nfrom skmmrec.cli import main\n"
        f"try: main({args})\nexcept SystemExit as end: assert end.code == 0\n"
        "print(json.dumps([*sys.modules]), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert "Usage" in done.stdout
    loaded = set(json.loads(done.stderr))
    assert "skmmrec.cli._fit" in loaded
    assert not (HEAVY | {"numpy", "pyarrow", "scipy"}) & loaded


def test_main_ends_the_process_by_the_code(capsys):
    with pytest.raises(SystemExit) as end:
        main(["fit"])
    assert end.value.code == 2
    assert "INTERACTIONS" in capsys.readouterr().err


def test_main_takes_what_the_process_was_started_with(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["skmmrec", "--version"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("skmmrec,")


# -- one command that does what it is told -------------------------------------------


def group_of(function):
    named = command(epilog="Examples:\n  skmmrec try")(function)
    return Ordered("skmmrec", commands={"try": named})


def invoke(function, *args):
    return CliRunner().invoke(group_of(function), ["try", *args])


def raising(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [
        ValueError("row 3 is bad"),
        FileNotFoundError(2, "row 3 is bad"),
        ImportError("row 3 is bad"),
        LookupError("row 3 is bad"),
    ],
)
def test_bad_data_is_a_message_and_code_3(error):
    result = invoke(raising(error))
    assert result.exit_code == 3
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert "row 3 is bad" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_mistake_of_the_library_is_called_so():
    result = invoke(raising(KeyError("vectors")))
    assert result.exit_code == 3
    assert "KeyError" in result.stderr
    assert "--debug" in result.stderr


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_debug_shows_the_traceback(by, monkeypatch):
    if by == "environment":
        monkeypatch.setenv(_command.DEBUG, "1")
    result = invoke(raising(ValueError("bad")), *(["--debug"] if by == "flag" else []))
    assert result.exit_code == 3
    assert "Traceback" in result.stderr
    assert "ValueError: bad" in result.stderr


def test_an_interrupted_command_ends_by_130():
    result = invoke(raising(KeyboardInterrupt()))
    assert result.exit_code == 130
    assert "Interrupted" in result.stderr


def test_a_command_may_find_something_wrong():
    def find():
        click.get_current_context().exit(1)

    assert invoke(find).exit_code == 1


def test_notes_warnings_and_logs_go_to_stderr_as_asked_for():
    def speak():
        click.echo("data")
        _command.note("a note")
        log = logging.getLogger("skmmrec.somewhere")
        log.info("a step")
        log.debug("a detail")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("beware", stacklevel=1)

    plain, quiet = invoke(speak), invoke(speak, "--quiet")
    loud, loudest = invoke(speak, "-v"), invoke(speak, "-vv")
    assert {r.stdout for r in (plain, quiet, loud, loudest)} == {"data\n"}
    assert plain.stderr == "a note\nWarning: beware\n"
    assert quiet.stderr == ""
    assert "a step" in loud.stderr
    assert "a detail" not in loud.stderr
    assert "a detail" in loudest.stderr


def test_a_quiet_command_draws_no_bar():
    """Not even one that a model or an encoder has drawn where somebody watches."""

    items = [1]

    def work():
        sys.stderr.isatty = lambda: True
        with showing("auto"):
            click.echo(progress(items, "name", "auto") is items)

    assert invoke(work).stdout == "False\n"
    assert invoke(work, "--quiet").stdout == "True\n"


def test_a_command_leaves_logging_and_warnings_as_they_were():
    log = logging.getLogger("skmmrec")
    before = log.level, list(log.handlers), warnings.showwarning
    invoke(raising(ValueError("bad")), "-vv")
    assert (log.level, list(log.handlers), warnings.showwarning) == before


def test_commands_are_functions_of_short_signature():
    """No command hides an option: what it takes is what its parameters are."""
    for each in COMMANDS:
        function = inspect.unwrap(each.callback)
        takes = inspect.signature(function).parameters
        names = {p.name for p in each.params} - {"quiet", "verbose", "debug"}
        has_rest = any(p.kind is p.VAR_KEYWORD for p in takes.values())
        given = {n for n, p in takes.items() if p.kind is not p.VAR_KEYWORD} - {"ctx"}
        assert given <= names
        assert has_rest or given == names
