"""One page's view of its conversation: what stream WEB holds, what comes after, and answers being written.

A page's view lives as long as one HTTP response and one NATS connection. When either breaks it ends, saying why,
and the page asks for the rest by the place of the last entry it has: nothing needs to survive in between.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from herald_contracts import identity
from herald_contracts.errors import MalformedMessage, TemporaryError
from herald_contracts.messages import LiveUpdate, Message, Reply
from herald_contracts.subjects import Names
from herald_gateway.channels.web import events
from herald_gateway.channels.web.live import LiveUpdates
from herald_gateway.channels.web.session import Session
from herald_runtime import logs
from herald_runtime.process import first_to_end
from herald_runtime.pulling import ConsumerGone, Puller

# Of a long conversation a page gets the end. More would only make every reload slower.
SHOWN = 200
PER_SESSION = 4  # browsers open at most 6 connections to a host, and sending needs one too
PER_CHANNEL = 1_000
HEARTBEAT_SECONDS = 15.0
_LOOK_SECONDS = 0.5
_API_SECONDS = 3.0
_AHEAD = 8  # entries fetched before the page has taken them: each may be as large as a message can be

Write = Callable[[bytes], Awaitable[None]]
log = logs.get("web.transcript")


class Unavailable(TemporaryError):
    """The transcript cannot be read now."""


@dataclass(frozen=True, slots=True)
class _Beginning:
    """Where a view starts: the consumer to read, and what to tell the page before its first entry."""

    consumer: str
    pending: int
    reset: bool


class Transcripts:
    """All open views of one web channel."""

    def __init__(self, client: Client, names: Names, channel: str, live: LiveUpdates, stopping: asyncio.Event) -> None:
        self.client = client
        self.names = names
        self.channel = channel
        self.live = live
        self.stopping = stopping
        self._open: dict[str, list[View]] = {}

    async def view(self, session: Session, chat: str, after: int) -> "View":
        """A view of one conversation, from the entry after place `after`. Raises Unavailable."""
        if self.stopping.is_set():
            raise Unavailable("the gateway is stopping")
        if sum(len(views) for views in self._open.values()) >= PER_CHANNEL:
            raise Unavailable("too many pages are open")
        conversation = identity.conversation_id(self.channel, chat, None)
        return View(self, session, conversation, await self._begin(conversation, after))

    def opened(self, view: "View") -> None:
        """Takes up a view; the session's oldest one makes room for it."""
        views = self._open.setdefault(view.session.id, [])
        views.append(view)
        for oldest in views[:-PER_SESSION]:
            oldest.end("elsewhere")

    def closed(self, view: "View") -> None:
        views = self._open[view.session.id]
        views.remove(view)
        if not views:
            del self._open[view.session.id]

    async def _begin(self, conversation: str, after: int) -> _Beginning:
        if not self.client.is_connected:
            raise Unavailable("not connected to NATS")
        js = self.client.jetstream(timeout=_API_SECONDS)
        stream = self.names.web_stream
        consumer = f"page-{secrets.token_hex(8)}"
        try:
            # Beyond the end: this is another stream than the one the page has read, made anew since.
            unknown = after > 0 and after > (await js.stream_info(stream)).state.last_seq
            start = 1 if unknown else after + 1
            info = await js.add_consumer(
                stream,
                ConsumerConfig(
                    name=consumer,
                    filter_subjects=[
                        self.names.incoming(self.channel, conversation),
                        self.names.outgoing(self.channel, conversation),
                    ],
                    deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                    opt_start_seq=start,
                    ack_policy=AckPolicy.NONE,
                    inactive_threshold=30,
                    mem_storage=True,
                    num_replicas=1,
                ),
            )
        except (NatsError, TimeoutError) as e:
            raise Unavailable(type(e).__name__) from None
        pending = info.num_pending or 0
        return _Beginning(consumer, pending, unknown or (after > 0 and pending > SHOWN))


class View:
    """One open page. `run` writes to it until the page, the gateway or NATS goes."""

    def __init__(self, transcripts: Transcripts, session: Session, conversation: str, begin: _Beginning) -> None:
        self.session = session
        self._all = transcripts
        self._client = transcripts.client
        self._conversation = conversation
        self._begin = begin
        self._incoming = transcripts.names.incoming(transcripts.channel, conversation)
        self._reconnects = self._client.stats["reconnects"]
        self._entries: asyncio.Queue[Msg] = asyncio.Queue(_AHEAD)
        self._bell = asyncio.Event()  # an entry, a live update or the end
        self._reason = ""
        self._caught_up = False
        self._replied: deque[str] = deque(maxlen=256)
        self._live_shown: bytes | None = None

    def end(self, reason: str) -> None:
        """Makes `run` write its last event and return. The first reason counts."""
        self._reason = self._reason or reason
        self._bell.set()

    async def run(self, write: Write) -> None:
        """Write events until there is a reason to end. `write` may block: then nothing is fetched either."""
        self._all.opened(self)
        try:
            with self._all.live.listening(self._conversation, self._bell):
                await first_to_end(
                    asyncio.create_task(self._fetch(), name="fetch transcript"),
                    asyncio.create_task(self._show(write), name="show transcript"),
                )
        finally:
            self._all.closed(self)
            # It would go by itself, in a while; when there is no connection it has gone, or soon will.
            with contextlib.suppress(NatsError):
                subject = f"$JS.API.CONSUMER.DELETE.{self._all.names.web_stream}.{self._begin.consumer}"
                await self._client.publish(subject)

    async def _fetch(self) -> None:
        stream, consumer = self._all.names.web_stream, self._begin.consumer
        try:
            async with Puller(self._client, stream, consumer, batch=_AHEAD) as puller:
                async for msg in puller:
                    await self._entries.put(msg)
                    self._bell.set()
        except (ConsumerGone, NatsError):
            self.end("lost")
            await asyncio.Event().wait()  # `_show` still has its last word

    async def _show(self, write: Write) -> None:
        if self._begin.reset:
            await write(events.reset())
        if self._begin.pending == 0:
            await self._tell_caught_up(write)
        now = asyncio.get_running_loop().time
        live_at = 0.0
        heartbeat_at = now() + HEARTBEAT_SECONDS
        while not self._reason:
            self._bell.clear()
            while not self._entries.empty() and not self._reason:
                await self._show_entry(self._entries.get_nowait(), write)
            if self._live_waiting() and now() >= live_at:
                live_at = now() + await self._show_live(write)
            if now() >= heartbeat_at:
                await write(events.beat())
                heartbeat_at = now() + HEARTBEAT_SECONDS
            self._notice_the_end()
            # Never for long: stopping and a lost connection ring no bell.
            wait = min(_LOOK_SECONDS, live_at - now()) if self._live_waiting() else _LOOK_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._bell.wait()
        await write(events.ending(self._reason))

    def _notice_the_end(self) -> None:
        if self._all.stopping.is_set():
            self.end("leaving")
        elif not self._client.is_connected or self._client.stats["reconnects"] != self._reconnects:
            # The consumer may have gone with the server, and a live update with the connection.
            self.end("lost")

    async def _show_entry(self, msg: Msg, write: Write) -> None:
        place = msg.metadata.sequence.stream
        left = msg.metadata.num_pending
        if left < SHOWN or self._caught_up:
            try:
                entry = self._read(msg, place)
            except MalformedMessage:
                log.warning("unreadable entry", stream=self._all.names.web_stream, sequence=place)
            else:
                long = len(entry.text) > events.LONG_TEXT
                await write(await asyncio.to_thread(entry.encode) if long else entry.encode())
        if left == 0 and not self._caught_up:
            await self._tell_caught_up(write)

    def _read(self, msg: Msg, place: int) -> events.Durable:
        if msg.subject == self._incoming:
            return events.message(Message.from_wire(msg.data), place, self.session)
        reply = Reply.from_wire(msg.data)
        self._replied.append(reply.id)
        return events.reply(reply, place, self.session)

    async def _tell_caught_up(self, write: Write) -> None:
        self._caught_up = True
        await write(events.caught_up(shortened=self._begin.pending > SHOWN))

    def _live_waiting(self) -> bool:
        """Is there a live update not shown yet? Before the page has its transcript it could not tell what it is of."""
        newest = self._all.live.newest(self._conversation)
        return self._caught_up and newest is not None and newest is not self._live_shown

    async def _show_live(self, write: Write) -> float:
        """Writes the newest live update; returns the seconds until the next one may be written."""
        raw = self._live_shown = self._all.live.newest(self._conversation)
        try:
            update = LiveUpdate.from_wire(raw or b"")
        except MalformedMessage:
            log.warning("unreadable live update", channel=self._all.channel)
            return 0.0
        if update.reply in self._replied:
            return 0.0
        now = asyncio.get_running_loop().time
        began = now()
        long = len(update.text) > events.LONG_TEXT
        event = (
            await asyncio.to_thread(events.live, update, self.session) if long else events.live(update, self.session)
        )
        pause = events.pause_after_live(now() - began, len(event))
        await write(event)
        return pause
