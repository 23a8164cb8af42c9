"""The profile of `tests/conftest.py` says which examples are tried, for all tests."""

import re
from pathlib import Path

from hypothesis import settings

TESTS = Path(__file__).parent
# In a call of hypothesis' `settings`, however long it is.
OWN = re.compile(r"settings\([^()]*\b(derandomize|deadline)=(True|None)")


def test_no_test_says_again_what_the_profile_says():
    files = [*TESTS.rglob("*.py")]
    assert len(files) > 100
    found = [path.name for path in files if OWN.search(path.read_text())]
    assert found == []


def test_the_profile_repeats_its_examples():
    profile = settings.get_profile("repeatable")
    assert profile.derandomize
    assert profile.deadline is None
