"""What holds for all tests: what is left out, their order, the search for garbage."""

import gc
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent

VIEWS = ["_main.py", "_page.py", "_widgets.py", "_*_view.py"]
# The modules of the page, where Streamlit is not installed.
collect_ignore_glob = (
    [] if find_spec("streamlit") else [f"skmmrec/app/{name}" for name in VIEWS]
)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the modules and tests that are collected out of all searches for garbage.

    They are millions of objects that stay to the end. Later searches are rarer than by
    Python's own rule, once in 700 objects: tests leave few cycles, and searches would
    take a tenth of their time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000)
        gc.enable()


def pytest_unconfigure():
    """Let the interpreter clear up at its end: libraries report what they miss then."""
    gc.unfreeze()


def when(item):
    """Tell when a test has its turn: those of whole programs first, examples last.

    Behind those that fork are those whose gradients are on GPUs that are pretended:
    they start threads of torch, after which no fork computes gradients.
    """
    if hasattr(getattr(item, "module", None), "pretended_gpus"):
        return 2
    if item.path.parent == ROOT / "tests":
        return 0
    return 3 if item.path.is_relative_to(ROOT / "skmmrec") else 1


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """End with many short files, so that two workers are done at the same time."""
    items.sort(key=when)
