"""Print what to install without Feast, which asks for a pandas below 3.

``python .ci/without_feast.py requirements`` prints what the package and its tests need;
``constraints``, the versions of constraints.txt, but that of pandas.
"""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEFT_OUT = ("feast", "pandas")


def name_of(requirement: str) -> str:
    """Return the name of the package alone."""
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower()


def expand(requirements: list[str], extras: dict[str, list[str]]) -> list[str]:
    """Put in what the project's own extras stand for."""
    found: list[str] = []
    for requirement in requirements:
        if name_of(requirement) == "skmmrec":
            for extra in requirement.partition("[")[2].rstrip("]").split(","):
                found += expand(extras[extra], extras)
        else:
            found.append(requirement)
    return found


def requirements() -> list[str]:
    """List the packages, with what pyproject.toml says of their versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = [*project["dependencies"], "skmmrec[dev]"]
    every = expand(every, project["optional-dependencies"])
    return [*(each for each in every if name_of(each) not in LEFT_OUT), "pandas>=3,<4"]


def constraints() -> list[str]:
    """List the versions that the tests were last run with."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if name_of(line) not in LEFT_OUT]


if __name__ == "__main__":
    lists = {"requirements": requirements, "constraints": constraints}
    print("\n".join(lists[sys.argv[1]]()))
