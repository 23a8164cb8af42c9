"""The command line as a process: exit codes, pipes, and what an interrupt leaves.

One process is started anew; the others are forked, and import nothing.
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from skmmrec.batch._job import Job
from skmmrec.cli import main
from tests.cli.conftest import CONTENT
from tests.forks import as_program, needs_fork, quietly

ROOT = Path(__file__).parents[2]


def command(*args, **how):
    """Run ``skmmrec`` in a forked child."""
    return as_program(lambda: main([str(arg) for arg in args]), **how)


def test_a_process_ends_by_the_code_and_keeps_stdout_for_data(model):
    done = subprocess.run(
        [sys.executable, "-m", "skmmrec", "recommend", model, "--user", "1e0", "-k1"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "user_id,item_id,rank,score"


@needs_fork
@quietly
def test_what_is_wrong_is_told_apart_from_data(tmp_path):
    code, out, err = command("recommend", tmp_path)
    assert (code, out) == (3, "")
    assert err.startswith("Error: no saved recommender")


@needs_fork
@quietly
def test_nobody_reads_the_output(model):
    reading, writing = os.pipe()
    os.close(reading)
    code, _, err = command("recommend", model, stdout=writing)
    os.close(writing)
    assert (code, err) == (141, "")


@needs_fork
@quietly
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("args", [["recommend"], ["--version"], ["fit", "--help"]])
def test_an_output_without_space_is_an_error(model, args):
    places = [model] if args == ["recommend"] else []
    with open("/dev/full", "w") as full:
        code, _, err = command(*args, *places, stdout=full.fileno())
    assert code == 3
    assert err.startswith("Error: [Errno 28]")


@needs_fork
@quietly
@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]], ids=str)
def test_streams_that_are_closed_belong_to_no_file(model, tmp_path, closed):
    """As by ``>&-``: what is opened next must not get their numbers."""
    numbers = tmp_path / "numbers"

    def program():
        for number in closed:
            setattr(sys, ("stdin", "stdout", "stderr")[number], None)
            with suppress(OSError):  # closed with what was written to by it
                os.close(number)
        try:
            main(["recommend", str(model), "--user", "1e0", "-k1"])
        finally:
            with open(numbers, "x") as file:
                file.write(f"{file.fileno()}")

    code, out, _ = as_program(program)
    assert code == 0
    assert bool(out) == (1 not in closed)
    assert int(numbers.read_text()) > 2


@needs_fork
@quietly
def test_an_interrupted_encoding_goes_on(tables, tmp_path, monkeypatch):
    out = tmp_path / "out"
    args = ["encode", tables / "items.csv", out, *CONTENT, "--rows-per-part", 3]
    write, done = Job.write, []

    def interrupted(self, name, *rest):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(name)
        write(self, name, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Job, "write", interrupted)
        code, _, err = command(*args)
    assert (code, err.strip()) == (130, "Interrupted.")
    assert not out.exists()
    code, _, err = command(*args)
    assert code == 0
    assert "2 of 4 files were there already" in err
    assert len([*out.glob("*.parquet")]) == 4
