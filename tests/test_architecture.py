"""The structure of the package: rooms import leftwards, faces only, never in a circle.

Imports inside functions and for types alone count like all others.
"""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "skmmrec"

# A room may import those before it. `docs/architecture.md` tells what each is for.
ROOMS = [
    "skmmrec.interactions",
    "skmmrec.runtime",
    "skmmrec.encoders",
    "skmmrec.preprocessing",
    "skmmrec.catalog",
    "skmmrec.fusion",
    "skmmrec.metrics",
    "skmmrec.llm",
    "skmmrec.retrieval",
    "skmmrec.recommender.memory",
    "skmmrec.recommender.network",
    "skmmrec.recommender.training",
    "skmmrec.recommender.cold_start",
    "skmmrec.recommender",
    "skmmrec.recommender.baselines",
    "skmmrec.model_selection",
    "skmmrec.ranking",
    "skmmrec.inspection",
    "skmmrec.experiments",
    "skmmrec.datasets",
    "skmmrec.testing",
    "skmmrec.feature_store.backends.base",
    "skmmrec.feature_store.backends.sqlite",
    "skmmrec.feature_store.backends.postgres",
    "skmmrec.feature_store.backends.redis",
    "skmmrec.feature_store.backends",
    "skmmrec.feature_store",
    "skmmrec.batch",
    "skmmrec.service",
    "skmmrec.app",
    "skmmrec.cli",
]

# Modules of `recommender` that stand before its own rooms: settings are values that
# they are given, and choices are values that they give.
SETTINGS = {
    "skmmrec.recommender._choices",
    "skmmrec.recommender._settings",
    "skmmrec.recommender._user_towers",
}

# Imports that break a rule, and why.
ALLOWED: dict[tuple[str, str], str] = {
    ("skmmrec.__main__", "skmmrec.cli._main"): "`python -m skmmrec` is the CLI",
}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules():
    return {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def is_package(name):
    return modules()[name].name == "__init__.py"


@cache
def face(package):
    """Name to module, as the package's stub says."""
    stub = modules()[package].with_suffix(".pyi")
    names = {}
    if stub.exists():
        for node in ast.walk(ast.parse(stub.read_text())):
            if isinstance(node, ast.ImportFrom):
                target = f"{package}.{node.module}"
                names |= {(a.asname or a.name): (target, a.name) for a in node.names}
    return names


def defining_module(module, name):
    """Module that a name comes from, through faces."""
    while f"{module}.{name}" not in modules() and name in face(module):
        module, name = face(module)[name]
    return f"{module}.{name}" if f"{module}.{name}" in modules() else module


def imports_of(name):
    """(module as written, module that is meant, line) of each import in a module."""
    tree = ast.parse(modules()[name].read_text())
    package = name if is_package(name) else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "skmmrec":
                    yield alias.name, alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            written = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join(parents[: len(parents) - node.level + 1])
                written = f"{base}.{written}" if written else base
            if written.split(".")[0] != "skmmrec":
                continue
            for alias in node.names:
                inner = f"{written}.{alias.name}"
                as_written = inner if inner in modules() else written
                yield as_written, defining_module(written, alias.name), node.lineno


def all_imports():
    return [
        (name, written, meant, line)
        for name in modules()
        for written, meant, line in imports_of(name)
    ]


def room_of(module):
    """The innermost room that a module is in."""
    return max(
        (r for r in ROOMS if module == r or module.startswith(f"{r}.")),
        key=len,
        default="skmmrec",
    )


def rank(module):
    if module in SETTINGS:
        return ROOMS.index("skmmrec.recommender.network") + 0.5
    room = room_of(module)
    return -1 if room == "skmmrec" else ROOMS.index(room)


def test_every_folder_is_a_room():
    packages = {name for name in modules() if is_package(name)}
    assert packages - {"skmmrec"} == set(ROOMS)


def test_rooms_import_leftwards():
    wrong = [
        f"{name}:{line} imports {meant}"
        for name, _, meant, line in all_imports()
        if rank(meant) > rank(name) and name != "skmmrec"
        if (name, meant) not in ALLOWED
    ]
    assert wrong == []


def test_rooms_import_faces():
    """A private module is imported from within the folder that it lies in only."""
    wrong = [
        f"{name}:{line} imports {written}"
        for name, written, _, line in all_imports()
        if written.rpartition(".")[2].startswith("_")
        if not name.startswith(written.rpartition(".")[0])
        if (name, written) not in ALLOWED
    ]
    assert wrong == []


def test_nothing_is_imported_in_a_circle():
    graph = {name: set() for name in modules()}
    for name, _, meant, _ in all_imports():
        if meant != name and meant in graph:
            graph[name].add(meant)
    TopologicalSorter(graph).prepare()  # a CycleError names the circle


def test_exceptions_are_still_needed():
    used = {(name, meant) for name, written, meant, _ in all_imports()}
    used |= {(name, written) for name, written, meant, _ in all_imports()}
    assert set(ALLOWED) <= used


# Calls that read or write text, and how many arguments they have with an encoding.
TEXTS = {"read_text": 1, "write_text": 2}


def test_texts_have_an_encoding():
    """Else it is that of the locale, and names that are not ASCII fail in some."""
    wrong = [
        f"{name}:{call.lineno}"
        for name, path in modules().items()
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call)
        if isinstance(call.func, ast.Attribute) and call.func.attr in TEXTS
        if "encoding" not in {keyword.arg for keyword in call.keywords}
        if len(call.args) < TEXTS[call.func.attr]
    ]
    assert wrong == []


@pytest.mark.parametrize("name", [n for n in modules() if is_package(n)])
def test_faces_hold_what_they_name(name):
    """Each name of a stub is defined in the module that the stub takes it from."""
    for alias, (module, original) in face(name).items():
        assert alias == original
        assert module in modules(), f"{name} takes {alias} from {module}"
