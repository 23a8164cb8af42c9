"""The recommender as a scikit-learn estimator, and the rankers it is measured by."""

from skmmrec._lazy import lazy_names

_NAMES = {
    "ItemKNNRecommender": "._baselines",
    "MultimodalFusionRecommender": "._estimator",
    "PopularityRecommender": "._baselines",
    "ServingVectors": "._serving",
}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
