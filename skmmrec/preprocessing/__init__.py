"""Preprocessing: one raw column in, one raw column out, before an encoder.

Every transformer takes what the encoder of its content takes, and returns what that
encoder takes. Names are resolved when first used.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
