import asyncio

import jwt
import pytest
import yaml
from feast.permissions import security_manager
from feast.permissions.action import AuthzedAction
from feast.permissions.auth import auth_manager
from feast.permissions.auth.token_parser import TokenParser
from feast.permissions.server.utils import (
    ServerType,
    init_auth_manager,
    init_security_manager,
    str_to_auth_manager_type,
)
from feast.permissions.user import User
from hypothesis import given, settings, strategies as st
from starlette.authentication import AuthenticationError

from skmmrec.feature_store import (
    _guard,
    embedding_definitions,
    embedding_permissions,
    guard_server,
    init_repo,
    open_store,
)


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    """Feast keeps what it knows of a server in two globals."""
    monkeypatch.setattr(security_manager, "_sm", None)
    monkeypatch.setattr(auth_manager, "_auth_manager", None)


@pytest.fixture
def verifies(monkeypatch):
    """Signatures could be verified, whatever is installed."""
    monkeypatch.setattr(_guard, "find_spec", lambda name: name)


def guarded(tmp_path, **auth):
    """Set up what `feast serve` sets up, then the guard; return the store."""
    repo = init_repo(tmp_path / "repo")
    path = repo / "feature_store.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "auth": auth}))
    store = open_store(repo)
    config = store.config.auth_config
    kind = str_to_auth_manager_type(config.type)
    init_security_manager(kind, store)
    init_auth_manager(ServerType.REST, kind, config)
    guard_server()
    return store


class _Believer(TokenParser):
    """Believe what a token says."""

    async def user_details_from_access_token(self, access_token):
        claims = jwt.decode(access_token, options={"verify_signature": False})
        return User(claims.get("sub", ""), [])


SETTINGS = {
    "type": "oidc",
    "auth_discovery_url": "http://provider",
    "issuer": "http://provider",
    "audience": "feast",
}


def unsigned(**claims):
    return jwt.encode(claims, None, "none")


def details(parser, token):
    return asyncio.run(parser.user_details_from_access_token(token))


@pytest.mark.usefixtures("verifies")
@pytest.mark.parametrize("name", ["auth_discovery_url", "issuer", "audience"])
@pytest.mark.parametrize("value", ["", "${NOT_SET_ANYWHERE}", "$NOT_SET", None])
def test_settings_that_let_others_in_are_refused(tmp_path, name, value):
    auth = {**SETTINGS, name: value}
    if value is None:
        del auth[name]
    with pytest.raises(SystemExit, match=rf"auth\.{name} in feature_store.yaml is"):
        guarded(tmp_path, **auth)


def test_without_a_way_to_verify_signatures_nothing_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(_guard, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install 'skmmrec\[auth\]'"):
        guarded(tmp_path, **SETTINGS)


def test_without_authentication_the_guard_does_nothing(tmp_path):
    guarded(tmp_path, type="no_auth")
    assert security_manager.get_security_manager() is None
    assert type(auth_manager.get_auth_manager()) is auth_manager.AllowAll


def test_a_server_that_knows_no_tokens_does_not_start(tmp_path):
    store = open_store(init_repo(tmp_path / "repo"))
    init_security_manager(str_to_auth_manager_type("oidc"), store)
    with pytest.raises(SystemExit, match="AuthManager is not initialized"):
        guard_server()


@pytest.mark.usefixtures("verifies")
def test_no_permissions_are_none_granted(tmp_path):
    """And those of another project are not asked for."""
    store = guarded(tmp_path, **SETTINGS)
    security = security_manager.get_security_manager()
    security.set_current_user(User("somebody", ["reader"]))
    view = embedding_definitions(2).item_embeddings
    asked = ([view], [AuthzedAction.READ_ONLINE])
    with pytest.raises(PermissionError, match="run `feast apply`"):
        security.assert_permissions(*asked)
    store.apply(embedding_permissions(embedding_definitions(2)))
    token = security.set_current_project("another")
    assert security.assert_permissions(*asked) == [view]
    security.set_current_user(User("somebody", ["other"]))
    with pytest.raises(PermissionError, match="Requires roles"):
        security.assert_permissions(*asked)
    security.reset_current_project(token)


CLAIMS = st.dictionaries(
    st.sampled_from(["sub", "aud", "roles", "EXP", "expires", "nbf", "iat"]),
    st.one_of(st.none(), st.text(max_size=5), st.integers(), st.just(["reader"])),
)


@settings(max_examples=50)
@given(claims=CLAIMS)
def test_a_token_without_exp_is_refused_whatever_else_it_says(claims):
    parser = _guard._StrictParser(_Believer(), needs_expiry=True)
    with pytest.raises(AuthenticationError, match="no exp claim"):
        details(parser, unsigned(**claims))
    claims = {**claims, "sub": "somebody", "exp": 1}
    assert details(parser, unsigned(**claims)).username == "somebody"


def test_service_accounts_of_kubernetes_need_no_expiry(tmp_path, monkeypatch):
    store = open_store(init_repo(tmp_path / "repo"))
    init_security_manager(str_to_auth_manager_type("kubernetes"), store)
    auth_manager.set_auth_manager(auth_manager.AuthManager(_Believer(), None))
    guard_server()
    parser = auth_manager.get_auth_manager().token_parser
    assert details(parser, unsigned(sub="account")).username == "account"
    monkeypatch.setenv("INTRA_COMMUNICATION_BASE64", "account")
    with pytest.raises(AuthenticationError, match="names a server"):
        details(parser, unsigned(sub="account"))
