"""A page to look at a recommender: lists, reasons, comparisons, search."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
