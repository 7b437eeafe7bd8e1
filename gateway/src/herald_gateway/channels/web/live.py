"""Answers while they are written: the newest live update of each conversation, for whoever has its page open.

Updates are cumulative, so one slot per conversation is enough: a page that reads slowly sees fewer steps and
holds no memory, and one that is reloaded sees at once how far the answer has come.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterator

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from herald_contracts.subjects import Names

# What is kept for pages that are not open yet. An older update is one whose turn ended, or whose worker died.
_FRESH_SECONDS = 30.0
_KEPT = 512
_KEPT_BYTES = 64 * 1024


class LiveUpdates:
    """Listens to the live updates of one channel. `start` once, `stop` once."""

    def __init__(self) -> None:
        self._newest: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._listening: dict[str, list[asyncio.Event]] = {}
        self._subscription: Subscription | None = None

    async def start(self, client: Client, names: Names, channel: str) -> None:
        self._subscription = await client.subscribe(names.live_of(channel), cb=self._arrived)

    async def stop(self) -> None:
        if self._subscription is not None:
            # The connection may be closed already, and the subscription with it.
            with contextlib.suppress(NatsError):
                await self._subscription.unsubscribe()

    @contextlib.contextmanager
    def listening(self, conversation: str, bell: asyncio.Event) -> Iterator[None]:
        """Sets `bell` at each new update of a conversation."""
        bells = self._listening.setdefault(conversation, [])
        bells.append(bell)
        try:
            yield
        finally:
            bells.remove(bell)
            if not bells:
                del self._listening[conversation]

    def newest(self, conversation: str) -> bytes | None:
        """The newest update as it came, None when there is none or it is old."""
        found = self._newest.get(conversation)
        if found is None or asyncio.get_running_loop().time() - found[0] > _FRESH_SECONDS:
            return None
        return found[1]

    async def _arrived(self, msg: Msg) -> None:
        conversation = msg.subject.rpartition(".")[2]
        bells = self._listening.get(conversation, ())
        if not bells and len(msg.data) > _KEPT_BYTES:
            self._newest.pop(conversation, None)
            return
        now = asyncio.get_running_loop().time()
        self._newest[conversation] = (now, msg.data)
        self._newest.move_to_end(conversation)
        while len(self._newest) > _KEPT or now - next(iter(self._newest.values()))[0] > _FRESH_SECONDS:
            self._newest.popitem(last=False)
        for bell in bells:
            bell.set()
