"""What holds for all tests: modules that are left out, and who looks for garbage."""

import gc
from importlib.util import find_spec

import pytest

VIEWS = ["_main.py", "_page.py", "_widgets.py", "_*_view.py"]
# The modules of the page, where Streamlit is not installed.
collect_ignore_glob = (
    [] if find_spec("streamlit") else [f"skmmrec/app/{name}" for name in VIEWS]
)


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the modules and tests that are collected out of all searches for garbage.

    They are millions of objects that stay to the end.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
