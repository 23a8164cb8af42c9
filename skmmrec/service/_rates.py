"""How many requests each caller may make."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

# Callers that are remembered; those who have not asked for longest are forgotten, and
# then may make a burst again. 10,000 take 2 MB.
_REMEMBERED = 10_000


class RateLimit:
    """A bucket of tokens for each caller, which fills up at a steady rate.

    For use in one thread, such as that of an event loop.

    Parameters
    ----------
    rate : float
        Requests per second.
    burst : int
        Size of a bucket.
    clock : callable, default=time.monotonic
        Gives seconds.
    """

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        # When each bucket was looked at, and what it held then.
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str) -> float:
        """Take one request out of the caller's bucket.

        Returns 0 where there was one; else the seconds until there is, and then takes
        nothing.
        """
        now = self._clock()
        then, held = self._buckets.pop(caller, (now, float(self._burst)))
        held = min(float(self._burst), held + (now - then) * self._rate)
        missing = max(0.0, 1.0 - held)
        self._buckets[caller] = now, held if missing else held - 1.0
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return missing / self._rate
