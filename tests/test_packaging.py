"""What is installed is whole: every file belongs to a package, or is named as data."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "skmmrec"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PATTERNS = PROJECT["tool"]["setuptools"]["package-data"]["skmmrec"]


def files():
    """All files of the package but the byte code."""
    found = (path for path in PACKAGE.rglob("*") if path.is_file())
    return {path for path in found if "__pycache__" not in path.parts}


def test_modules_lie_in_packages():
    folders = {path.parent for path in files() if path.suffix == ".py"}
    assert len(folders) > 20
    assert not [path for path in folders if not (path / "__init__.py").exists()]


def test_other_files_are_installed_too():
    data = {path for pattern in PATTERNS for path in PACKAGE.glob(pattern)}
    others = {path for path in files() if path.suffix != ".py"}
    assert {path.suffix for path in others} >= {".css", ".md", ".pyi", ".txt"}
    assert not others - data


def test_every_pattern_finds_something():
    assert not [pattern for pattern in PATTERNS if not [*PACKAGE.glob(pattern)]]
