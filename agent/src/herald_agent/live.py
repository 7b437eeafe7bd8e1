"""The reply as it grows, on plain NATS: best effort, and never in the way of the turn.

What a reader sees last is the durable Reply; an update that is late, lost or doubled costs nothing. So the model's
text is only noted here, and a task of its own publishes the newest one, at most every 50 ms.
"""

import asyncio
import contextlib
from typing import Self

from nats.aio.client import Client
from nats.errors import Error as NatsError

from herald_agent.deciding.turns import Turn
from herald_contracts.identity import reply_id
from herald_contracts.messages import LiveUpdate, Message
from herald_contracts.subjects import Names

_EVERY = 0.05  # seconds
_MOST = 32_768  # characters: a page shows this much; the Reply brings the rest


class Live:
    """Updates of one attempt of a turn. An async context manager: the last text may stay unpublished at its end."""

    def __init__(self, client: Client, names: Names, message: Message, turn: Turn) -> None:
        self._client = client
        # An edit or a recall has no reply: nobody should see one being written.
        self._quiet = turn.quiet or message.kind != "message"
        self._subject = names.live(message.channel, message.conversation)
        self._update = LiveUpdate(
            turn=turn.id,
            reply=reply_id(turn.id, turn.reply_number),
            channel=message.channel,
            conversation=message.conversation,
            chat=message.chat,
            thread=message.thread,
            reply_to=message.platform_message_id,
            event_id=message.event_id,
            sequence=0,
            state="started",
        )
        self._grew = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._grew.set()
        self._task = asyncio.create_task(self._publish(), name=f"live {self._update.turn}")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def say(self, text: str) -> None:
        """`text` is all that the model said so far. Returns at once."""
        self._next("streaming", text[:_MOST])

    async def retrying(self) -> None:
        """The turn will be tried again: what was shown so far is void."""
        self._next("retrying", "")
        # The task that would publish it is about to end.
        await self._send(self._update)

    def _next(self, state: str, text: str) -> None:
        self._update = self._update.model_copy(
            update={"state": state, "text": text, "sequence": self._update.sequence + 1}
        )
        self._grew.set()

    async def _publish(self) -> None:
        while True:
            await self._grew.wait()
            self._grew.clear()
            await self._send(self._update)
            await asyncio.sleep(_EVERY)

    async def _send(self, update: LiveUpdate) -> None:
        if self._client.is_connected and not self._quiet:
            with contextlib.suppress(NatsError, OSError):
                await self._client.publish(self._subject, update.to_wire())
