"""A captured request is judged exactly as a running gateway would answer it."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import metrics
from starlette.types import Receive, Scope, Send

from herald_contracts.errors import ConfigurationError
from herald_contracts.settings import Limits
from herald_contracts.subjects import Names
from herald_gateway import captured
from herald_gateway.channels.base import Channel, RawRequest
from herald_gateway.measurements import Measurements
from herald_gateway.publishing import Intake
from herald_gateway.refusals import Refusals
from herald_gateway.webhook import Webhooks
from herald_runtime.acks import Stored
from tests.fakes.feishu import AT_BOT, BOT
from tests.unit.gateway import samples
from tests.unit.gateway.asking import answered
from tests.unit.gateway.feishu import requests as feishu
from tests.unit.gateway.samples import NOW, SECRET, body, hmac_request, plus, without
from tests.unit.gateway.test_publishing import Script

GOOD = hmac_request(body())
LIMITS = Limits(body_bytes=1_024)


@pytest.fixture
def hook(tmp_path: Path) -> Channel:
    return captured.channel("hmac", samples.secret_folder(tmp_path / "s", secret=SECRET), {})


def other(source: RawRequest = GOOD, **changes: Any) -> RawRequest:
    fields = {name: getattr(source, name) for name in RawRequest.__slots__}
    return RawRequest(**{**fields, **changes})


@pytest.mark.parametrize(
    "request_",
    [
        GOOD,
        other(method="GET"),
        other(body=b"{}"),
        other(body=b"x" * 2_000),
        without(GOOD, "host"),
        without(GOOD, "herald-signature"),
        without(GOOD, "content-type"),
        plus(GOOD, ("content-type", "application/json")),
        plus(GOOD, ("herald-timestamp", "1")),
        plus(GOOD, ("content-encoding", "gzip")),
        plus(GOOD, ("content-length", "9999")),
        hmac_request(b"[]"),
        hmac_request(body(text=7)),
        hmac_request(body(), timestamp="1"),
    ],
)
async def test_the_answer_is_the_gateways(hook: Channel, request_: RawRequest) -> None:
    verdict = captured.judge(hook, request_, LIMITS)
    intake = Intake(Names("ns", "dep"), 0.3)
    intake.publisher = Script(Stored("IN", 1, False))
    measurements = Measurements(metrics.get_meter("test"))
    webhooks = Webhooks({"hook": hook}, intake, LIMITS, measurements, Refusals(measurements), now=lambda: NOW)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await webhooks(scope, receive, send, "hook")

    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request_.headers]
    reply = await answered(app, request_.method, headers=headers, chunks=(request_.body,))
    assert (verdict.answer.status, verdict.answer.body) == (reply.status, reply.body)
    assert verdict.accepted is (reply.status < 300)
    assert bool(verdict.reason) is not verdict.accepted
    refused = [reason for _, reason in measurements.refused.values]
    assert refused == ([] if verdict.accepted else [verdict.reason])


def test_another_path_is_nobodys(hook: Channel) -> None:
    verdict = captured.judge(hook, other(path="/channels/hook/"))
    assert (verdict.accepted, verdict.reason, verdict.answer.status) == (False, "unknown_path", 404)
    assert captured.judge(hook, other(path="/channels/hook/events")).accepted


@pytest.fixture(scope="module")
def one_hook(tmp_path_factory: pytest.TempPathFactory) -> Channel:
    return captured.channel("hmac", samples.secret_folder(tmp_path_factory.mktemp("s"), secret=SECRET), {})


@given(
    content=st.binary(max_size=300),
    headers=st.lists(st.tuples(st.text("abcé-", max_size=9), st.text(st.characters(max_codepoint=255), max_size=9))),
)
def test_no_request_makes_it_raise(one_hook: Channel, content: bytes, headers: list[tuple[str, str]]) -> None:
    request = RawRequest("POST", "/events", "", (*GOOD.headers, *headers), content, NOW)
    assert captured.judge(one_hook, request).reason


def test_feishu_knows_who_it_is_when_it_is_told(tmp_path: Path) -> None:
    folder = feishu.settings(tmp_path / "feishu").secret
    group = feishu.request(feishu.EVENTS.message("@_user_1 hi", group=True, mentions=[AT_BOT]))
    unknown = captured.channel("feishu", folder, {"appId": "cli_herald"})
    assert captured.judge(unknown, plus(group, ("host", "x"))).reason == "bot_unknown"
    known = captured.channel("feishu", folder, {"appId": "cli_herald"}, BOT)
    assert len(captured.judge(known, plus(group, ("host", "x"))).messages) == 1


@pytest.mark.parametrize(
    ("kind", "settings", "bot", "said"),
    [
        ("feishu", {}, "", "appId"),
        ("hmac", {"appId": "x"}, "", "appId"),
        ("hmac", {"secret": "/etc"}, "", "secret: this is not to be set"),
        ("hmac", {"onUnknown": "shout"}, "", "onUnknown"),
        ("hmac", {}, "U1", "does not ask who it is"),
        ("telex", {}, "", "type telex"),
    ],
)
def test_a_channel_that_cannot_be_names_the_field(
    tmp_path: Path, kind: str, settings: Mapping[str, str], bot: str, said: str
) -> None:
    folder = samples.secret_folder(tmp_path / "s", secret=SECRET)
    with pytest.raises(ConfigurationError) as e:
        captured.channel(kind, folder, settings, bot)
    assert said in str(e.value)


def document(**changes: Any) -> bytes:
    given = {
        "method": "post",
        "path": "/channels/hook/events",
        "headers": [["Host", "a"], ["X-Twice", "1"], ["x-twice", "2"]],
        "body": "ü",
    }
    return json.dumps({k: v for k, v in {**given, **changes}.items() if v is not ...}).encode()


def test_a_request_is_read_as_it_was_written_down() -> None:
    request = captured.read(document(query="?a=b"), NOW)
    assert (request.method, request.query, request.body) == ("POST", "a=b", "ü".encode())
    assert request.headers == (("host", "a"), ("x-twice", "1"), ("x-twice", "2"))
    assert request.received_at == NOW
    raw = bytes(range(256))
    assert captured.read(document(body=..., body_base64=base64.b64encode(raw).decode()), NOW).body == raw


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (b"", "the request"),
        (b"[]", "the request"),
        (b"\xff", "the request"),
        (document(method=...), "method"),
        (document(cookies=[]), "cookies"),
        (document(headers={"Host": "a"}), "headers"),
        (document(headers=[["Host"]]), "headers.0"),
        (document(headers=[["Host", "日本"]]), "Host"),
        (document(body=...), "body_base64"),
        (document(body_base64=""), "body_base64"),
        (document(body=..., body_base64="a b"), "base64"),
    ],
)
def test_a_document_that_is_none_names_the_field(given_: bytes, said: str) -> None:
    with pytest.raises(ConfigurationError) as e:
        captured.read(given_, datetime.now(UTC))
    assert said in str(e.value)
