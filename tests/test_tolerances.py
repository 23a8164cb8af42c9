"""How the tests compare floats."""

import ast
from pathlib import Path

TESTS = Path(__file__).parent
ABSOLUTE = {
    "assert_allclose": "atol",
    "allclose": "atol",
    "isclose": "atol",
    "assert_close": "atol",
    "approx": "abs",
}
FRAMES = {"assert_frame_equal", "assert_series_equal"}


def lacks_absolute_tolerance(call):
    """Whether a call compares floats up to a share of their size only.

    Frames may be compared as they come, for the claim that they are the same; who names
    a relative tolerance for them has computed them in two ways.
    """
    name = getattr(call.func, "attr", getattr(call.func, "id", None))
    named = {keyword.arg for keyword in call.keywords}
    if name in FRAMES:
        return "rtol" in named and "atol" not in named
    return name in ABSOLUTE and ABSOLUTE[name] not in named


def offences(source):
    calls = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call))
    return sorted(call.lineno for call in calls if lacks_absolute_tolerance(call))


def test_every_comparison_of_floats_names_an_absolute_tolerance():
    """Processors round differently; next to zero that is more than any share."""
    found = {
        f"{path.relative_to(TESTS)}:{line}"
        for path in TESTS.rglob("*.py")
        for line in offences(path.read_text(encoding="utf-8"))
    }
    assert sorted(found) == []


def test_offences_are_found():
    source = """
np.testing.assert_allclose(a, b, rtol=1e-6)
np.testing.assert_allclose(a, b, atol=1e-6)
assert a == pytest.approx(b)
assert a == approx(b, abs=1e-6)
assert not np.allclose(a, b)
torch.testing.assert_close(a, b, rtol=0, atol=0)
pd.testing.assert_frame_equal(a, b)
pd.testing.assert_series_equal(a, b, rtol=1e-5)
"""
    assert offences(source) == [2, 4, 6, 9]
