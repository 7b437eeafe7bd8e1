"""Four chat platforms seen from outside: they send as a platform sends, and remember what people saw.

A platform repeats an event until it hears 2xx, and shows a reply once per idempotency key. Its inbox is the
second witness of `verdict`; nothing in here asks Herald what it did.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

import aiohttp
from standardwebhooks.webhooks import Webhook

from tests.chaos.verdict import Answered
from tests.fakes.callback import Receiver
from tests.fakes.feishu import Events, Feishu, Signed

_REQUEST = aiohttp.ClientTimeout(total=10)


class Platform(Protocol):
    name: str

    async def post(self, http: aiohttp.ClientSession, event: str, conversation: str, text: str) -> str | None:
        """One try. The id by which the inbox knows the event when it was answered 2xx, None otherwise."""
        ...

    def inbox(self) -> list[Answered]:
        """What people see, in the order in which it appeared."""
        ...


async def _accepted(http: aiohttp.ClientSession, url: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        async with http.post(url, data=body, headers=headers, timeout=_REQUEST) as answer:
            if answer.status in (400, 401, 403, 404, 413, 415):
                raise AssertionError(f"{url} refused a good message: {answer.status} {await answer.text()}")
            return 200 <= answer.status < 300
    except (aiohttp.ClientError, TimeoutError):
        return False


def _body(event: str, conversation: str, text: str) -> bytes:
    return json.dumps(
        {"id": event, "conversation": conversation, "sender": {"id": f"person-{conversation}"}, "text": text}
    ).encode()


def _posted(name: str, receiver: Receiver) -> list[Answered]:
    """A receiver that does what docs/channels/hmac.md asks for: a reply id that it has seen is dropped."""
    seen: set[str] = set()
    shown = []
    for post in receiver.posts:
        if post.taken and post.reply not in seen:
            seen.add(post.reply)
            shown.append(Answered(name, post.event, str(post.json["text"])))
    return shown


class Hmac:
    name = "hooks"

    def __init__(self, url: Callable[[], str], secret: bytes, receiver: Receiver) -> None:
        self._url, self._secret, self._receiver = url, secret, receiver

    async def post(self, http: aiohttp.ClientSession, event: str, conversation: str, text: str) -> str | None:
        return await self.send(http, event, _body(event, conversation, text))

    async def send(self, http: aiohttp.ClientSession, event: str, body: bytes) -> str | None:
        """Any body, signed; `event` when it was accepted."""
        now = str(int(time.time()))
        signature = hmac.new(self._secret, now.encode() + b"." + body, hashlib.sha256).hexdigest()
        headers = {
            "Herald-Timestamp": now,
            "Herald-Signature": f"v1={signature}",
            "Content-Type": "application/json",
        }
        url = f"{self._url()}/channels/{self.name}/events"
        return event if await _accepted(http, url, body, headers) else None

    def inbox(self) -> list[Answered]:
        return _posted(self.name, self._receiver)


class Standard:
    name = "standard"

    def __init__(self, url: Callable[[], str], secret: str, receiver: Receiver) -> None:
        self._url, self._signer, self._receiver = url, Webhook(secret), receiver

    async def post(self, http: aiohttp.ClientSession, event: str, conversation: str, text: str) -> str | None:
        body, now = _body(event, conversation, text), datetime.now(UTC)
        headers = {
            "webhook-id": event,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(event, now, body.decode()),
            "Content-Type": "application/json",
        }
        url = f"{self._url()}/channels/{self.name}/events"
        return event if await _accepted(http, url, body, headers) else None

    def inbox(self) -> list[Answered]:
        return _posted(self.name, self._receiver)


class FeishuPlatform:
    name = "feishu"

    def __init__(self, url: Callable[[], str], events: Events, feishu: Feishu) -> None:
        self._url, self._events, self._feishu = url, events, feishu
        self._made: dict[str, Signed] = {}

    async def post(self, http: aiohttp.ClientSession, event: str, conversation: str, text: str) -> str | None:
        made = self._made.setdefault(
            event, self._events.message(text, chat=f"oc_{conversation}", sender=f"ou_{conversation}")
        )
        headers = {**made.headers, **self._events.headers(made.body)}
        accepted = await _accepted(http, f"{self._url()}/channels/{self.name}/events", made.body, headers)
        return made.message_id if accepted else None

    def inbox(self) -> list[Answered]:
        return [Answered(self.name, m.reply_to, m.text) for m in self._feishu.messages if m.reply_to and not m.growing]


class Web:
    """One browser session per conversation, each with its own event stream that it resumes after a break."""

    name = "web"

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url
        self._cookies: dict[str, str] = {}
        self._readers: dict[str, asyncio.Task[None]] = {}
        self._seen: set[str] = set()
        self._inbox: list[Answered] = []

    async def post(self, http: aiohttp.ClientSession, event: str, conversation: str, text: str) -> str | None:
        cookie = await self._session(http, conversation)
        if cookie is None:
            return None
        headers = {"Cookie": cookie, "Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
        body = json.dumps({"id": event, "text": text}).encode()
        return event if await _accepted(http, f"{self._url()}/channels/web/events", body, headers) else None

    def inbox(self) -> list[Answered]:
        return list(self._inbox)

    async def close(self) -> None:
        for reader in self._readers.values():
            reader.cancel()
        await asyncio.gather(*self._readers.values(), return_exceptions=True)

    async def _session(self, http: aiohttp.ClientSession, conversation: str) -> str | None:
        if conversation not in self._cookies:
            try:
                async with http.post(
                    f"{self._url()}/channels/web/session", headers={"Sec-Fetch-Site": "same-origin"}, timeout=_REQUEST
                ) as answer:
                    if answer.status != 200:
                        return None
                    self._cookies[conversation] = answer.headers["Set-Cookie"].partition(";")[0]
            except (aiohttp.ClientError, TimeoutError):
                return None
            self._readers[conversation] = asyncio.create_task(self._read(http, conversation))
        return self._cookies[conversation]

    async def _read(self, http: aiohttp.ClientSession, conversation: str) -> None:
        last = ""
        while True:
            headers = {"Cookie": self._cookies[conversation], "Last-Event-ID": last, "Sec-Fetch-Site": "same-origin"}
            # Every way in which a stream can break is the same to a page: it comes back with its last id. A gateway
            # that was frozen says nothing at all, so a silence ends it too.
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=30)
                async with http.get(f"{self._url()}/channels/web/stream", headers=headers, timeout=timeout) as answer:
                    async for line in answer.content:
                        field, _, value = line.decode().rstrip("\n").partition(": ")
                        if field == "id":
                            last = value
                        elif field == "data":
                            self._take(json.loads(value))
            await asyncio.sleep(0.2)

    def _take(self, event: dict[str, str]) -> None:
        if event["type"] == "reply" and event["id"] not in self._seen:
            self._seen.add(event["id"])
            self._inbox.append(Answered(self.name, event["to"], event["text"]))
