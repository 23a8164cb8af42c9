"""What a server logs by which level."""

import json
import logging
import logging.config

import pytest

from skmmrec.service._logs import log_config


@pytest.fixture(autouse=True)
def loggers_as_they_were(monkeypatch):
    """Nothing of a configuration stays for other tests."""
    for name in ("skmmrec", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        kept = {"handlers": [], "filters": [], "propagate": True, "disabled": False}
        for attribute, value in {**kept, "level": logger.level}.items():
            monkeypatch.setattr(logger, attribute, value)
    yield
    logging.getLogger("uvicorn").manager._clear_cache()


@pytest.mark.parametrize(
    ("level", "wanted"),
    [
        ("debug", ["detail", "Started", "Uvicorn running on http://[::1]:8", "slow"]),
        ("info", ["Started", "Uvicorn running on http://[::1]:8", "slow"]),
        ("warning", ["Uvicorn running on http://[::1]:8", "slow"]),
        ("error", ["Uvicorn running on http://[::1]:8"]),
    ],
)
def test_where_a_server_listens_is_told_at_every_level(capsys, level, wanted):
    logging.config.dictConfig(log_config(level))
    server = logging.getLogger("uvicorn.error")
    server.debug("detail")
    server.info("Started")
    server.info("Uvicorn running on %s://[%s]:%d", "http", "::1", 8)
    server.warning("slow")
    logging.getLogger("uvicorn.error").log(logging.DEBUG - 5, "trace")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["message"] for line in lines] == wanted
