"""Try out recommenders on users: A/B tests, interleaving, estimates from logs."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
