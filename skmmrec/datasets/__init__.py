"""Generated catalogues with known tastes, and loaders of local data sets."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
