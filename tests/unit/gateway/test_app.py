"""The whole ASGI application around a scripted channel and a scripted publisher: what is answered, what is counted."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest
from opentelemetry import metrics
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from herald_contracts.errors import ConfigurationError
from herald_contracts.messages import Reply
from herald_contracts.settings import Limits
from herald_contracts.subjects import Names
from herald_gateway.addresses import Proxies
from herald_gateway.app import Gateway, create_app
from herald_gateway.channels.base import (
    Answer,
    ChannelContext,
    Delivered,
    Forbidden,
    Inbound,
    Malformed,
    RawRequest,
    Unauthenticated,
)
from herald_gateway.health import Readiness, private_app
from herald_gateway.hosts import Hosts
from herald_gateway.measurements import Measurements
from herald_gateway.publishing import Intake
from herald_gateway.refusals import Refusals
from herald_runtime.acks import NotStored, OutcomeUnknown, Stored, StreamFull
from tests.unit.gateway import samples
from tests.unit.gateway.asking import JSON_HEADERS, answered, ask
from tests.unit.gateway.test_publishing import Script

NAMES = Names("ns", "dep")
STORED = Stored("IN", 1, False)


class Scripted:
    """A channel that does what it is told."""

    type = "web"
    methods = frozenset(("POST",))
    ack_deadline = 3.0
    idempotent = False
    on_unknown: Literal["resend", "hold"] = "hold"

    def __init__(self, name: str = "hook") -> None:
        self.name = name
        self.seen: list[RawRequest] = []
        self.outcome: Inbound | Exception = Inbound((samples.message(),), Answer(202, b'{"ok": 1}'))

    def receive(self, request: RawRequest) -> Inbound:
        self.seen.append(request)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    async def send(self, reply: Reply, attempt: int) -> Delivered:
        raise NotImplementedError

    async def start(self, context: ChannelContext) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError

    def routes(self) -> Sequence[BaseRoute]:
        async def page(_: Request) -> Response:
            return PlainTextResponse("the page")

        async def post(request: Request) -> Response:
            return PlainTextResponse(str(len(await request.body())))

        async def forbidden(_: Request) -> Response:
            raise Forbidden("not_yours")

        return [
            Route("/", page),
            Route("/say", post, methods=["POST"]),
            Route("/forbidden", forbidden),
        ]


class Whole:
    """The application, and everything it was made of."""

    def __init__(
        self,
        *answers: Stored | Exception,
        trusted: Sequence[str] = (),
        public: Sequence[str] = (),
        kind: str = "web",
        **limits: Any,
    ) -> None:
        self.channel = Scripted()
        self.channel.type = kind
        self.script = Script(*answers or (STORED,))
        intake = Intake(NAMES, 0.3)
        intake.publisher = self.script
        self.measurements = Measurements(metrics.get_meter("test"))
        self.app: Gateway = create_app(
            channels={"hook": self.channel},
            intake=intake,
            limits=Limits(**{"body_bytes": 1_024, **limits}),
            proxies=Proxies(trusted),
            hosts=Hosts(public),
            readiness=Readiness(NAMES, intake.trouble),
            measurements=self.measurements,
            refusals=Refusals(self.measurements),
        )
        self.app.open()

    @property
    def refused(self) -> dict[tuple[str, ...], int]:
        return dict(self.measurements.refused.values)

    @property
    def requests(self) -> dict[tuple[str, ...], int]:
        return dict(self.measurements.requests.values)


async def test_a_stored_message_gets_the_channels_answer() -> None:
    whole = Whole()
    reply = await answered(whole.app, chunks=(b'{"a":', b" 1}"))
    assert (reply.status, reply.json) == (202, {"ok": 1})
    assert len(whole.script.calls) == 1
    (seen,) = whole.channel.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/events", b'{"a": 1}')
    assert seen.headers == (("host", "gateway.test"), ("content-type", "application/json"))
    assert whole.requests == {("hook", "accepted"): 1}
    assert whole.measurements.accepted.values == {("hook", "false"): 1}


async def test_a_repeated_event_is_answered_alike_and_counted_apart() -> None:
    whole = Whole(Stored("IN", 1, True))
    assert (await answered(whole.app)).status == 202
    assert whole.measurements.accepted.values == {("hook", "true"): 1}


async def test_nothing_to_store_is_answered_without_storing() -> None:
    whole = Whole()
    whole.channel.outcome = Inbound(answer=Answer(200, b'{"challenge": "x"}'), ignored="challenge")
    reply = await answered(whole.app)
    assert (reply.status, reply.json) == (200, {"challenge": "x"})
    assert whole.script.calls == []
    assert whole.requests == {("hook", "ignored: challenge"): 1}


@pytest.mark.parametrize(
    ("failure", "seconds", "reason"),
    [
        (NotStored("x"), "2", "not_stored"),
        (OutcomeUnknown("x"), "2", "no_acknowledgement"),
        (StreamFull("x"), "30", "stream_full"),
    ],
)
async def test_what_is_not_stored_is_never_a_2xx(failure: Exception, seconds: str, reason: str) -> None:
    whole = Whole(failure)
    reply = await answered(whole.app)
    assert (reply.status, reply.headers["retry-after"]) == (503, seconds)
    assert whole.requests == {("hook", "unavailable"): 1}
    assert whole.refused == {("hook", reason): 1}


async def test_a_secret_that_went_missing_is_not_the_callers_fault() -> None:
    whole = Whole()
    whole.channel.outcome = ConfigurationError("the key 'secret' is missing", path="/secrets/hook")
    reply = await answered(whole.app)
    assert reply.status == 503
    assert b"secret" not in reply.body


async def test_a_fault_of_ours_is_a_500_that_says_nothing() -> None:
    whole = Whole()
    whole.channel.outcome = KeyError("inner detail")
    reply = await answered(whole.app)
    assert (reply.status, reply.json) == (500, {"error": "internal"})
    assert whole.requests == {("hook", "failed"): 1}


@pytest.mark.parametrize(
    ("refusal", "status", "answer"),
    [
        (Unauthenticated("signature_wrong"), 401, {"error": "unauthenticated"}),
        (Malformed("field_type", field="id"), 400, {"error": "field_type", "field": "id"}),
    ],
)
async def test_a_refusal_is_answered_and_counted(refusal: Exception, status: int, answer: dict[str, str]) -> None:
    whole = Whole()
    whole.channel.outcome = refusal
    reply = await answered(whole.app)
    assert (reply.status, reply.json) == (status, answer)
    assert whole.refused == {("hook", str(refusal)): 1}
    assert whole.script.calls == []


@pytest.mark.parametrize(
    ("kwargs", "status", "label"),
    [
        ({"path": "/channels/other/events"}, 404, ("", "unknown_channel")),
        ({"path": "/channels//events"}, 404, ("", "unknown_channel")),
        ({"path": "/channels/hook/x/events"}, 404, ("", "not_found")),
        ({"path": "/events"}, 404, ("", "not_found")),
        ({"path": "/channels/hook/events/"}, 404, ("", "not_found")),
        ({"method": "GET"}, 405, ("hook", "method")),
        ({"method": "DELETE"}, 405, ("hook", "method")),
        ({"method": "PUT", "path": "/healthz/live"}, 405, ("", "method")),
        ({"headers": JSON_HEADERS[1:]}, 400, ("hook", "host_header")),
        ({"headers": JSON_HEADERS[:1]}, 415, ("hook", "content_type")),
        ({"headers": (*JSON_HEADERS, (b"content-encoding", b"gzip"))}, 415, ("hook", "content_encoding")),
        ({"headers": (*JSON_HEADERS, (b"content-length", b"1025"))}, 413, ("hook", "body_too_large")),
        ({"chunks": (b"x" * 1_025,)}, 413, ("hook", "body_too_large")),
        ({"chunks": (b"x" * 600, b"x" * 600, b"")}, 413, ("hook", "body_too_large")),
        ({"path": "/channels/hook/", "method": "GET", "headers": ()}, 400, ("", "host_header")),
        ({"path": "/channels/hook/say", "chunks": (b"x" * 1_025,)}, 413, ("", "body_too_large")),
        ({"path": "/channels/hook/forbidden", "method": "GET"}, 403, ("", "not_yours")),
    ],
)
async def test_refused_before_any_channel_is_asked(kwargs: Any, status: int, label: tuple[str, str]) -> None:
    whole = Whole()
    reply = await answered(whole.app, **kwargs)
    assert reply.status == status
    assert whole.refused == {label: 1}
    assert whole.channel.seen == []
    assert reply.json == {"error": label[1]}
    if label == ("hook", "method"):
        assert reply.headers["allow"] == "POST"


@pytest.mark.parametrize("chunks", [(None,), (b'{"a', None)])
async def test_a_caller_who_hangs_up_gets_no_answer(chunks: Sequence[bytes | None]) -> None:
    whole = Whole()
    assert await ask(whole.app, chunks=chunks) is None
    assert whole.channel.seen == []
    assert whole.refused == {("hook", "disconnected"): 1}


async def test_extra_routes_of_a_channel_and_the_way_to_its_page() -> None:
    whole = Whole()
    root = await answered(whole.app, "GET", "/")
    assert (root.status, root.headers["location"]) == (307, "/channels/hook/")
    assert (await answered(whole.app, "GET", "/channels/hook/")).body == b"the page"
    assert (await answered(whole.app, "POST", "/channels/hook/say", chunks=(b"abc",))).body == b"3"


async def test_channels_are_closed_until_they_have_started() -> None:
    whole = Whole()
    whole.app._opened = False
    for method, path in (("POST", "/channels/hook/events"), ("GET", "/channels/hook/")):
        reply = await answered(whole.app, method, path)
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")
    assert (await answered(whole.app, "GET", "/healthz/live")).status == 200


async def test_alive_but_not_ready_without_nats() -> None:
    whole = Whole()
    assert (await answered(whole.app, "GET", "/healthz/live")).json == {"live": True}
    ready = await answered(whole.app, "GET", "/healthz/ready")
    assert (ready.status, ready.json) == (503, {"ready": False, "reason": "not connected to NATS"})


async def test_metrics_are_not_public() -> None:
    whole = Whole()
    assert (await answered(whole.app, "GET", "/metrics")).status == 404
    private = private_app(Readiness(NAMES, lambda: ""))
    assert (await answered(private, "GET", "/metrics")).status == 200
    assert (await answered(private, "GET", "/healthz/live")).status == 200
    assert (await answered(private, "GET", "/healthz/ready")).status == 503
    assert (await answered(private)).status == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/channels/hook/events"), ("GET", "/channels/hook/"), ("POST", "/channels/hook/say")],
)
async def test_a_page_answers_to_its_own_names_alone(method: str, path: str) -> None:
    whole = Whole(public=["gateway.test"])
    assert (await answered(whole.app, method, path)).status in (200, 202)
    rebound = ((b"host", b"evil.example:8080"), (b"content-type", b"application/json"))
    refused = await answered(whole.app, method, path, headers=rebound)
    assert (refused.status, refused.json) == (421, {"error": "wrong_host"})
    assert whole.refused == {("hook", "wrong_host"): 1}
    assert len(whole.channel.seen) <= 1
    # What is no page has no names of its own.
    assert (await answered(whole.app, "GET", "/healthz/live", headers=rebound)).status == 200


async def test_a_channel_for_programs_answers_to_any_name() -> None:
    whole = Whole(public=["other.test"])
    assert (await answered(whole.app)).status == 421
    webhooks = Whole(public=["other.test"], kind="hmac")
    assert (await answered(webhooks.app)).status == 202


@pytest.mark.parametrize("forwarded", [b"198.51.100.1", b"6.6.6.6, 198.51.100.1"])
async def test_behind_a_trusted_proxy_each_client_has_its_own_share(forwarded: bytes) -> None:
    whole = Whole(trusted=["10.0.0.1"], connections_per_address=1)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(*_: Any, **__: Any) -> Stored:
        entered.set()
        await leave.wait()
        return STORED

    whole.script.publish = slow  # type: ignore[method-assign]
    headers = (*JSON_HEADERS, (b"x-forwarded-for", forwarded))
    first = asyncio.create_task(answered(whole.app, headers=headers, client="10.0.0.1"))
    await entered.wait()
    second = await answered(whole.app, headers=headers, client="10.0.0.1")
    assert second.status == 429
    other = (*JSON_HEADERS, (b"x-forwarded-for", b"198.51.100.2"))
    third = asyncio.create_task(answered(whole.app, headers=other, client="10.0.0.1"))
    leave.set()
    assert (await first).status == 202
    assert (await third).status == 202
    assert (await answered(whole.app, headers=headers, client="10.0.0.1")).status == 202


@pytest.mark.parametrize("make", [lambda: Malformed("x"), lambda: ValueError("x")])
async def test_no_error_body_repeats_what_was_sent(make: Callable[[], Exception]) -> None:
    whole = Whole()
    whole.channel.outcome = make()
    reply = await answered(whole.app, chunks=(b"a very private word",))
    assert b"private" not in reply.body
