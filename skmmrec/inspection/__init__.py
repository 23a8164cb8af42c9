"""Show what a recommender recommends, and why."""

from skmmrec._lazy import lazy_names

_NAMES = {
    "EmbeddingMapDisplay": "._embedding_map",
    "ExposureCurveDisplay": "._exposure_curve",
    "LossCurveDisplay": "._loss_curve",
    "ModalityAblationDisplay": "._ablation",
    "ModalityContributionDisplay": "._contribution_bars",
    "RankingCurveDisplay": "._ranking_curve",
    "RecommendationGalleryDisplay": "._gallery",
    "describe_html": "skmmrec.recommender._html",
    "explain": "._explanations",
    "history_contributions": "._history_contributions",
    "modality_contributions": "._contributions",
    "modality_shares": "._contributions",
    "nearest_in_history": "._explanations",
}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
