"""Conformance tests for encoders, fusions and recommenders of your own.

Each class is a set of pytest tests of what the rest of the package relies on. Subclass
it in a test module under a name that begins with ``Test``, and override the fixture
that returns the object to test. Needs pytest.
"""

from lazy_loader import attach_stub

try:
    import pytest
except ImportError as error:
    raise ImportError(
        "skmmrec.testing needs pytest: pip install 'skmmrec[testing]'"
    ) from error

for _module in ("_encoders", "_fusion", "_recommenders"):
    pytest.register_assert_rewrite(f"{__name__}.{_module}")
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
