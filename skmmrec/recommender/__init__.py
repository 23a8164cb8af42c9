"""The recommender as a scikit-learn estimator, and the rankers it is measured by."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
