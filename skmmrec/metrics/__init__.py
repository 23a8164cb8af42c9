"""Ranking metrics over ranked lists of relevance."""

from skmmrec._lazy import lazy_names

_NAMES = {
    "ndcg_at_k": "._ranking",
    "recall_at_k": "._ranking",
}
__all__ = sorted(_NAMES)  # noqa: PLE0605
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
