"""Encode whole catalogues into parquet, in one process or on Ray or Spark."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
