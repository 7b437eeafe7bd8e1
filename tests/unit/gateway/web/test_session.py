"""Who may be whom."""

import time
from pathlib import Path

import pytest
from itsdangerous import URLSafeTimedSerializer

from herald_contracts.errors import ConfigurationError
from herald_contracts.subjects import Names
from herald_gateway.channels.base import Malformed
from herald_gateway.channels.web.session import MAX_AGE, Session, Sessions, same_origin
from herald_runtime.secrets import SecretFolder

NAMES = Names("default", "demo")
KEY, OTHER = "k" * 32, "o" * 32


def folder(path: Path, **keys: str) -> SecretFolder:
    path.mkdir(exist_ok=True)
    for name, value in keys.items():
        (path / name.replace("_", "-")).write_text(value)
    return SecretFolder(path)


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(folder(tmp_path, session_key=KEY), NAMES, "web")


def cookie_of(sessions: Sessions, session: Session) -> str:
    return sessions.header(session, secure=False).partition(";")[0]


def test_a_session_reads_back(sessions: Sessions) -> None:
    session = sessions.begin()
    assert sessions.read(cookie_of(sessions, session)) == session


def test_sessions_differ(sessions: Sessions) -> None:
    assert len({sessions.begin().id for _ in range(100)}) == 100


@pytest.mark.parametrize("secure", [True, False])
def test_cookie_attributes(sessions: Sessions, secure: bool) -> None:
    attributes = sessions.header(Session("a" * 22), secure=secure).split("; ")[1:]
    expected = {f"Max-Age={MAX_AGE}", "HttpOnly", "SameSite=Strict"} | ({"Secure"} if secure else set())
    assert set(attributes) == expected


def test_the_cookie_does_not_hold_the_key(sessions: Sessions) -> None:
    assert KEY not in sessions.header(sessions.begin(), secure=False)


@pytest.mark.parametrize("cookies", ["", "x=1", "herald-default-demo-web", "herald-default-demo-web=", "=;=;"])
def test_no_cookie_is_no_session(sessions: Sessions, cookies: str) -> None:
    assert sessions.read(cookies) is None


def test_a_changed_cookie_is_refused(sessions: Sessions) -> None:
    good = cookie_of(sessions, sessions.begin())
    name, _, value = good.partition("=")
    for position in range(len(value)):
        changed = value[:position] + ("A" if value[position] != "A" else "B") + value[position + 1 :]
        found = sessions.read(f"{name}={changed}")
        # The last character of a base64 group has spare bits: another spelling of the same bytes is no forgery.
        assert found is None or found == sessions.read(good)


def test_the_real_cookie_is_found_behind_a_planted_one(sessions: Sessions) -> None:
    session = sessions.begin()
    assert sessions.read(f"{sessions.cookie}=planted; x=y;{cookie_of(sessions, session)}") == session


def test_an_expired_session_is_none(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = cookie_of(sessions, sessions.begin())
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + MAX_AGE + 2)
    assert sessions.read(cookie) is None


@pytest.mark.parametrize(
    ("namespace", "name", "channel"), [("other", "demo", "web"), ("default", "other", "web"), ("default", "demo", "w2")]
)
def test_a_cookie_is_good_for_one_channel_only(tmp_path: Path, namespace: str, name: str, channel: str) -> None:
    secret = folder(tmp_path, session_key=KEY)
    here, there = Sessions(secret, NAMES, "web"), Sessions(secret, Names(namespace, name), channel)
    value = cookie_of(here, here.begin()).partition("=")[2]
    assert here.cookie != there.cookie
    assert there.read(f"{there.cookie}={value}") is None


def test_rotation_keeps_sessions_and_signs_with_the_new_key(tmp_path: Path) -> None:
    sessions = Sessions(folder(tmp_path, session_key=KEY), NAMES, "web")
    session = sessions.begin()
    old = cookie_of(sessions, session)
    folder(tmp_path, session_key=OTHER, session_key_previous=KEY)
    assert sessions.read(old) == session
    new = cookie_of(sessions, session)
    (tmp_path / "session-key-previous").unlink()
    assert sessions.read(new) == session
    assert sessions.read(old) is None


@pytest.mark.parametrize("keys", [{}, {"session_key": ""}, {"session_key": "short"}])
def test_a_key_that_cannot_work_is_refused_at_once(tmp_path: Path, keys: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="session-key"):
        Sessions(folder(tmp_path, **keys), NAMES, "web")


def test_a_signed_value_that_is_no_id_is_refused(sessions: Sessions, tmp_path: Path) -> None:
    signer = sessions._serializer()
    assert isinstance(signer, URLSafeTimedSerializer)
    for value in (["a" * 22], "a" * 21, "a" * 22 + "\n", {"id": "x"}, None):
        assert sessions.read(f"{sessions.cookie}={signer.dumps(value)}") is None


def test_names_stay_inside_the_session() -> None:
    mine, yours = Session("m" * 22), Session("y" * 22)
    assert mine.chat("") == "m" * 22
    assert mine.chat("c1") == "m" * 22 + ".c1"
    assert mine.event("e1") != yours.event("e1")
    assert mine.own_name(mine.event("e1")) == "e1"
    assert mine.own_name(yours.event("e1")) == yours.event("e1")
    assert mine.tag != yours.tag
    assert mine.id not in mine.tag


@pytest.mark.parametrize("name", ["a.b", "a b", "a/b", "*", ">", "é", "a\n", "x" * 65, 7, None, ["a"]])
def test_names_that_could_mean_something_else_are_refused(name: object) -> None:
    session = Session("m" * 22)
    with pytest.raises(Malformed):
        session.event(name)  # type: ignore[arg-type]
    with pytest.raises(Malformed):
        session.chat(name or "a b")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fetch_site", "origin", "host", "ours"),
    [
        ("same-origin", None, "a.example", True),
        ("same-origin", "https://public.example", "internal:8080", True),  # behind a proxy that renames us
        ("same-site", "https://a.example", "a.example", False),
        ("cross-site", "https://a.example", "a.example", False),
        ("none", None, "a.example", False),
        ("", "https://a.example", "a.example", False),
        (None, "http://a.example", "a.example", True),
        (None, "https://a.example", "a.example", True),
        (None, "http://A.example:8080", "a.Example:8080", True),
        (None, "http://a.example:8081", "a.example:8080", False),
        (None, "http://evil.example", "a.example", False),
        (None, "http://a.example.evil.example", "a.example", False),
        (None, "http://evil.example/a.example", "a.example", False),
        (None, "http://user@a.example", "a.example", False),
        (None, "null", "null", False),
        (None, "file://a.example", "a.example", False),
        (None, "http://[", "a.example", False),
        (None, "", "", False),
        (None, None, "a.example", False),
        (None, "http://a.example", None, False),
    ],
)
def test_same_origin(fetch_site: str | None, origin: str | None, host: str | None, ours: bool) -> None:
    assert same_origin(fetch_site=fetch_site, origin=origin, host=host) is ours
