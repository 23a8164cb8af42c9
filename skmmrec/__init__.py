"""Multimodal recommenders as scikit-learn estimators, served from Feast.

Names are resolved when first used: importing this package loads neither torch nor
any of the encoder or feature-store libraries.
"""

import logging

from lazy_loader import attach_stub

__version__ = "0.1.0"

# Nothing is shown unless the program asks for it: see `docs/guide/watching.md`.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
