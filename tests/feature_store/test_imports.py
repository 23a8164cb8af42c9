import subprocess
import sys

import pytest

HEAVY = ("feast", "torch", "sklearn", "pandas", "pyarrow")


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, skmmrec.feature_store as fs; "
        f"print([m for m in {HEAVY} if m in sys.modules], 'publish' in dir(fs))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "True"]


def test_every_public_name_resolves():
    import skmmrec.feature_store as feature_store

    for name in feature_store.__all__:
        found = getattr(feature_store, name)
        is_defined_here = getattr(found, "__module__", "").startswith("skmmrec")
        assert not is_defined_here or found.__doc__  # others are aliases of types
    with pytest.raises(AttributeError, match="nothing"):
        feature_store.nothing  # noqa: B018
