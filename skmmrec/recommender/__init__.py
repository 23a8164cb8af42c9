"""The recommender as a scikit-learn estimator, and the rankers it is measured by."""

from skmmrec._lazy import lazy_names

_NAMES = {
    "ApproximateIndex": "._index",
    "EASERecommender": "._linear",
    "GraphDiffusionRecommender": "._walks",
    "HistoryRecommender": "._baselines",
    "ImplicitALSRecommender": "._factorization",
    "ItemKNNRecommender": "._neighbors",
    "MultimodalFusionRecommender": "._estimator",
    "PopularityRecommender": "._baselines",
    "RandomWalkRecommender": "._walks",
    "ServingVectors": "._serving",
    "UserKNNRecommender": "._neighbors",
    "cap_exposure": "._reranking",
    "quantize_int8": "._compression",
    "reduce_dimensions": "._compression",
    "rerank_mmr": "._reranking",
}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
