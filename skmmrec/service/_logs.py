"""Logs as lines of JSON."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

# How uvicorn's message begins.
_LISTENING = "Uvicorn running on"


class JsonLines(logging.Formatter):
    """Write each record as one line: time, level, logger, message, and its fields.

    Fields are those of ``extra={"fields": {...}}``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class OfLevel(logging.Filter):
    """Let records of a level pass, and the one that tells where the server listens.

    Who starts a server wants to know that, however little else is logged.
    """

    def __init__(self, level: str) -> None:
        super().__init__()
        self._level = logging.getLevelNamesMapping()[level]

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record passes."""
        return record.levelno >= self._level or record.msg.startswith(_LISTENING)


def log_config(level: str) -> dict[str, Any]:
    """Return a configuration of `logging`: the service and its server, to stderr."""
    chosen = {"handlers": ["stderr"], "level": level.upper(), "propagate": False}
    least = min(level.upper(), "INFO", key=logging.getLevelNamesMapping().__getitem__)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": "skmmrec.service._logs.JsonLines"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
        "filters": {
            "of_level": {"()": "skmmrec.service._logs.OfLevel", "level": level.upper()}
        },
        "loggers": {
            "skmmrec": chosen,
            "uvicorn": chosen,
            # The level of a logger counts where a record comes in, and there alone.
            "uvicorn.error": {"level": least, "filters": ["of_level"]},
        },
    }
