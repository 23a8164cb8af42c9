"""Publish fused vectors to a Feast store and recommend from that store alone.

Feast is imported when one of these names is first used, not before.
"""

from lazy_loader import attach_stub

from ._environment import leave_folder_of_parent

leave_folder_of_parent()  # Feast reads it when it is imported
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
