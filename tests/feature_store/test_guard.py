import asyncio

import jwt
import pytest
import yaml
from feast.permissions.action import AuthzedAction
from feast.permissions.auth import auth_manager
from feast.permissions.auth.token_parser import TokenParser
from feast.permissions.user import User
from hypothesis import given, settings, strategies as st

from skmmrec.feature_store import (
    _guard,
    embedding_definitions,
    embedding_permissions,
    guard_server,
    init_repo,
    open_store,
)


def guarded(tmp_path, monkeypatch, **auth):
    """Call the guard on a repository with these settings; return what it set."""
    repo = init_repo(tmp_path / "repo")
    path = repo / "feature_store.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "auth": auth}))
    set_to = {}
    monkeypatch.setattr(
        _guard, "get_auth_manager", lambda: auth_manager.AuthManager(_Believer(), "x")
    )
    monkeypatch.setattr(_guard, "set_auth_manager", lambda m: set_to.update(auth=m))
    monkeypatch.setattr(
        _guard, "set_security_manager", lambda m: set_to.update(security=m)
    )
    monkeypatch.setattr(_guard, "find_spec", lambda name: name)
    guard_server(repo)
    return set_to


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


@pytest.mark.parametrize("name", ["auth_discovery_url", "issuer", "audience"])
@pytest.mark.parametrize("value", ["", "${NOT_SET_ANYWHERE}", "$NOT_SET", None])
def test_settings_that_let_others_in_are_refused(tmp_path, monkeypatch, name, value):
    auth = {
        key: text for key, text in {**SETTINGS, name: value}.items() if text is not None
    }
    with pytest.raises(SystemExit, match=rf"auth\.{name} in feature_store.yaml is"):
        guarded(tmp_path, monkeypatch, **auth)


def test_without_a_way_to_verify_signatures_nothing_starts(tmp_path, monkeypatch):
    guarded(tmp_path, monkeypatch, **SETTINGS)
    monkeypatch.setattr(_guard, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install 'skmmrec\[auth\]'"):
        guard_server(tmp_path / "repo")


def test_without_authentication_the_guard_does_nothing(tmp_path, monkeypatch):
    assert guarded(tmp_path, monkeypatch, type="no_auth") == {}


def test_a_server_that_feast_did_not_set_up_does_not_start(tmp_path, monkeypatch):
    guarded(tmp_path, monkeypatch, **SETTINGS)
    monkeypatch.setattr(_guard, "get_auth_manager", auth_manager.get_auth_manager)
    monkeypatch.setattr(auth_manager, "_auth_manager", None)
    with pytest.raises(SystemExit, match="AuthManager is not initialized"):
        guard_server(tmp_path / "repo")


def test_no_permissions_are_none_granted(tmp_path, monkeypatch):
    security = guarded(tmp_path, monkeypatch, **SETTINGS)["security"]
    security.set_current_user(User("somebody", ["reader"]))
    view = embedding_definitions(2).item_embeddings
    with pytest.raises(PermissionError, match="run `feast apply`"):
        security.assert_permissions([view], [AuthzedAction.READ_ONLINE])
    store = open_store(tmp_path / "repo")
    store.apply(embedding_permissions(embedding_definitions(2)))
    security.set_current_project("another")
    assert security.assert_permissions([view], [AuthzedAction.READ_ONLINE]) == [view]
    security.set_current_user(User("somebody", ["other"]))
    with pytest.raises(PermissionError, match="Requires roles"):
        security.assert_permissions([view], [AuthzedAction.READ_ONLINE])


CLAIMS = st.dictionaries(
    st.sampled_from(["sub", "aud", "roles", "EXP", "expires", "nbf", "iat"]),
    st.one_of(st.none(), st.text(max_size=5), st.integers(), st.just(["reader"])),
)


@settings(derandomize=True, max_examples=50, deadline=None)
@given(claims=CLAIMS)
def test_a_token_without_exp_is_refused_whatever_else_it_says(claims):
    parser = _guard._StrictParser(_Believer(), needs_expiry=True)
    with pytest.raises(Exception, match="no exp claim"):
        details(parser, unsigned(**claims))
    claims = {**claims, "sub": "somebody", "exp": 1}
    assert details(parser, unsigned(**claims)).username == "somebody"


def test_service_accounts_of_kubernetes_need_no_expiry(tmp_path, monkeypatch):
    parser = guarded(tmp_path, monkeypatch, type="kubernetes")["auth"].token_parser
    assert details(parser, unsigned(sub="account")).username == "account"
    monkeypatch.setenv("INTRA_COMMUNICATION_BASE64", "account")
    with pytest.raises(Exception, match="names a server"):
        details(parser, unsigned(sub="account"))
