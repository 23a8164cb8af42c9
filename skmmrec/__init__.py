"""Multimodal recommenders as scikit-learn estimators, served from Feast.

Names are resolved when first used: importing this package loads neither torch nor
any of the encoder or feature-store libraries.
"""

from skmmrec._lazy import lazy_names

__version__ = "0.1.0"

_NAMES = {
    "AudioEncoder": ".encoders",
    "ImageEncoder": ".encoders",
    "ItemCatalog": ".catalog",
    "MultimodalEncoder": ".encoders",
    "MultimodalFusionRecommender": ".recommender",
    "TextEncoder": ".encoders",
    "VideoEncoder": ".encoders",
}
__all__ = [*sorted(_NAMES), "__version__"]
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
