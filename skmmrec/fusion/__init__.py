"""Torch modules that turn the blocks of several modalities into one vector.

They know no ids and no tables: a list of ``(n, d_m)`` tensors and an ``(n, m)`` mask of
what is present go in, an ``(n, dim)`` tensor comes out.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
