"""Metrics of ranked lists, per user and beyond accuracy."""

from skmmrec._lazy import lazy_names

_NAMES = {
    "auc_at_k": "._ranking",
    "average_precision_at_k": "._ranking",
    "catalog_coverage": "._beyond",
    "compare": "._evaluation",
    "evaluate_ranking": "._evaluation",
    "f1_at_k": "._ranking",
    "get_scorer": "._scorers",
    "get_scorer_names": "._scorers",
    "gini_exposure": "._beyond",
    "graded_ndcg_at_k": "._ranking",
    "hit_rate_at_k": "._ranking",
    "intra_list_diversity": "._beyond",
    "make_ranking_scorer": "._scorers",
    "ndcg_at_k": "._ranking",
    "novelty": "._beyond",
    "popularity_bias": "._beyond",
    "precision_at_k": "._ranking",
    "ranked_relevance": "._relevance",
    "recall_at_k": "._ranking",
    "reciprocal_rank_at_k": "._ranking",
    "relevance_from_scores": "._relevance",
}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
