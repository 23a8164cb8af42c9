"""What every engine, and whoever publishes to one or reads from it, builds on.

A room of its own, so that an engine imports nothing of the others.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
