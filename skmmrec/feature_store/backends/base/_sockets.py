"""Connections to servers that end when nobody answers any more."""

from __future__ import annotations

import socket

# Seconds without traffic after which the other side is asked whether it is there, and
# again each few. Firewalls and load balancers forget connections that are silent for a
# minute or more, without a word to either side.
KEEPALIVE_IDLE, KEEPALIVE_INTERVAL = 30, 5
# Seconds that what was sent may stay without a receipt, as long as a service has for an
# answer. By themselves, systems try for a quarter of an hour. The receipt comes from
# the other system, so that a server may take its time for an answer.
UNANSWERED = 10

_SETTINGS = {
    "TCP_KEEPIDLE": KEEPALIVE_IDLE,
    "TCP_KEEPINTVL": KEEPALIVE_INTERVAL,
    "TCP_USER_TIMEOUT": 1000 * UNANSWERED,
}


def tcp_options() -> dict[int, int]:
    """Return options of a TCP socket, beside ``SO_KEEPALIVE``, that this system has."""
    return {
        getattr(socket, name): value
        for name, value in _SETTINGS.items()
        if hasattr(socket, name)
    }
