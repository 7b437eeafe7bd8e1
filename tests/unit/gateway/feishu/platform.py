"""What the tests of the sending side share: an app on the fake Feishu, and card records in memory."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from herald_contracts.messages import Reply
from herald_gateway.channels.feishu.api import Api
from herald_gateway.channels.feishu.cards import Card, read, write
from herald_gateway.channels.feishu.delivery import Delivery
from herald_gateway.channels.feishu.pace import Pace
from herald_runtime.secrets import SecretFolder
from tests.fakes.feishu import Feishu
from tests.unit.gateway.feishu.requests import settings


def reply(content: str = "the answer", *, number: int = 0, reply_to: str | None = "om_question") -> Reply:
    return Reply(
        id=f"r{number:026d}",
        turn="t",
        channel="feishu",
        conversation="c",
        chat="oc_chat",
        reply_to=reply_to,
        event_id="om_question",
        content=content,
        created_at=datetime.now(UTC),
    )


@dataclass
class MemoryRecords:
    """The records port, over a dict; values go through the wire format."""

    stored: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    writes: int = 0

    async def get(self, reply: str) -> tuple[Card, int] | None:
        found = self.stored.get(reply)
        return None if found is None else (read(found[0]), found[1])

    async def create(self, reply: str, card: Card) -> int | None:
        return await self.update(reply, card, 0)

    async def update(self, reply: str, card: Card, revision: int) -> int | None:
        if self.stored.get(reply, (b"", 0))[1] != revision:
            return None
        self.writes += 1
        self.stored[reply] = (write(card), self.writes)
        return self.writes

    def card(self, reply: str) -> Card:
        return read(self.stored[reply][0])


@dataclass
class Clock:
    """Real time, plus what a test adds."""

    ahead: float = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    def wall(self) -> float:
        return time.time() + self.ahead


async def nobody(holder: str, reply: str, seconds: float) -> tuple[str, bool] | None:
    """No gateway answers, and that is known at once."""
    return None


@asynccontextmanager
async def app(folder: Path, feishu: Feishu) -> AsyncIterator[Api]:
    """An API client of the fake."""
    made = settings(folder, base_url=feishu.url)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield Api(http, made.base_url, made.app_id, SecretFolder(made.secret))
        # Lets the transports of aborted connections close.
        await asyncio.sleep(0)


def delivery(
    api: Api,
    records: MemoryRecords,
    clock: Clock | None = None,
    ask: Callable[[str, str, float], Awaitable[tuple[str, bool] | None]] = nobody,
) -> Delivery:
    clock = clock or Clock()
    return Delivery(api, records, Pace(), ask, clock=clock.monotonic, wall=clock.wall)
