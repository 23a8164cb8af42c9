"""Large language models in the loop, on local weights.

Nothing here calls a service; to use one, pass a function that calls it. Names are
resolved when first used: importing this package loads no model library.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
