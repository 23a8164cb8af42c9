"""Split interactions into rows to train and to test on; compare encoders by them."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
