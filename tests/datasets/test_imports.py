"""Importing the packages is cheap."""

import subprocess
import sys
from typing import get_origin

import pytest

HEAVY = ["sklearn", "torch", "matplotlib", "pandas", "scipy", "PIL", "feast"]


@pytest.mark.parametrize(
    "package", ["datasets", "inspection", "metrics", "model_selection"]
)
def test_no_heavy_library_is_loaded(package):
    code = (
        f"import sys, skmmrec.{package} as p; dir(p);"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "package", ["datasets", "inspection", "metrics", "model_selection"]
)
def test_every_public_name_resolves(package):
    module = __import__(f"skmmrec.{package}", fromlist=[package])
    for name in module.__all__:
        value = getattr(module, name)
        assert value.__doc__ or get_origin(value)  # an alias of types has no words
    with pytest.raises(AttributeError, match=r"attribute '?nothing"):
        _ = module.nothing
