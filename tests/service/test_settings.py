"""Settings, from Python and from the environment; tokens and rates."""

import pickle

import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from skmmrec.service import ServiceSettings
from skmmrec.service._rates import RateLimit
from skmmrec.service._tokens import Tokens, read_tokens

from .conftest import READ, TOKENS, WRITE


def test_defaults_need_no_environment():
    assert ServiceSettings.from_environment({"PATH": "x"}) == ServiceSettings()
    assert ServiceSettings().to_environment() == {}


def test_the_environment_gives_back_what_it_was_given(tmp_path):
    settings = ServiceSettings(
        tokens=TOKENS,
        tokens_file=tmp_path / "tokens",
        anonymous=True,
        unknown="popular",
        rate=0.5,
        max_k=20,
        deadline=2,
    )
    given = settings.to_environment()
    assert given["SKMMREC_SERVICE_UNKNOWN"] == "popular"
    assert ServiceSettings.from_environment(given) == settings
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_this_process_is_the_default(monkeypatch):
    monkeypatch.setenv("SKMMREC_SERVICE_MAX_K", "7")
    monkeypatch.setenv("SKMMREC_SERVICE_REPO", "somewhere")  # not a setting
    assert ServiceSettings.from_environment().max_k == 7


def test_what_is_given_goes_before_the_environment():
    environment = {"SKMMREC_SERVICE_MAX_K": "7", "SKMMREC_SERVICE_RATE": "5"}
    found = ServiceSettings.from_environment(environment, max_k="9")
    assert found == ServiceSettings(max_k=9, rate=5)
    with pytest.raises(ValueError, match=r"^max_k: "):
        ServiceSettings.from_environment(environment, max_k="many")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_L", "3"),
        ("MAX_K", "0"),
        ("MAX_K", "many"),
        ("RATE", "inf"),
        ("RATE", "0"),
        ("DEADLINE", "nan"),
        ("UNKNOWN", "guess"),
    ],
)
def test_what_cannot_be_is_named(name, value):
    variable = f"SKMMREC_SERVICE_{name}"
    with pytest.raises(ValueError, match=variable):
        ServiceSettings.from_environment({variable: value})
    with pytest.raises(ValidationError):
        ServiceSettings(**{name.lower(): value})


def test_settings_do_not_show_tokens():
    settings = ServiceSettings(tokens=TOKENS)
    assert READ not in repr(settings)
    with pytest.raises(ValueError, match="SKMMREC_SERVICE_MAX_K") as caught:
        ServiceSettings.from_environment(
            {"SKMMREC_SERVICE_TOKENS": TOKENS, "SKMMREC_SERVICE_MAX_K": "x"}
        )
    assert READ not in str(caught.value)


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        ServiceSettings().max_k = 3


def test_tokens_have_owners_and_roles():
    tokens = Tokens(TOKENS.split(","), "here")
    reader, writer = (tokens.find(f"Bearer {token}") for token in (READ, WRITE))
    assert (reader.name, reader.role) == ("web", "read")
    assert reader.may("read")
    assert not reader.may("write")
    assert writer.may("read")
    assert writer.may("write")
    assert tokens.find(f"bearer {READ}") == reader  # schemes have no case
    for wrong in (None, "", READ, f"Basic {READ}", f"Bearer {READ[:-1]}", "Bearer"):
        assert tokens.find(wrong) is None


@given(st.text())
def test_no_other_header_is_a_token(header):
    assert Tokens(TOKENS.split(","), "here").find(header) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("web:read", "must be name:role:token"),
        (f"web:admin:{READ}", "must be name:role:token"),
        (f"web:read:{READ} {READ}", "must be name:role:token"),
        ("web:read:short", "fewer than 16"),
        (f"other:read:{WRITE}", "was there before"),
    ],
)
def test_lines_that_are_no_tokens_are_refused(tmp_path, line, message):
    file = tmp_path / "tokens"
    file.write_text(f"# who may\napp:write:{WRITE}\n{line}\n")
    with pytest.raises(ValueError, match=message) as caught:
        read_tokens(ServiceSettings(tokens_file=file))
    assert f"{file}, entry 3" in str(caught.value)
    assert "short" not in str(caught.value)
    assert READ not in str(caught.value)


def test_no_token_at_all_is_a_mistake(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("# none yet\n")
    with pytest.raises(ValueError, match="holds no token"):
        read_tokens(ServiceSettings(tokens_file=file))
    assert read_tokens(ServiceSettings()) is None


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@given(st.lists(st.floats(0, 3), max_size=60))
def test_no_more_than_the_burst_and_the_rate(pauses):
    clock, granted = Clock(), []
    limit = RateLimit(rate=2.0, burst=3, clock=clock)
    for pause in pauses:
        clock.now += pause
        if not limit.wait("ann"):
            granted.append(clock.now)
    for first, start in enumerate(granted):
        for count, end in enumerate(granted[first:], start=1):
            assert count <= 3 + 2.0 * (end - start) + 1e-6


def test_who_waits_as_long_as_is_said_may_go_on():
    clock = Clock()
    limit = RateLimit(rate=0.5, burst=2, clock=clock)
    assert [limit.wait("ann") for _ in range(3)] == [0.0, 0.0, 2.0]
    assert limit.wait("ben") == 0.0
    clock.now += 2.0
    assert limit.wait("ann") == 0.0
    assert limit.wait("ann") > 0


def test_few_callers_are_remembered(monkeypatch):
    monkeypatch.setattr("skmmrec.service._rates._REMEMBERED", 3)
    limit = RateLimit(rate=1e-3, burst=1)
    for name in "abcd":
        assert limit.wait(name) == 0.0
    assert limit.wait("d") > 0
    assert limit.wait("a") == 0.0  # forgotten, when d came
    assert len(limit._buckets) == 3
