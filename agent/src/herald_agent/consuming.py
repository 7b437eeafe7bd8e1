"""A loop over a durable consumer: take a batch, deal with it, take the next; open it anew when it is gone."""

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from herald_agent.feed import Feed
from herald_contracts.errors import HeraldError

_BATCH = 200
_WAIT = 2.0  # seconds


class Consuming:
    """`once` again and again from one loop, `close` at the end."""

    def __init__(self, client: Client, stream: str, consumer: str) -> None:
        self._client = client
        self._stream = stream
        self._consumer = consumer
        self._feed: Feed | None = None
        self._held: list[Msg] = []

    async def handle(self, batch: list[Msg]) -> None:
        """Deal with `batch` and acknowledge it. What is not acknowledged comes again."""
        raise NotImplementedError

    async def once(self) -> None:
        """One batch, or a wait for one. Raises temporary errors; what is in hand is kept for the next call."""
        try:
            if not self._held:
                self._held = await self._take()
            if self._held:
                await self.handle(self._held)
                self._held = []
        except (NatsError, OSError):
            # An acknowledgement did not go out: the server will deliver what is not acknowledged again.
            await self.close()
            raise

    async def close(self) -> None:
        self._held = []
        feed, self._feed = self._feed, None
        if feed is not None:
            await feed.__aexit__()

    async def _take(self) -> list[Msg]:
        try:
            if self._feed is None:
                self._feed = await Feed(self._client, self._stream, self._consumer, batch=_BATCH).__aenter__()
            return await self._feed.batch(_BATCH, _WAIT)
        except HeraldError:
            await self.close()
            raise
