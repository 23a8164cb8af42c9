"""What an online store says of a publication in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from skmmrec import __version__

from ._errors import DamagedStoreError, StoreError

# Counts up with each change after which stores that were written before cannot be read.
FORMAT = 1


@dataclass(frozen=True)
class Snapshot:
    """One publication: the rows of one model, written at once.

    Attributes
    ----------
    number : int
        Counts the publications of a project, from 1. The rows of a publication are
        stored under it.
    version : str
        Model version.
    fingerprint : bytes
        Hash of the rows.
    event_us : int
        Event time of all rows, microseconds since the epoch.
    served_us : int
        Since when it is served, as `event_us`; 0 as long as it never was. Later than
        `event_us` after a rollback.
        A row that others write while it is served belongs to this publication if it
        has its version and a later event time.
    feedback : int
        Sequence number of the last event of feedback that the model has taken in.
    exponent : float or None
        A user is the sum of n item vectors over n to this power (None: is not).
    half_life : float or None
        After how many later items one counts half in the sum (None: never).
    memory_exponent : float or None
        What the number of a user's likes is raised to, by which the memory of items
        divides (None: the model has no memory).
    counts : dict
        How many entities each feature view has.
    checksums : dict
        Hash of the rows of each feature view, as `Checksum` makes it.
    """

    number: int
    version: str
    fingerprint: bytes
    event_us: int
    served_us: int
    feedback: int = 0
    exponent: float | None = None
    half_life: float | None = None
    memory_exponent: float | None = None
    counts: dict[str, int] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> str:
        """Write as JSON."""
        fields = {**asdict(self), "fingerprint": self.fingerprint.hex()}
        return json.dumps({**fields, "format": FORMAT}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Snapshot:
        """Undo `to_json`.

        Raises
        ------
        StoreError
            For a publication of another format, or with more in it than is known here.
        DamagedStoreError
            For what `to_json` has not written.
        """
        try:
            said = dict(json.loads(text))
            _refuse_others(said)
            return cls(**said | {"fingerprint": bytes.fromhex(said["fingerprint"])})
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedStoreError(
                f"the record of a publication is damaged and cannot be read ({error}): "
                "restore the store from a copy"
            ) from error

    def owns(self, version: str | None, event_us: int) -> bool:
        """Tell whether a row that was written beside the publication belongs to it.

        Rows of an earlier model do not, whoever brings them back: they have another
        version, or are no later than the publication.
        """
        return version == self.version and event_us > self.served_us


def _refuse_others(said: dict[str, Any]) -> None:
    """Take the format out of a record; refuse what another version has written.

    Who left a field out that is new would serve, or write back, something else.
    """
    number = said.pop("format", None)
    if number != FORMAT:
        raise StoreError(
            f"publication {said.get('number')} is of format {number!r}, and "
            f"skmmrec {__version__} reads format {FORMAT}: use the version that "
            "published it, or publish to an empty store"
        )
    known = {each.name for each in fields(Snapshot)}
    unknown = sorted(said.keys() - known)
    if unknown and known <= said.keys():
        raise StoreError(
            f"publication {said.get('number')} has {', '.join(unknown)}, which skmmrec "
            f"{__version__} does not know: use the version that published it, or a "
            "later one"
        )
