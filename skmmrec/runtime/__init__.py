"""What encoders, preprocessing and language models run on.

It reads columns of raw content, files, pictures and sounds; manages devices, memory and
threads; runs distinct items through a model; and loads, hashes and caches. Encoders of
your own may use it as well. Names are resolved when first used.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
