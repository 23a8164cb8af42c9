"""Who may ask: bearer tokens and what they are good for."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from ._settings import ServiceSettings

Role = Literal["read", "write"]

_LINE = re.compile(r"(?P<name>[\w.@-]+):(?P<role>read|write):(?P<token>[\w.~+/=-]+)")
# Characters of a token: 16 from an alphabet of 64 are 96 bits, which nobody guesses.
_SHORTEST = 16


class Caller(NamedTuple):
    """Whom a token belongs to, and what it is good for."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Tell whether this is allowed: who may write may read."""
        return role in ("read", self.role)


class Tokens:
    """Tokens, of which hashes are kept.

    Parameters
    ----------
    lines : iterable of str
        ``name:role:token``; empty ones and those that begin with ``#`` do not count.
    where : str
        What errors call the source. They never show a line.

    Raises
    ------
    ValueError
        For a line of another form, a token that is short or comes twice.
    """

    def __init__(self, lines: Iterable[str], where: str) -> None:
        self._callers: dict[bytes, Caller] = {}
        for number, line in enumerate(lines, start=1):
            text = line.strip()
            if text and not text.startswith("#"):
                self._add(text, f"{where}, entry {number}")

    def _add(self, text: str, where: str) -> None:
        found = _LINE.fullmatch(text)
        if found is None:
            raise ValueError(
                f"{where} must be name:role:token, with the role read or write, and a "
                "token of letters, digits and -._~+/="
            )
        if len(found["token"]) < _SHORTEST:
            raise ValueError(
                f"the token in {where} has fewer than {_SHORTEST} characters; make one "
                "by: python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        digest = _hash(found["token"])
        if digest in self._callers:
            raise ValueError(f"{where} has a token that was there before")
        role: Role = "write" if found["role"] == "write" else "read"
        self._callers[digest] = Caller(found["name"], role)

    def __len__(self) -> int:
        return len(self._callers)

    def find(self, header: str | None) -> Caller | None:
        """Return whose token an Authorization header has; None for nobody's.

        Hashes are compared, all of them and in constant time, so that the time an
        answer takes tells nothing of the tokens.
        """
        scheme, _, token = (header or "").partition(" ")
        given, found = _hash(token.strip()), None
        for digest, caller in self._callers.items():
            if hmac.compare_digest(digest, given):
                found = caller
        return found if scheme.lower() == "bearer" else None


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def read_tokens(settings: ServiceSettings) -> Tokens | None:
    """Read the tokens of settings; None where there are none to be asked for.

    Raises ValueError for a file without a token, or as `Tokens` does; OSError for a
    file that cannot be read.
    """
    if settings.tokens_file is None and settings.tokens is None:
        return None
    lines: list[str] = []
    where = "tokens"
    if settings.tokens_file is not None:
        where = str(settings.tokens_file)
        lines += settings.tokens_file.read_text("utf-8").splitlines()
    if settings.tokens is not None:
        lines += settings.tokens.get_secret_value().split(",")
    tokens = Tokens(lines, where)
    if not len(tokens):
        raise ValueError(f"{where} holds no token, so that nobody could ask")
    return tokens
