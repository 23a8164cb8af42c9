import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOM = Path(__file__).parents[2] / "skmmrec" / "feature_store"
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
        assert getattr(feature_store, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        feature_store.nothing  # noqa: B018


def imports():
    """Pairs of modules of the feature store, the importing one first.

    Imports inside functions and for types alone count, and those of the stubs.
    """
    for path in [*ROOM.rglob("*.py"), *ROOM.rglob("*.pyi")]:
        package = ".".join(path.relative_to(ROOM.parents[1]).parent.parts)
        source = package if path.stem == "__init__" else f"{package}.{path.stem}"
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                above = package.rsplit(".", node.level - 1)[0] if node.level else ""
                module = ".".join(part for part in (above, node.module) if part)
                for alias in node.names:
                    name = f"{module}.{alias.name}"
                    target = name if is_module(name) else module
                    if target.startswith("skmmrec."):
                        yield source, target


def is_module(name):
    path = ROOM.parents[1].joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_no_module_imports_itself_by_way_of_others():
    graph = {}
    for source, target in imports():
        graph.setdefault(source, set()).add(target)
    assert len(graph) > 25
    list(TopologicalSorter(graph).static_order())


def test_private_modules_are_imported_by_their_own_folder_alone():
    pairs = set(imports())
    assert ("skmmrec.feature_store._publish", "skmmrec.feature_store.backends") in pairs
    for source, target in pairs:
        folder, _, name = target.rpartition(".")
        if name.startswith("_") and folder != "skmmrec":
            assert source == folder or source.rpartition(".")[0] == folder
