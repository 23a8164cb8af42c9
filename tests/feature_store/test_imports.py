import os
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


@pytest.mark.parametrize("given", ["feast_metrics_gone", "metrics"])
def test_a_child_may_outlive_the_parent_that_used_feast(tmp_path, given):
    """Feast names a folder in the environment, and removes it when the process ends."""
    folder = tmp_path / given
    if given == "metrics":  # of somebody who shares it between processes
        folder.mkdir()
    names = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")
    code = (
        "import os, skmmrec.feature_store as fs; fs.open_store; "
        f"print(*(os.environ[name] for name in {names}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **dict.fromkeys(names, str(folder))},
        capture_output=True,
        text=True,
        check=True,
    )
    one, other = done.stdout.split()
    assert one == other
    assert (one == str(folder)) == (given == "metrics")
