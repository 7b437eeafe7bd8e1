"""A receiver of replies: what an integrator would run behind `replyURL`, with moods.

It keeps a record of every post, outside the product, so that a test can count what was delivered, twice or never.
Signatures are checked on its own account: HMAC by hand, Standard Webhooks by that project's SDK.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Mood:
    """How one post is treated."""

    status: int = 200
    delay: float = 0.0  # seconds before the answer
    drop: bool = False  # take it, then close the connection without an answer
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


@dataclass(frozen=True, slots=True)
class Post:
    """One post as it arrived."""

    at: float  # time.monotonic
    headers: dict[str, str]
    body: bytes
    signed: bool
    mood: Mood

    @property
    def json(self) -> dict[str, Any]:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def reply(self) -> str:
        """The idempotency key."""
        return self.headers.get("herald-reply-id") or self.headers.get("webhook-id") or ""

    @property
    def event(self) -> str:
        return str(self.json["event"])

    @property
    def taken(self) -> bool:
        """Whether a receiver of this mood has the reply, whatever the sender heard."""
        return self.mood.drop or 200 <= self.mood.status < 300


class Receiver:
    """`async with Receiver(secret) as receiver:` and let a channel post to `receiver.url`.

    One that was never opened keeps the record of posts that arrived somewhere else: `take` them.
    """

    def __init__(self, secret: bytes = b"", *, standard: str = "") -> None:
        """`secret` is that of an `hmac` channel, `standard` (whsec_...) that of a `standardWebhooks` channel."""
        self._secret = secret
        self._standard = standard
        self.posts: list[Post] = []
        self.mood = Mood()
        self.moods: deque[Mood] = deque()  # for the next posts, before `mood` applies again
        self.url = ""
        self._arrived = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Listen; a second time on the same port."""
        app = web.Application(client_max_size=4 * 2**20)
        app.router.add_post("/replies", self._post)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, _HOST, self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://{_HOST}:{self._port}/replies"

    async def close(self) -> None:
        """Refuse connections from now on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def replies(self) -> Counter[str]:
        """How often each reply id was taken."""
        return Counter(post.reply for post in self.posts if post.taken)

    def events(self) -> Counter[str]:
        """How many different replies each event got."""
        return Counter({post.reply: post.event for post in self.posts if post.taken}.values())

    async def until(self, condition: Callable[["Receiver"], bool], deadline: float = 20) -> None:
        """Wait until the condition holds. Raises TimeoutError."""
        async with asyncio.timeout(deadline), self._arrived:
            await self._arrived.wait_for(lambda: condition(self))

    async def take(self, headers: Mapping[str, str], body: bytes, mood: Mood | None = None) -> None:
        """Put one post into the record; `mood` is how it was treated (default: taken)."""
        known = {name.lower(): value for name, value in headers.items()}
        self.posts.append(Post(time.monotonic(), known, body, self._signed(known, body), mood or Mood()))
        async with self._arrived:
            self._arrived.notify_all()

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.read()
        mood = self.moods.popleft() if self.moods else self.mood
        await self.take(request.headers, body, mood)
        if mood.delay:
            await asyncio.sleep(mood.delay)
        if mood.drop and request.transport is not None:
            request.transport.abort()
        return web.Response(status=mood.status, body=mood.body, headers=mood.headers)

    def _signed(self, headers: dict[str, str], body: bytes) -> bool:
        if self._standard:
            try:
                Webhook(self._standard).verify(body.decode(), headers)
            except WebhookVerificationError:
                return False
            return True
        timestamp = headers.get("herald-timestamp", "")
        expected = hmac.new(self._secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        given = headers.get("herald-signature", "").split(",")
        return abs(time.time() - int(timestamp or 0)) < 300 and f"v1={expected}" in given
