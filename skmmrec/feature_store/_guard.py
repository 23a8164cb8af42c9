"""What Feast's server with authentication lets through, refused.

Feast 0.67 takes tokens without an expiry, grants everything while no permission is
registered, and asks for the permissions of whatever project a request names.
"""

from __future__ import annotations

import os
from contextvars import Token
from importlib.util import find_spec

import jwt
from feast.errors import FeastPermissionError
from feast.permissions.auth.auth_manager import (
    AuthManager,
    get_auth_manager,
    set_auth_manager,
)
from feast.permissions.auth.oidc_token_parser import OidcTokenParser
from feast.permissions.auth.token_parser import TokenParser
from feast.permissions.auth_model import OidcAuthConfig
from feast.permissions.permission import Permission
from feast.permissions.security_manager import (
    SecurityManager,
    get_security_manager,
    set_security_manager,
)
from feast.permissions.user import User
from starlette.applications import Starlette
from starlette.authentication import AuthenticationError

from ._mistakes import answer_mistakes

# Settings without which tokens made by others, or for others, would pass.
_NEEDED = ("auth_discovery_url", "issuer", "audience")
# Feast believes an unsigned token that names what this variable holds.
_TRUSTED_NAME = "INTRA_COMMUNICATION_BASE64"


def guard_server(app: Starlette | None = None) -> None:
    """Make `feast serve` as strict as its configuration reads.

    ``static_artifacts.py`` of a repository calls it in every process of the server,
    before the first request.

    Parameters
    ----------
    app : fastapi.FastAPI, optional
        Feast's server, which then answers rows that it cannot take with status 422 and
        the reason: vectors of another length or type, missing columns, times that are
        none. By itself it answers 500.

    Raises
    ------
    SystemExit
        When tokens cannot be checked so: with OpenID Connect and without an issuer, an
        audience or the package that verifies signatures. The server does not start
        then; Feast would go on after any other error.

    Notes
    -----
    Without authentication that is all. With it:

    - A token of OpenID Connect without ``exp`` is refused.
    - Permissions are those of the project that is served, whatever the request names.
    - While none is registered, nobody may do anything.
    - A token that names the secret by which Feast's servers know each other
      (``INTRA_COMMUNICATION_BASE64``) is refused: Feast does not check its signature.
    """
    try:
        _guard()
    except Exception as error:
        raise SystemExit(f"feast serve is not safe to start: {error}") from error
    if app is not None:
        answer_mistakes(app)


def _guard() -> None:
    security = get_security_manager()
    if security is None:  # no authentication
        return
    known = get_auth_manager()
    parser = known.token_parser
    needs_expiry = False  # Kubernetes' older tokens never expire; it can revoke them
    if isinstance(parser, OidcTokenParser):
        _check(parser._auth_config)
        needs_expiry = True
    strict = _StrictParser(parser, needs_expiry)
    set_auth_manager(AuthManager(strict, known.token_extractor))
    set_security_manager(_OwnPermissions(security))


def _check(config: OidcAuthConfig) -> None:
    for name in _NEEDED:
        value = getattr(config, name)
        if not value or "$" in value:
            raise ValueError(
                f"auth.{name} in feature_store.yaml is {value!r}: write it there, or "
                "set the environment variable that it names"
            )
    if find_spec("cryptography") is None:
        raise ImportError(
            "signatures of tokens cannot be verified: pip install 'skmmrec[auth]'"
        )


class _StrictParser(TokenParser):
    """Refuse tokens that never expire or that name a server; ask Feast of the rest."""

    def __init__(self, parser: TokenParser, needs_expiry: bool) -> None:
        self._parser = parser
        self._needs_expiry = needs_expiry

    async def user_details_from_access_token(self, access_token: str) -> User:
        # Feast verifies the signature over these same claims.
        claims = jwt.decode(access_token, options={"verify_signature": False})
        if self._needs_expiry and "exp" not in claims:
            raise AuthenticationError("the token has no exp claim")
        user = await self._parser.user_details_from_access_token(access_token)
        if user.username == os.getenv(_TRUSTED_NAME):
            raise AuthenticationError("the token names a server of Feast")
        return user


class _OwnPermissions(SecurityManager):
    """Permissions of the project that is served; none registered is none granted."""

    def __init__(self, known: SecurityManager) -> None:
        super().__init__(project=known._project, registry=known._registry)

    def set_current_project(self, project: str | None) -> Token[str | None]:
        """Forget which project the request names: it may be one that grants all."""
        return super().set_current_project(None)

    @property
    def permissions(self) -> list[Permission]:
        """Permissions that are registered now."""
        found: list[Permission] = super().permissions
        if not found:
            raise FeastPermissionError(
                "no permissions are registered, so nobody may do anything: put those "
                "of embedding_permissions into the definitions and run `feast apply`"
            )
        return found
