"""Show what a recommender recommends, and why."""

from skmmrec._lazy import lazy_names

_NAMES = {
    "RecommendationGalleryDisplay": "._gallery",
    "modality_contributions": "._contributions",
    "modality_shares": "._contributions",
}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
