"""Encoders turn one column of raw content into a float32 matrix.

Each encoder is a scikit-learn transformer around a pretrained model. Names are
resolved when first used: importing this package loads no model library.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
