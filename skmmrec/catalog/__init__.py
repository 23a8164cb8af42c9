"""Items and their content: a table, an encoder, one float32 block per modality."""

from skmmrec._lazy import lazy_names

_NAMES = {"Blocks": "._blocks", "ItemCatalog": "._catalog"}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
