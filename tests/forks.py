"""Run functions in forked children, which must not hang."""

import multiprocessing
import os
import sys
import tempfile
import traceback
from contextlib import contextmanager

import pytest
import torch

from tests import pretended

# A child that hangs does so for ever; one that computes is done long before, even on a
# busy machine.
SECONDS = 120

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
# Python 3.12 and later warn of what these tests are about.
quietly = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


def use_cores():
    """Let OpenMP start threads in this thread: a child has none, but waits for them."""
    numbers = torch.ones(600, 600)
    return float((numbers @ numbers + numbers).exp().sum())


def in_child(function, seconds=SECONDS):
    """Return what a function returns in a forked child, or fail."""
    context = multiprocessing.get_context("fork")
    reading, writing = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(function, writing))
    child.start()
    writing.close()
    try:
        if not reading.poll(seconds):
            pytest.fail(f"the child was not done after {seconds} seconds")
        kind, value = reading.recv()
    finally:
        child.kill()
        child.join()
        reading.close()
    if kind == "error":
        skip_where_gpus_were_pretended(value)
        pytest.fail(f"in the child: {value}")
    return value


@contextmanager
def forking():
    """Fork in a block, or skip as `skip_where_gpus_were_pretended` tells."""
    try:
        yield
    except Exception as error:
        skip_where_gpus_were_pretended(error)
        raise


def skip_where_gpus_were_pretended(error):
    """Skip a test whose child failed as an earlier test has started torch's threads."""
    if pretended.was_used() and "autograd's threading" in str(error):
        pytest.skip("an earlier test started threads of torch for a pretended GPU")


def _send(function, writing):
    try:
        writing.send(("value", function()))
    except BaseException:
        writing.send(("error", traceback.format_exc()))


def as_program(main, stdout=None):
    """Run `main` in a forked child, as a program; its exit code, output and errors.

    The child need not import anything anew. `stdout` is a file descriptor.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        files = out.fileno() if stdout is None else stdout, err.fileno()
        context = multiprocessing.get_context("fork")
        child = context.Process(target=_be_program, args=(main, *files))
        child.start()
        child.join(SECONDS)
        if child.exitcode is None:
            child.kill()
            pytest.fail(f"the child was not done after {SECONDS} seconds")
        out.seek(0), err.seek(0)
        return child.exitcode, out.read(), err.read()


def _be_program(main, out, err):
    """End this process as the interpreter would: by the code of SystemExit."""
    code = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        sys.stdout.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
