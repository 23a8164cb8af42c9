"""Recommendations over HTTP: a service over a published repository, and its client.

The server needs the extra ``service``; the client needs nothing but `requests`.
"""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
