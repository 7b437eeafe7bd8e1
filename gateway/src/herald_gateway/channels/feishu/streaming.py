"""A card that grows while the model writes. Worth having, never worth a wrong final text.

One gateway streams a turn: the one that creates the turn's card record first. It creates the card with the reply's
own uuid, so that whoever sends first, there is one message, and it obeys the rules of `cards`. Whatever fails here
is logged and forgotten: the final text comes by the durable way and needs nothing from this module but its word
that it is quiet.
"""

import asyncio
import contextlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from herald_contracts.errors import HeraldError, MalformedMessage
from herald_contracts.messages import LiveUpdate
from herald_gateway.channels.base import ChannelDown, SendUnknown
from herald_gateway.channels.feishu import cards, render
from herald_gateway.channels.feishu.api import CREATE_SECONDS, UPDATE_SECONDS, Api
from herald_gateway.channels.feishu.cards import LEASE, Card
from herald_gateway.channels.feishu.pace import Pace
from herald_gateway.channels.feishu.records import Records
from herald_runtime import logs

LATE = 2.0  # seconds after which a lost update has arrived or never will
_SILENT = 600.0  # seconds without an update after which a turn is let go
_MOST = 200  # turns streamed at once by one gateway
_REMEMBERED = 10_000
_MARGIN = 0.5  # seconds between the end of a request and the end of the lease

Clock = Callable[[], float]
log = logs.get("feishu.streaming")


class _Growing:
    """One card of ours. `update` is the newest; `fresh` says that it has not been shown yet."""

    def __init__(self, update: LiveUpdate) -> None:
        self.update = update
        self.fresh = asyncio.Event()
        self.fresh.set()
        self.over = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.record: Card | None = None  # what we wrote last; None while or when the record is not ours
        self.revision = 0
        self.granted = 0.0  # when the last renewal was begun
        self.message_id = ""
        self.shown: str | None = None
        self.doubt = 0.0  # until when a lost update of ours may still arrive

    def end(self) -> None:
        self.over.set()
        self.fresh.set()


class Streamer:
    """`start` subscribes, `stop` lets go of every card."""

    def __init__(
        self, api: Api, records: Records, pace: Pace, client: Client, subject: str, *, clock: Clock, wall: Clock
    ) -> None:
        self._api = api
        self._records = records
        self._pace = pace
        self._client = client
        self._subject = subject
        self._clock = clock  # monotonic
        self._wall = wall  # Unix time
        self._inbox = ""
        self._growing: dict[str, _Growing] = {}
        self._over: OrderedDict[str, None] = OrderedDict()
        self._subscriptions: list[Subscription] = []
        self._answers: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._inbox = self._client.new_inbox()
        self._subscriptions = [
            await self._client.subscribe(self._inbox, cb=self._asked),
            await self._client.subscribe(self._subject, cb=self._updated),
        ]

    async def stop(self) -> None:
        """Let go of every card, so that whoever sends the final texts need not wait for us."""
        for subscription in self._subscriptions:
            try:
                await subscription.unsubscribe()
            except NatsError as e:
                log.debug("not unsubscribed", error=type(e).__name__)
        for card in self._growing.values():
            card.end()
        tasks = {card.task for card in self._growing.values() if card.task is not None} | self._answers
        if tasks:
            await asyncio.wait(tasks, timeout=LEASE)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _updated(self, msg: Msg) -> None:
        try:
            update = LiveUpdate.from_wire(msg.data)
        except MalformedMessage as e:
            log.warning("unreadable live update", problem=str(e))
            return
        card = self._growing.get(update.reply)
        if card is not None:
            card.update = update
            card.fresh.set()
        elif update.reply not in self._over and len(self._growing) < _MOST:
            card = _Growing(update)
            self._growing[update.reply] = card
            card.task = asyncio.create_task(self._grow(update.reply, card), name=f"card {update.reply}")

    async def _asked(self, msg: Msg) -> None:
        """The final sender wants the card: answer once nothing of ours is on its way."""
        task = asyncio.create_task(self._answer(msg), name="card handover")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer(self, msg: Msg) -> None:
        reply = msg.data.decode("ascii", "replace")
        card = self._growing.get(reply)
        self._remember(reply)
        word: dict[str, object] = {"message_id": "", "unsure": False}
        if card is not None and card.task is not None:
            card.end()
            await asyncio.wait([card.task])
            word = {"message_id": card.message_id, "unsure": self._clock() < card.doubt}
        try:
            await msg.respond(json.dumps(word).encode())
        except NatsError as e:
            log.debug("no word to the sender", error=type(e).__name__)

    async def _grow(self, reply: str, card: _Growing) -> None:
        try:
            if await self._opened(reply, card) and await self._created(reply, card):
                while await self._next(card):
                    await self._show(reply, card)
            await self._release(reply, card)
        except HeraldError as e:
            log.info("card stands still until the final text", reply=reply, problem=str(e))
        finally:
            self._remember(reply)
            self._growing.pop(reply, None)

    async def _opened(self, reply: str, card: _Growing) -> bool:
        begun = self._clock()
        record = cards.streaming(self._inbox, self._wall())
        revision = await self._records.create(reply, record)
        if revision is None:
            return False  # another gateway streams it, or the final text was faster
        card.record, card.revision, card.granted = record, revision, begun
        return True

    async def _created(self, reply: str, card: _Growing) -> bool:
        """Create the card and enter its id into the record."""
        await self._pause(card, self._pace.reserve(card.update.chat, self._clock()))
        if card.over.is_set() or not await self._permitted(reply, card, CREATE_SECONDS):
            return False
        update = card.update
        card.fresh.clear()
        text = render.first_part(update.text)
        content = render.card(text, growing=True)
        try:
            card.message_id = await self._api.create(update.chat, update.reply_to, "interactive", content, reply)
        except SendUnknown as e:
            # The final text will find by its uuid what became of this.
            log.info("no card to grow", reply=reply, problem=str(e))
            return False
        card.shown = text
        return await self._renew(reply, card)

    async def _next(self, card: _Growing) -> bool:
        """Wait for something new to show. False when it is over, or nothing came for long."""
        try:
            async with asyncio.timeout(_SILENT):
                await card.fresh.wait()
        except TimeoutError:
            return False
        return not card.over.is_set()

    async def _show(self, reply: str, card: _Growing) -> None:
        await self._pause(card, self._pace.reserve(card.update.chat, self._clock()))
        card.fresh.clear()
        text = render.first_part(card.update.text)
        if card.over.is_set() or text == card.shown:
            return
        if not await self._permitted(reply, card, UPDATE_SECONDS):
            card.end()
            return
        await self._write(card, text)
        if self._clock() > card.granted + LEASE:
            # We were stopped in mid-request: the final text may have been there already.
            card.end()
            await self._repair(reply, card)

    async def _write(self, card: _Growing, text: str) -> None:
        chat = card.update.chat
        try:
            await self._api.update(card.message_id, render.card(text, growing=True))
        except (ChannelDown, SendUnknown) as e:
            log.debug("an update is lost", problem=str(e))
            if isinstance(e, SendUnknown):
                card.doubt = self._clock() + LATE
            self._pace.limited(chat, self._clock(), e.retry_after if isinstance(e, ChannelDown) else None)
            card.fresh.set()
        else:
            card.shown = text
            self._pace.fine()

    async def _permitted(self, reply: str, card: _Growing, seconds: float) -> bool:
        """May a request of at most `seconds` begin now? Renews the record when its lease would not outlast it."""
        if self._clock() + seconds + _MARGIN <= card.granted + LEASE:
            return True
        return await self._renew(reply, card)

    async def _renew(self, reply: str, card: _Growing) -> bool:
        if card.record is None:
            return False
        begun = self._clock()
        record = cards.renewed(card.record, card.message_id)
        revision = await self._records.update(reply, record, card.revision)
        if revision is None:
            card.record = None
            return False
        card.record, card.revision, card.granted = record, revision, begun
        return True

    async def _release(self, reply: str, card: _Growing) -> None:
        """Nobody asked us to end: say that we did. While in doubt we say nothing, and the sender waits."""
        if card.record is not None and self._clock() >= card.doubt:
            await self._records.update(reply, cards.released(card.record, card.message_id), card.revision)

    async def _repair(self, reply: str, card: _Growing) -> None:
        card.record = None
        found = await self._records.get(reply)
        if found is not None and found[0].phase == "final" and found[0].text:
            log.warning("woke up late, putting the final text back", reply=reply)
            if self._clock() < card.doubt:
                await asyncio.sleep(LATE)
            await self._api.update(card.message_id, render.card(found[0].text))

    async def _pause(self, card: _Growing, seconds: float) -> None:
        """Wait, but not longer than the card is ours to write."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await card.over.wait()

    def _remember(self, reply: str) -> None:
        """A late update of this turn starts nothing new."""
        self._over[reply] = None
        while len(self._over) > _REMEMBERED:
            self._over.popitem(last=False)


Ask = Callable[[str, str, float], Awaitable[tuple[str, bool] | None]]


def asker(client: Client) -> Ask:
    """How the final sender asks a holder to be quiet: (message_id, unsure), or None when it gives no word in time."""

    async def ask(holder: str, reply: str, seconds: float) -> tuple[str, bool] | None:
        try:
            answer = await client.request(holder, reply.encode(), timeout=seconds)
            word = json.loads(answer.data)
            return str(word["message_id"]), bool(word["unsure"])
        except (NatsError, TimeoutError, ValueError, KeyError, TypeError):
            return None

    return ask
