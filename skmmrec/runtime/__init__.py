"""What encoders, preprocessing and language models run on.

Columns of raw content, files, pictures and sounds; devices, memory and threads; the
engine that takes distinct items through a model; weights, hashes and the cache. It is
offered to those rooms, and to encoders of your own. Names are resolved when first used.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
