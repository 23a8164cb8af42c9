"""Show what a recommender recommends, and why."""

from skmmrec._lazy import lazy_names

_NAMES = {
    "RecommendationGalleryDisplay": "._gallery",
}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
