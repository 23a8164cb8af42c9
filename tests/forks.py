"""Run functions in forked children, which must not hang."""

import multiprocessing
import os
import traceback

import pytest
import torch

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
        pytest.fail(f"in the child: {value}")
    return value


def _send(function, writing):
    try:
        writing.send(("value", function()))
    except BaseException:
        writing.send(("error", traceback.format_exc()))
