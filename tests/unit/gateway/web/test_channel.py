"""The chat page behind the channel port, without a server: what is let in, and what is served."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import AsyncMock, MagicMock

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount

from herald_contracts.errors import ConfigurationError
from herald_contracts.messages import Reply
from herald_contracts.settings import Limits, WebChannel
from herald_contracts.subjects import Names
from herald_gateway.channels.base import Channel, ChannelContext, DuplicateHeader, RawRequest, Refused
from herald_gateway.channels.web.channel import create

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PAGE = "http://chat.example/channels/web/"
OURS = {"origin": "http://chat.example"}


async def always() -> bool:
    return True


def context() -> ChannelContext:
    """NATS is a stand-in here: nothing below talks to it but one subscription."""
    nats = MagicMock()
    nats.subscribe = AsyncMock()
    nats.is_connected = False
    return ChannelContext(
        http=MagicMock(),
        nats=nats,
        names=Names("default", "demo"),
        publisher=MagicMock(),
        limits=Limits(),
        publish_deadline=1.0,
        stopping=asyncio.Event(),
        ready=always,
    )


@pytest.fixture
def settings(tmp_path: Path) -> WebChannel:
    (tmp_path / "session-key").write_text("k" * 32)
    return WebChannel(name="web", secret=tmp_path, title="Help <desk>")


@pytest.fixture
async def channel(settings: WebChannel) -> Channel:
    made: Channel = create(settings)
    await made.start(context())
    return made


@pytest.fixture
async def browser(channel: Channel) -> AsyncIterator[httpx2.AsyncClient]:
    def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, Refused)
        return JSONResponse({"error": error.reason}, error.status)

    app = Starlette(
        routes=[Mount("/channels/web", routes=list(channel.routes()))], exception_handlers={Refused: refused}
    )
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=PAGE) as client:
        yield client


async def cookie_of(browser: httpx2.AsyncClient) -> str:
    answer = await browser.post("session", headers=OURS)
    assert answer.status_code == 200
    return answer.headers["set-cookie"].partition(";")[0]


def request(*headers: tuple[str, str], body: bytes = b'{"id": "e1", "chat": "", "text": "Hello"}') -> RawRequest:
    return RawRequest("POST", "/events", "", headers, body, NOW)


def headers_of(session: str, **changed: str | None) -> list[tuple[str, str]]:
    headers: dict[str, str | None] = {
        "host": "chat.example",
        "origin": "http://chat.example",
        "content-type": "application/json",
        "cookie": session,
    }
    headers.update({name.replace("_", "-"): value for name, value in changed.items()})
    return [(name, value) for name, value in headers.items() if value is not None]


async def test_a_post_with_a_session_becomes_a_message(channel: Channel, browser: httpx2.AsyncClient) -> None:
    inbound = channel.receive(request(*headers_of(await cookie_of(browser))))
    assert inbound.answer.status == 202
    assert [message.content for message in inbound.messages] == ["Hello"]


@pytest.mark.parametrize(
    ("changed", "status", "reason"),
    [
        ({"cookie": None}, 401, "no_session"),
        ({"cookie": "herald-default-demo-web=forged"}, 401, "no_session"),
        ({"origin": None}, 403, "other_origin"),
        ({"origin": "http://evil.example"}, 403, "other_origin"),
        ({"sec_fetch_site": "cross-site"}, 403, "other_origin"),
        ({"content_type": None}, 415, "content_type"),
        ({"content_type": "text/plain"}, 415, "content_type"),
        ({"content_type": "application/jsonp"}, 415, "content_type"),
    ],
)
async def test_a_post_is_refused(
    channel: Channel, browser: httpx2.AsyncClient, changed: dict[str, str | None], status: int, reason: str
) -> None:
    cookie = await cookie_of(browser)
    with pytest.raises(Refused) as caught:
        channel.receive(request(*headers_of(cookie, **changed)))
    assert (caught.value.status, caught.value.reason) == (status, reason)


async def test_a_repeated_header_is_refused(channel: Channel, browser: httpx2.AsyncClient) -> None:
    headers = headers_of(await cookie_of(browser))
    for name in ("origin", "cookie", "content-type", "sec-fetch-site"):
        with pytest.raises(DuplicateHeader):
            channel.receive(request(*headers, (name, "x"), (name, "y")))


async def test_a_charset_is_no_other_type(channel: Channel, browser: httpx2.AsyncClient) -> None:
    headers = headers_of(await cookie_of(browser), content_type="Application/JSON; charset=utf-8")
    assert channel.receive(request(*headers)).messages


async def test_the_session_is_kept_and_renewed(browser: httpx2.AsyncClient) -> None:
    first = await browser.post("session", headers=OURS)
    second = await browser.post("session", headers=OURS)
    assert (first.json()["known"], second.json()["known"]) == (False, True)
    assert first.json()["session"] == second.json()["session"]
    assert "set-cookie" in second.headers
    assert second.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("origin", "secure"), [("http://chat.example", False), ("https://chat.example", True)])
async def test_the_cookie_is_secure_where_the_browser_sees_https(
    browser: httpx2.AsyncClient, origin: str, secure: bool
) -> None:
    answer = await browser.post("session", headers={"origin": origin})
    assert ("; Secure" in answer.headers["set-cookie"]) is secure


@pytest.mark.parametrize("headers", [{}, {"origin": "http://evil.example"}, {**OURS, "sec-fetch-site": "cross-site"}])
async def test_another_site_cannot_begin_a_session(browser: httpx2.AsyncClient, headers: dict[str, str]) -> None:
    answer = await browser.post("session", headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_the_page_sets_no_cookie(browser: httpx2.AsyncClient) -> None:
    """A strict cookie is kept back when someone follows a link here: a new one would take its place."""
    answer = await browser.get("")
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert "Help &lt;desk&gt;" in answer.text


@pytest.mark.parametrize("name", ["../session.py", "index.html", "__init__.py", "nothing.js", "page/chat.js"])
async def test_nothing_else_is_served(browser: httpx2.AsyncClient, name: str) -> None:
    assert (await browser.get(name)).status_code == 404


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {"cookie": ""}, 401),
        ("", {"cookie": "herald-default-demo-web=forged"}, 401),
        ("chat=a.b", {}, 400),
        ("", {"sec-fetch-site": "cross-site"}, 403),
        ("", {}, 503),  # NATS is not connected
    ],
)
async def test_a_stream_is_refused(
    browser: httpx2.AsyncClient, query: str, headers: dict[str, str], status: int
) -> None:
    cookie = await cookie_of(browser)
    browser.cookies.clear()
    answer = await browser.get(f"stream?{query}", headers={"cookie": cookie, **headers})
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) is (status == 503)


async def test_state(browser: httpx2.AsyncClient) -> None:
    answer = await browser.get("state")
    assert answer.json() == {"ready": True}
    assert answer.headers["cache-control"] == "no-store"


async def test_sending_a_reply_needs_nothing_more(channel: Channel) -> None:
    sent = await channel.send(
        Reply(
            id="r1", turn="t1", channel="web", conversation="c1", chat="c", event_id="e", content="x", created_at=NOW
        ),
        1,
    )
    assert sent.platform_message_id == "r1"


async def test_a_missing_key_is_refused_at_start(settings: WebChannel) -> None:
    (settings.secret / "session-key").unlink()
    with pytest.raises(ConfigurationError):
        await create(settings).start(context())


async def test_a_key_lost_later_is_said_without_a_trace(
    channel: Channel, browser: httpx2.AsyncClient, settings: WebChannel
) -> None:
    cookie = await cookie_of(browser)
    (settings.secret / "session-key").unlink()
    for answer in (await browser.post("session", headers=OURS), await browser.get("stream")):
        assert answer.status_code == 503
        assert json.loads(answer.content) == {"error": "try_again"}
    with pytest.raises(ConfigurationError):  # the webhook route makes it a 503 too
        channel.receive(request(*headers_of(cookie)))
