"""A second stage: rank the candidates of a recommender anew, by features."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
