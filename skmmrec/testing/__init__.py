"""Conformance tests for encoders, fusions and recommenders of your own.

Each class here is a set of pytest tests of what the rest of the package relies on.
Subclass it in a test module under a name that begins with ``Test``, and say by a
fixture what is to be tested. Needs pytest.
"""

from skmmrec._lazy import lazy_names

try:
    import pytest
except ImportError as error:
    raise ImportError(
        "skmmrec.testing needs pytest: pip install 'skmmrec[testing]'"
    ) from error

_NAMES = {
    "EncoderTests": "._encoders",
    "FusionTests": "._fusion",
    "RecommenderTests": "._recommenders",
}
pytest.register_assert_rewrite(*(f"{__name__}{module}" for module in _NAMES.values()))
__all__ = [*sorted(_NAMES)]
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
