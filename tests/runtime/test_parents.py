"""A process ends with the one that started it."""

import os
import signal
import subprocess
import sys

import pytest

CODE = """
import multiprocessing, os, time
from skmmrec.runtime import end_with_parent

def work():
    end_with_parent()
    print("on", flush=True)
    time.sleep(30)
    print("still on", flush=True)

end_with_parent()  # of which there is none
multiprocessing.get_context("fork").Process(target=work).start()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_with_its_parent(number):
    parent = subprocess.Popen(
        [sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout.readline() == "on\n"
    parent.send_signal(number)
    assert parent.wait(60) == -number
    assert parent.stdout.read() == ""  # which the child has, too, until it ends
    parent.stdout.close()
