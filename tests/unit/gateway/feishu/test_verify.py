"""Only Feishu gets in, and every other request is refused with the right status."""

import contextlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from herald_gateway.channels.base import Malformed, RawRequest, Refused, Unauthenticated
from herald_gateway.channels.feishu.channel import FeishuChannel
from herald_gateway.channels.feishu.verify import Keys, _unseal
from tests.fakes.feishu import Events, Signed, encrypt
from tests.unit.gateway.feishu.requests import EVENTS, channel, receive, request

EVENT: dict[str, Any] = {
    "schema": "2.0",
    "header": {"event_id": "e", "event_type": "x", "token": EVENTS.token, "app_id": EVENTS.app_id},
    "event": {},
}


@pytest.fixture
def feishu(tmp_path: Path) -> FeishuChannel:
    return channel(tmp_path)


def refusal(made: FeishuChannel, raw: RawRequest) -> Refused:
    with pytest.raises(Refused) as caught:
        made.receive(raw)
    return caught.value


def test_published_example() -> None:
    """From the decryption page of Feishu's documents: key "test key", text "hello world"."""
    assert _unseal("P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk=", b"test key") == b"hello world"


def test_signed_and_encrypted_message_is_accepted(feishu: FeishuChannel) -> None:
    signed = EVENTS.message("hello")
    inbound = receive(feishu, signed)
    assert [m.content for m in inbound.messages] == ["hello"]
    assert inbound.answer.status == 200


@pytest.mark.parametrize("with_signature", [False, True])
def test_challenge_is_answered(feishu: FeishuChannel, with_signature: bool) -> None:
    signed = EVENTS.challenge('a"b\u00e9')
    if with_signature:
        signed = Signed(signed.body, EVENTS.headers(signed.body))
    inbound = receive(feishu, signed)
    assert json.loads(inbound.answer.body) == {"challenge": 'a"b\u00e9'}
    assert inbound.messages == ()
    assert inbound.ignored == "challenge"


def _without(*names: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda h: {k: v for k, v in h.items() if k not in names}


def _with(name: str, value: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda h: {**h, name: value}


NO_SIGNATURE = ("x-lark-signature", "x-lark-request-timestamp", "x-lark-request-nonce")
HEADER_TABLE = [
    ("all three missing", _without(*NO_SIGNATURE), "unsigned"),
    ("signature missing", _without("x-lark-signature"), "signature_incomplete"),
    ("timestamp missing", _without("x-lark-request-timestamp"), "signature_incomplete"),
    ("nonce missing", _without("x-lark-request-nonce"), "signature_incomplete"),
    ("only a nonce", _without("x-lark-signature", "x-lark-request-timestamp"), "signature_incomplete"),
    ("signature empty", _with("x-lark-signature", ""), "signature"),
    ("signature not hex", _with("x-lark-signature", "z" * 64), "signature"),
    ("signature not ASCII", _with("x-lark-signature", "\u00e9" * 64), "signature"),
    ("signature too short", lambda h: {**h, "x-lark-signature": h["x-lark-signature"][:-1]}, "signature"),
    ("signature in upper case", lambda h: {**h, "x-lark-signature": h["x-lark-signature"].upper()}, "signature"),
    ("other nonce", _with("x-lark-request-nonce", "0"), "signature"),
    ("nonce not ASCII", _with("x-lark-request-nonce", "\u00fc"), "signature"),
    ("nonce of 1 MB", _with("x-lark-request-nonce", "0" * 1_000_000), "signature"),
    (
        "timestamp moved by a second",
        lambda h: {**h, "x-lark-request-timestamp": str(int(time.time()) - 1)},
        "signature",
    ),
    ("timestamp not a number", _with("x-lark-request-timestamp", "nan"), "timestamp"),
    ("timestamp with sign", _with("x-lark-request-timestamp", "+163000000"), "timestamp"),
    ("timestamp with fraction", _with("x-lark-request-timestamp", "16300000.0"), "timestamp"),
    ("timestamp of other digits", _with("x-lark-request-timestamp", "\u0661" * 10), "timestamp"),
    ("timestamp of 9 digits", _with("x-lark-request-timestamp", "163000000"), "timestamp"),
    ("timestamp of 11 digits", lambda h: {**h, "x-lark-request-timestamp": f"{int(time.time())}0"}, "timestamp"),
    ("timestamp of 30 digits", _with("x-lark-request-timestamp", "1" * 30), "timestamp"),
    ("timestamp empty", _with("x-lark-request-timestamp", ""), "timestamp"),
]


@pytest.mark.parametrize(("change", "reason"), [pytest.param(c, r, id=n) for n, c, r in HEADER_TABLE])
def test_bad_headers_are_401(
    feishu: FeishuChannel, change: Callable[[dict[str, str]], dict[str, str]], reason: str
) -> None:
    signed = EVENTS.message()
    found = refusal(feishu, request(signed, headers=change(signed.headers)))
    assert (found.status, found.reason) == (401, reason)


@pytest.mark.parametrize(
    ("age", "accepted"),
    [(0, True), (7.2 * 3600, True), (23.9 * 3600, True), (24.1 * 3600, False), (-3500, True), (-3700, False)],
)
def test_age_of_the_timestamp(feishu: FeishuChannel, age: float, accepted: bool) -> None:
    signed = EVENTS.sealed(EVENT, at=time.time() - age)
    if accepted:
        assert receive(feishu, signed).ignored == "unsupported event"
    else:
        assert refusal(feishu, request(signed)).reason == "timestamp"


def test_timestamp_in_milliseconds_is_accepted(feishu: FeishuChannel) -> None:
    body = EVENTS.sealed(EVENT).body
    assert receive(feishu, Signed(body, EVENTS.headers(body, at=int(time.time() * 1000)))).ignored


def test_digits_moved_from_the_nonce_do_not_make_a_recording_younger(feishu: FeishuChannel) -> None:
    old = int(time.time()) - 30 * 3600
    signed = EVENTS.sealed(EVENT, at=old, nonce="123456")
    for moved in range(-6, 7):
        whole = str(old) + "123456"
        cut = 10 + moved
        headers = {**signed.headers, "x-lark-request-timestamp": whole[:cut], "x-lark-request-nonce": whole[cut:]}
        assert refusal(feishu, request(signed, headers=headers)).reason == "timestamp"


@pytest.mark.parametrize("name", [*NO_SIGNATURE, "content-type"])
def test_duplicated_header_is_400(feishu: FeishuChannel, name: str) -> None:
    signed = EVENTS.message()
    pairs = (*signed.headers.items(), (name, signed.headers[name]))
    found = refusal(feishu, RawRequest("POST", "/events", "", pairs, signed.body, datetime.now(UTC)))
    assert (found.status, found.reason) == (400, "duplicate_header")


def test_every_changed_byte_is_refused(feishu: FeishuChannel) -> None:
    signed = EVENTS.message("hello")
    for index in range(0, len(signed.body), 7):
        body = bytearray(signed.body)
        body[index] ^= 1
        assert refusal(feishu, request(signed, body=bytes(body))).status in (400, 401)


@pytest.mark.parametrize("tail", [b" ", b"\n", b"\r\n"])
def test_the_signature_covers_the_raw_body(feishu: FeishuChannel, tail: bytes) -> None:
    signed = EVENTS.message()
    assert refusal(feishu, request(signed, body=signed.body + tail)).reason == "signature"


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(
    "value",
    [
        EVENT,
        {"challenge": "c", "token": EVENTS.token, "type": "url_verification"},
        {"encrypt": None, **EVENT},
        {"encrypt": 7},
        {},
    ],
)
def test_plaintext_is_a_downgrade(feishu: FeishuChannel, value: dict[str, Any], signed: bool) -> None:
    body = json.dumps(value).encode()
    headers = EVENTS.headers(body) if signed else {"content-type": "application/json"}
    found = refusal(feishu, request(Signed(body, headers)))
    assert (found.status, found.reason) == (401, "plaintext")


def _sealed_bytes(data: bytes, key: str = EVENTS.encrypt_key) -> str:
    return encrypt(data, key)


BROKEN = [
    ("not base64", "*" * 64),
    ("base64 of another alphabet", "-_" * 32),
    ("odd base64", "A" * 41),
    ("not ASCII", "\u00e9" * 64),
    ("empty", ""),
    ("no block", "AAAA"),
    ("only an IV", "A" * 22 + "=="),
    ("not a whole block", "A" * 64),
    ("bad padding", "A" * 86 + "=="),
    ("other key", _sealed_bytes(json.dumps(EVENT).encode(), "other")),
    ("truncated by a block", ""),
    ("not JSON", _sealed_bytes(b"hello")),
    ("not an object", _sealed_bytes(b"[]")),
    ("not UTF-8", _sealed_bytes(b'"\xff"')),
    ("duplicate key", _sealed_bytes(b'{"type":"x","type":"url_verification"}')),
    ("empty text", _sealed_bytes(b"")),
]
BROKEN[10] = ("truncated by a block", _sealed_bytes(b"x" * 40)[:64])


@pytest.mark.parametrize("sealed", [pytest.param(s, id=n) for n, s in BROKEN])
def test_signed_but_broken_ciphertext_is_400(feishu: FeishuChannel, sealed: str) -> None:
    body = json.dumps({"encrypt": sealed}).encode()
    with pytest.raises(Malformed):
        feishu.receive(request(Signed(body, EVENTS.headers(body))))


UNSIGNED = [
    *BROKEN,
    ("a whole event", _sealed_bytes(json.dumps(EVENT).encode())),
    ("challenge, wrong token", _sealed_bytes(b'{"type":"url_verification","challenge":"c","token":"no"}')),
    ("challenge, no token", _sealed_bytes(b'{"type":"url_verification","challenge":"c"}')),
    ("challenge, token a number", _sealed_bytes(b'{"type":"url_verification","challenge":"c","token":1}')),
    ("challenge a number", _sealed_bytes(b'{"type":"url_verification","challenge":1,"token":"verification-token"}')),
    ("no challenge", _sealed_bytes(b'{"type":"url_verification","token":"verification-token"}')),
]


@pytest.mark.parametrize("sealed", [pytest.param(s, id=n) for n, s in UNSIGNED])
def test_unsigned_requests_fail_alike(feishu: FeishuChannel, sealed: str) -> None:
    """No difference between a padding that fits and one that does not: the answers are no oracle."""
    body = json.dumps({"encrypt": sealed}).encode()
    found = refusal(feishu, request(Signed(body, {"content-type": "application/json"})))
    assert (type(found), found.status, found.reason) == (Unauthenticated, 401, "unsigned")


@pytest.mark.parametrize("value", [None, "", "wrong", "verification-token ", 7, ["verification-token"]])
@pytest.mark.parametrize("schema", ["1", "2"])
def test_verification_token_is_checked_in_both_schemas(feishu: FeishuChannel, schema: str, value: object) -> None:
    event: dict[str, Any]
    if schema == "2":
        event = {**EVENT, "header": {**EVENT["header"], "token": value}}
    else:
        event = {"uuid": "u", "token": value, "type": "event_callback", "event": {"type": "message"}}
    found = refusal(feishu, request(EVENTS.sealed(event)))
    assert (found.status, found.reason) == (401, "verification_token")


def test_a_v1_token_does_not_stand_in_for_the_v2_one(feishu: FeishuChannel) -> None:
    event = {**EVENT, "token": EVENTS.token, "header": {**EVENT["header"], "token": "no"}}
    assert refusal(feishu, request(EVENTS.sealed(event))).reason == "verification_token"


def test_events_of_the_old_schema_are_verified_and_acknowledged(feishu: FeishuChannel) -> None:
    inbound = receive(feishu, EVENTS.event_v1({"type": "message", "text": "hello"}))
    assert (inbound.messages, inbound.ignored) == ((), "unsupported event")


@pytest.mark.parametrize("schema", ["1", "2"])
def test_events_for_another_app_are_refused(feishu: FeishuChannel, schema: str) -> None:
    other = Events(app_id="cli_other")
    signed = other.message() if schema == "2" else other.event_v1({"type": "message"})
    found = refusal(feishu, request(signed))
    assert (found.status, found.reason) == (401, "other_app")


@pytest.mark.parametrize("which", ["encrypt_key", "token"])
def test_old_and_new_secrets_work_during_a_rotation(tmp_path: Path, which: str) -> None:
    secret = "encrypt_key" if which == "encrypt_key" else "verification_token"
    made = channel(tmp_path, **{secret: "new", f"{secret}_previous": "old"})
    for value, accepted in (("new", True), ("old", True), ("oldest", False)):
        events = Events(**{which: value})
        for signed in (events.message(), events.challenge()):
            if accepted:
                assert receive(made, signed).answer.status == 200
            else:
                assert refusal(made, request(signed)).status == 401


def test_a_rotated_secret_needs_no_restart(tmp_path: Path) -> None:
    made = channel(tmp_path)
    assert receive(made, EVENTS.message()).messages
    (tmp_path / "encrypt-key").write_text("changed key")
    assert refusal(made, request(EVENTS.message())).status == 401
    assert receive(made, Events(encrypt_key="changed key").message()).messages


def test_a_secret_that_vanishes_is_a_503(tmp_path: Path) -> None:
    made = channel(tmp_path)
    (tmp_path / "verification-token").unlink()
    assert refusal(made, request(EVENTS.message())).status == 503


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [("text/plain", None), ("application/jsonx", None), ("", None), ("application/json", "gzip")],
)
def test_other_content_types_are_415(feishu: FeishuChannel, kind: str, encoding: str | None) -> None:
    signed = EVENTS.message()
    headers = {**signed.headers, "content-type": kind, **({"content-encoding": encoding} if encoding else {})}
    assert refusal(feishu, request(signed, headers=headers)).status == 415


def test_secrets_do_not_show() -> None:
    keys = Keys((b"hidden-1",), (b"hidden-2",))
    assert "hidden" not in repr(keys)


BYTES = st.binary(max_size=200)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
HEADER = st.sampled_from([*NO_SIGNATURE, "content-type", "content-encoding"])
RELAXED = hypothesis_settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _only_refuses(made: FeishuChannel, raw: RawRequest) -> None:
    with contextlib.suppress(Refused):
        made.receive(raw)


@RELAXED
@given(
    pairs=st.lists(st.tuples(HEADER, st.text(max_size=70) | st.from_regex(r"[0-9]{0,14}")), max_size=5),
    body=BYTES | JSONS.map(lambda v: json.dumps({"encrypt": v}).encode()),
)
def test_nothing_but_refused_for_any_request(feishu: FeishuChannel, pairs: list[tuple[str, str]], body: bytes) -> None:
    pairs = [("content-type", "application/json"), *pairs]
    _only_refuses(feishu, RawRequest("POST", "/events", "", tuple(pairs), body, datetime.now(UTC)))


@RELAXED
@given(plain=BYTES | JSONS.map(lambda v: json.dumps(v).encode()), sign=st.booleans())
def test_nothing_but_refused_for_any_plaintext(feishu: FeishuChannel, plain: bytes, sign: bool) -> None:
    body = json.dumps({"encrypt": encrypt(plain, EVENTS.encrypt_key)}).encode()
    headers = EVENTS.headers(body) if sign else {"content-type": "application/json"}
    _only_refuses(feishu, request(Signed(body, headers)))
