"""Memory of items: which item of a history speaks for which others, as short lists."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
