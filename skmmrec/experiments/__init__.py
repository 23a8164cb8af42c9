"""Try recommenders on users: A/B tests, interleaving and estimates from logs."""

from skmmrec._lazy import lazy_names

_NAMES = {
    "InterleavingResult": "._interleaving",
    "OffPolicyEstimate": "._off_policy",
    "SequentialResult": "._sequential",
    "assign_arm": "._assignment",
    "compare_interleaved": "._interleaving",
    "off_policy_value": "._off_policy",
    "recommendation_policy": "._off_policy",
    "sample_size": "._power",
    "sequential_test": "._sequential",
    "team_draft": "._interleaving",
}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
