"""Preprocessing: change one raw column before an encoder.

Input and output of each transformer are what the encoder of that content accepts. Names
are resolved when first used.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
