"""What an online store says of the model in it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Snapshot:
    """What is served, or being staged.

    Attributes
    ----------
    version : str
        Model version.
    fingerprint : bytes
        Hash of the rows.
    event_us : int
        Event time of all rows, microseconds since the epoch.
    exponent : float or None
        A user is the sum of n item vectors over n to this power (None: is not).
    half_life : float or None
        After how many later items one counts half in the sum (None: never).
    """

    version: str
    fingerprint: bytes
    event_us: int
    exponent: float | None = None
    half_life: float | None = None
