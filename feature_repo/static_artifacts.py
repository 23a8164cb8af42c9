"""What `feast serve` runs before it answers: where `auth` is configured, strictness.

Without this file, tokens need not expire and `?project=` gets around permissions.
"""

from pathlib import Path

from fastapi import FastAPI

from skmmrec.feature_store import guard_server


def load_artifacts(app: FastAPI) -> None:
    """Refuse what Feast would let through."""
    guard_server(Path(__file__).parent)
