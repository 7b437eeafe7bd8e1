"""A steady load: many conversations, each sending its messages one after the other, as people do."""

import asyncio
import secrets
from collections.abc import Sequence

import aiohttp

from tests.chaos.platforms import Platform
from tests.chaos.verdict import Answered, Sent, Verdict, judge

_RETRY = 0.25  # seconds; platforms wait longer, which would only make the test slower


class Load:
    """`run` sends until `stop`; each message is repeated with the same id until it is accepted."""

    def __init__(
        self, platforms: Sequence[Platform], *, conversations: int, pause: float, directives: str = ""
    ) -> None:
        """`conversations` per platform, `pause` in seconds between two messages of one conversation."""
        self._platforms = platforms
        self._conversations = conversations
        self._pause = pause
        self._directives = directives
        self._stop = asyncio.Event()
        self._released = asyncio.Event()
        self.done = asyncio.Event()
        self._run = secrets.token_hex(3)
        self.sent: list[Sent] = []
        self.expected: dict[str, str] = {}

    async def stop(self) -> None:
        """Send nothing new; return once everything sent was accepted. Readers go on until `release`."""
        self._stop.set()
        await self.done.wait()

    def release(self) -> None:
        self._released.set()

    async def run(self) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http:
            async with asyncio.TaskGroup() as group:
                for platform in self._platforms:
                    for number in range(self._conversations):
                        group.create_task(self._converse(http, platform, f"{self._run}{platform.name[0]}{number}"))
            self.done.set()
            await self._released.wait()

    async def _converse(self, http: aiohttp.ClientSession, platform: Platform, conversation: str) -> None:
        number = 0
        while not self._stop.is_set():
            text = f"{conversation} number {number}."
            event = f"{conversation}-{number}"
            while (key := await platform.post(http, event, conversation, f"{text} {self._directives}")) is None:
                await asyncio.sleep(_RETRY)
            self.sent.append(Sent(platform.name, key, conversation, number))
            self.expected[key] = text
            number += 1
            await asyncio.sleep(self._pause)

    def inbox(self) -> list[Answered]:
        return [answer for platform in self._platforms for answer in platform.inbox()]

    def verdict(self) -> Verdict:
        return judge(self.sent, self.inbox(), expected=self.expected)
