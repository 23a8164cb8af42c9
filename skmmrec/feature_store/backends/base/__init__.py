"""What all engines share, and what publishing and serving use of them.

It stands apart so that no engine imports another.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
