"""Multimodal recommenders as scikit-learn estimators, served from Feast.

Names are resolved when first used: importing this package loads neither torch nor
any of the encoder or feature-store libraries.
"""

from lazy_loader import attach_stub

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
