"""From problems that the service tells to the errors that the store would raise."""

from __future__ import annotations

from typing import Any

from skmmrec.feature_store import (
    BusyStoreError,
    DamagedStoreError,
    FullStoreError,
    ReadOnlyStoreError,
    UnknownIdError,
)

from ._kinds import PREFIX

_ERRORS: dict[str, type[Exception]] = {
    "unknown-id": UnknownIdError,
    "invalid-value": ValueError,
    "invalid-type": TypeError,
    "too-large": ValueError,
    "unauthorized": PermissionError,
    "forbidden": PermissionError,
    "not-published": LookupError,
    "busy": BusyStoreError,
    "read-only": ReadOnlyStoreError,
    "full": FullStoreError,
    "damaged": DamagedStoreError,
    "slow": TimeoutError,
    "deadline": TimeoutError,
    "unreachable": ConnectionError,
}


class ServiceError(RuntimeError):
    """The service gave an answer that `OnlineRecommender` has no error for.

    Attributes
    ----------
    status : int
        The status of the answer.
    request_id : str or None
        What the service's log calls the request.
    """

    def __init__(self, message: str, status: int, request_id: str | None) -> None:
        super().__init__(message)
        self.status, self.request_id = status, request_id


def error_of(status: int, body: Any, request_id: str | None) -> Exception:
    """Make the error that an answer stands for."""
    told = body if isinstance(body, dict) else {}
    kind = str(told.get("type", "")).removeprefix(PREFIX)
    detail = str(told.get("detail") or f"status {status} from the service")
    if kind in _ERRORS:
        error = _ERRORS[kind](detail)
    else:
        error = ServiceError(detail, status, request_id)
    error.add_note(f"status {status}, request id {request_id}")
    return error
