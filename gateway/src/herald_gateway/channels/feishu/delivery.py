"""Delivering the final text: claim the card, make sure nobody else writes to it, write, note what is there.

Safe to be cut off anywhere and begun again, by this gateway or another: the record says how far it came, the
uuid makes each message one message, and an update sets a state. What cannot be known any more (the platform's
hour of de-duplication is over, and whether an earlier attempt arrived was never known) is not sent a second time:
it is given up with that reason, which the ledger shows.
"""

import asyncio
from collections.abc import Callable

from herald_contracts.messages import Reply
from herald_gateway.channels.base import ChannelDown, Delivered, SendUnknown, Undeliverable
from herald_gateway.channels.feishu import cards, render
from herald_gateway.channels.feishu.api import Api, Limited, Rejected, StillSending
from herald_gateway.channels.feishu.cards import LEASE, Card, UnreadableCard
from herald_gateway.channels.feishu.outcome import Outcome
from herald_gateway.channels.feishu.pace import PER_CHAT, Pace
from herald_gateway.channels.feishu.records import Records
from herald_gateway.channels.feishu.streaming import LATE, Ask, Clock
from herald_runtime import logs

_AGAIN = 0.5  # seconds before asking again for a message that Feishu is still sending
_AGAIN_TIMES = 4
_PART_GAP = PER_CHAT  # seconds between two parts of one answer

log = logs.get("feishu.delivery")


class Delivery:
    """`ask` asks a streaming gateway for the card; `clock` is monotonic, `wall` is Unix time."""

    def __init__(self, api: Api, records: Records, pace: Pace, ask: Ask, *, clock: Clock, wall: Clock) -> None:
        self._api = api
        self._records = records
        self._pace = pace
        self._ask = ask
        self._clock = clock
        self._wall = wall

    async def deliver(self, reply: Reply) -> Delivered:
        """Raises ChannelDown, SendUnknown or Undeliverable."""
        parts = render.parts(reply.content)
        try:
            work = _Work(self._records, reply.id, self._wall)
            await work.claim()
        except UnreadableCard:
            raise Undeliverable("feishu: the record of this reply is of another version") from None
        late = False
        if not work.card.settled:
            late = await self._settle(work, parts[0])
        if work.card.streamed and work.card.ids:
            await self._finish_first(work.card.ids[0], parts[0], reply.chat, late=late)
        while len(work.card.ids) < len(parts):
            number = len(work.card.ids)
            if number > 0:
                await asyncio.sleep(_PART_GAP)
            message_id, as_card = await self._send(work, reply, parts[number], number)
            if number == 0 and work.card.streamed and as_card:
                # What the uuid found may be the card as the streaming gateway left it.
                await self._finish_first(message_id, parts[0], reply.chat, late=late)
            await work.sent(message_id)
        return Delivered(work.card.ids[0])

    async def _settle(self, work: "_Work", first: str) -> bool:
        """Wait until the streaming gateway is quiet. True when one of its updates may still arrive."""
        until = self._clock() + LEASE
        word = await self._ask(work.card.holder, work.reply, LEASE)
        if word is None:
            await asyncio.sleep(max(0.0, until - self._clock()))
        message_id, unsure = word or ("", False)
        await work.write(cards.settled(work.card, message_id, text="" if word else first))
        return unsure or word is None

    async def _finish_first(self, message_id: str, text: str, chat: str, *, late: bool) -> None:
        await self._update(message_id, text, chat)
        if late:
            await asyncio.sleep(LATE)
            await self._update(message_id, text, chat)

    async def _update(self, message_id: str, text: str, chat: str) -> None:
        self._pace.spent(chat, self._clock())
        try:
            await self._api.update(message_id, render.card(text))
        except Rejected as e:
            if e.outcome is not Outcome.BAD_CARD:
                raise
            log.warning("card refused, showing plain text", problem=str(e))
            await self._api.update(message_id, render.plain_card(text))

    async def _send(self, work: "_Work", reply: Reply, text: str, number: int) -> tuple[str, bool]:
        """Send one part; returns its id, and whether it is a card."""
        if not work.card.certain(self._wall()):
            raise Undeliverable(
                "feishu: whether an earlier attempt arrived is unknown, and repeating it now could show it twice"
            )
        await work.sending()
        uuid = reply.id if number == 0 else f"{reply.id}-{number}"
        self._pace.spent(reply.chat, self._clock())
        try:
            return await self._in_some_form(reply, text, uuid)
        except (ChannelDown, Undeliverable) as e:
            if isinstance(e, Limited):
                self._pace.limited(reply.chat, self._clock(), e.retry_after)
            await work.not_sent()
            raise

    async def _in_some_form(self, reply: Reply, text: str, uuid: str) -> tuple[str, bool]:
        try:
            return await self._create(reply, "interactive", render.card(text), uuid), True
        except Rejected as e:
            if e.outcome is Outcome.BAD_CARD:
                log.warning("card refused, sending plain text", reply=reply.id, problem=str(e))
                return await self._create(reply, "interactive", render.plain_card(text), uuid), True
            if e.outcome is Outcome.NO_CARDS:
                return await self._create(reply, "post", render.post(text), uuid), False
            raise

    async def _create(self, reply: Reply, kind: str, content: str, uuid: str) -> str:
        for _ in range(_AGAIN_TIMES):
            try:
                return await self._api.create(reply.chat, reply.reply_to, kind, content, uuid)
            except StillSending:
                await asyncio.sleep(_AGAIN)
        raise SendUnknown("feishu is still sending it")


class _Work:
    """One reply's record while we deliver it: every change is written before what depends on it is done."""

    def __init__(self, records: Records, reply: str, wall: Callable[[], float]) -> None:
        self.reply = reply
        self.card = Card("final")
        self._records = records
        self._wall = wall
        self._revision = 0
        self._ours = False  # `unsure_since` was set by this attempt

    async def claim(self) -> None:
        """Make the record `final`. Raises ChannelDown, also when others keep changing it."""
        for _ in range(8):
            found = await self._records.get(self.reply)
            if found is None:
                card = cards.unstreamed(self._wall())
                revision = await self._records.create(self.reply, card)
                self._ours = True
            elif found[0].phase == "final":
                self.card, self._revision = found
                return
            else:
                card = cards.claimed(found[0])
                revision = await self._records.update(self.reply, card, found[1])
            if revision is not None:
                self.card, self._revision = card, revision
                return
            self._ours = False
        raise ChannelDown("the card's record changes all the time", retry_after=1.0)

    async def write(self, card: Card) -> None:
        """Raises ChannelDown, also when another gateway delivers the same reply at this moment."""
        if card == self.card:
            return
        revision = await self._records.update(self.reply, card, self._revision)
        if revision is None:
            raise ChannelDown("another gateway delivers this reply", retry_after=2.0)
        self.card, self._revision = card, revision

    async def sending(self) -> None:
        if self.card.unsure_since is None:
            await self.write(cards.sending(self.card, self._wall()))
            self._ours = True

    async def not_sent(self) -> None:
        """Nothing was done by this attempt; if an earlier one left a doubt, the doubt stays."""
        if self._ours:
            try:
                await self.write(cards.not_sent(self.card))
            except ChannelDown as e:
                log.debug("doubt not cleared", reply=self.reply, problem=str(e))

    async def sent(self, message_id: str) -> None:
        card = cards.sent(self.card, message_id)
        try:
            await self.write(card)
        except ChannelDown as e:
            # It is there all the same; the uuid covers a repetition, and the core's own record follows.
            log.warning("delivered, but not noted", reply=self.reply, problem=str(e))
            self.card = card
        self._ours = False
