"""Split interactions the way a recommender meets them."""

from skmmrec._lazy import lazy_names

_NAMES = {
    "ColdItemSplit": "._random",
    "ColdUserSplit": "._random",
    "LeaveLastOut": "._time",
    "RandomHoldoutPerUser": "._random",
    "TimeSplit": "._time",
    "UserKFold": "._random",
    "recommend": "._recommend",
}
__all__ = sorted(_NAMES)
__getattr__, __dir__ = lazy_names(__name__, _NAMES)
