"""Items and their content: a table, an encoder, and one block per modality."""

from lazy_loader import attach_stub

_NAMES = {"Blocks": "._blocks", "ItemCatalog": "._catalog"}
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
