"""What `feast serve` runs before it answers: where `auth` is configured, strictness.

Without this file, tokens need not expire and `?project=` gets around permissions.
"""

from fastapi import FastAPI

try:
    from skmmrec.feature_store import guard_server
except ImportError as error:
    # Feast would log the error and go on without the guard.
    raise SystemExit(f"feast serve is not safe to start: {error}") from error


def load_artifacts(app: FastAPI) -> None:
    """Refuse what Feast would let through, and tell of rows that it cannot take."""
    guard_server(app)
