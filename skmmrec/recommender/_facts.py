"""What a model card tells of a fit that nothing else in the model does."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from skmmrec import __version__
from skmmrec.catalog import ItemCatalog, modality_origins
from skmmrec.interactions import RandomState, date_of_number

Period: TypeAlias = list[str] | list[float] | None

# The libraries on which results depend most.
_LIBRARIES = (
    "torch", "numpy", "scipy", "scikit-learn", "pandas", "sentence-transformers",
    "transformers", "open-clip-torch", "timm", "panns-inference",
)  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """What was given to a fit, when, and by which versions.

    Attributes
    ----------
    fitted : str
        Date and time in UTC, by ISO 8601.
    n_rows : int
        Rows of interactions given to `fit` and `partial_fit`.
    period : list of two, or None
        Times of the first and the last of them: dates in UTC, or numbers where these
        are no dates. None: there were none, or of several kinds.
    seed : int or None
        The number that was given; None: another kind of seed, or none.
    versions : dict of str to str
        Of libraries.
    origins : dict of str to dict
        By modality, as `skmmrec.catalog.modality_origins` describes them; empty where
        the content came encoded.
    """

    fitted: str
    n_rows: int
    period: Period
    seed: int | None
    versions: dict[str, str] = field(default_factory=dict)
    origins: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def of_fit(
        cls, n_rows: int, times: NDArray | None, random_state: RandomState
    ) -> Self:
        """Note what a fit was given."""
        seed = None
        if isinstance(random_state, int | np.integer):
            seed = int(random_state)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(now, n_rows, period_of(times), seed, versions())

    def with_rows(self, n_rows: int, times: NDArray | None) -> Self:
        """Note what a `partial_fit` was given."""
        periods = [self.period, period_of(times)]
        return replace(self, n_rows=self.n_rows + n_rows, period=_joined(periods))

    def with_origins(self, catalog: ItemCatalog | None) -> Self:
        """Note how the content was encoded, where that can be told."""
        if catalog is None or self.origins:
            return self
        return replace(self, origins=modality_origins(catalog))


def period_of(times: NDArray | None) -> Period:
    """First and last time: as dates, where they are dates or count from 1970."""
    if times is None or not len(times):
        return None
    ends = [times.min(), times.max()]
    if isinstance(ends[0], np.datetime64):
        return [str(end.astype("datetime64[D]")) for end in ends]
    if isinstance(ends[0], np.timedelta64):
        return [float(end / np.timedelta64(1, "D")) for end in ends]
    numbers = [float(end) for end in ends]
    dates = [day for day in map(date_of_number, numbers) if day is not None]
    return dates if len(dates) == len(numbers) else numbers


def _joined(periods: list[Period]) -> Period:
    ends: list[Any] = [
        end for period in periods if period is not None for end in period
    ]
    if not ends or len({type(end) for end in ends}) > 1:
        return None
    return [min(ends), max(ends)]


def versions() -> dict[str, str]:
    """Return the versions of this package and of those on which numbers depend."""
    return dict(_installed())


# Reading what is installed takes some 25 ms, as long as a small fit does.
@lru_cache(maxsize=1)
def _installed() -> dict[str, str]:
    found = {"skmmrec": __version__, "python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
