"""The command line as a process: exit codes, pipes, and what an interrupt leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import CONTENT

ROOT = Path(__file__).parents[2]


def start(*args, code=None, **how):
    """Start ``python -m skmmrec``, or some code that calls it."""
    program = ["-m", "skmmrec"] if code is None else ["-c", code]
    return subprocess.Popen(
        [sys.executable, *program, *map(str, args)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        stderr=subprocess.PIPE,
        text=True,
        **how,
    )


def finished(process):
    out, err = process.communicate()
    return process.returncode, out, err


def test_a_process_ends_by_the_code_and_keeps_stdout_for_data(model, tmp_path):
    process = start(
        "recommend", model, "--user", "1e0", "-k", 1, stdout=subprocess.PIPE
    )
    code, out, err = finished(process)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "user_id,item_id,rank,score"
    process = start("recommend", tmp_path, stdout=subprocess.PIPE)
    code, out, err = finished(process)
    assert (code, out) == (3, "")
    assert err.startswith("Error: no saved recommender")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_nobody_reads_the_output(model):
    reading, writing = os.pipe()
    process = start("recommend", model, stdout=writing)
    os.close(writing)
    os.close(reading)
    code, _, err = finished(process)
    assert (code, err) == (141, "")


INTERRUPTED = """
import sys
from skmmrec.batch._job import Job
from skmmrec.cli import main

write, done = Job.write, []

def interrupted(self, name, *rest):
    if len(done) == 2:
        raise KeyboardInterrupt
    done.append(name)
    write(self, name, *rest)

Job.write = interrupted
main(sys.argv[1:])
"""


def test_an_interrupted_encoding_goes_on(tables, tmp_path):
    out = tmp_path / "out"
    args = ["encode", tables / "items.csv", out, *CONTENT, "--rows-per-part", 3]
    code, _, err = finished(start(*args, code=INTERRUPTED))
    assert (code, err.strip()) == (130, "Interrupted.")
    assert not out.exists()
    code, _, err = finished(start(*args, stdout=subprocess.PIPE))
    assert code == 0
    assert "2 of 4 files were there already" in err
    assert len([*out.glob("*.parquet")]) == 4
