"""From the IN stream into the turn table: one worker at a time reads, and each batch is one statement.

How far the stream was read stands in PostgreSQL, moved by the same statement that opens the turns; the consumer is
a throw-away view that begins behind that cursor and acknowledges nothing. So a message is read exactly once and in
stream order by construction: a worker that was stopped in the middle, a consumer that is gone, a server that was
restarted, all come down to reading on from the cursor.
"""

import asyncio
import secrets
from dataclasses import replace

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from herald_agent import instruments
from herald_agent.crashpoints import Reach, around, nothing
from herald_agent.deciding.reading import read
from herald_agent.deciding.turns import NewTurn, Unreadable
from herald_agent.errors import LeaseLost, StoreRefused, TransportUnavailable
from herald_agent.feed import Feed
from herald_agent.gate import Gate
from herald_agent.store import intake
from herald_agent.store.intake import IntakeLease
from herald_agent.store.pool import Database
from herald_contracts.errors import HeraldError
from herald_contracts.subjects import Names
from herald_runtime import logs
from herald_runtime.waking import Bell

MOST_WAITING = 5_000  # turns; beyond that the backlog stays in the stream, where autoscaling sees it
_BATCH = 100
_IDLE_CONSUMER = 30.0  # seconds until the server forgets a consumer that nobody reads
_PAUSE = 0.2  # seconds between looks while too many turns wait
log = logs.get("intake")


class Intake:
    """`once` again and again from one loop; `ring` when the lease may be vacant, `nudge` when the gate closes."""

    def __init__(
        self,
        client: Client,
        names: Names,
        db: Database,
        bell: Bell,
        gate: Gate,
        *,
        holder: str,
        ttl: float,
        reach: Reach = nothing,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._client = client
        self._stream = names.in_stream
        self._wake = names.wake
        self._db = db
        self._bell = bell
        self._gate = gate
        self._holder = holder
        self._ttl = ttl
        self._reach = reach
        self._most_waiting = most_waiting
        self._vacant = Bell(ttl / 3)
        self._reader: Reader | None = None
        self._holding = False  # the lease, or perhaps: whoever asked for it may have got it
        # No more turns than this can be waiting: what was last counted, and what was opened since.
        self._waiting = most_waiting
        self._entries: list[NewTurn | Unreadable] = []

    @property
    def leading(self) -> bool:
        """Whether this worker is the one that reads, as far as it knows."""
        return self._reader is not None

    def ring(self) -> None:
        """The lease may be vacant: its holder leaves."""
        self._vacant.ring()

    def nudge(self) -> None:
        """Look at the gate now instead of waiting for messages."""
        self._vacant.ring()
        if self._reader is not None:
            self._reader.nudge()

    async def once(self) -> None:
        """One step: take the lease, or read and claim one batch. Raises temporary errors."""
        if not self._gate.open:
            await self._step_down()
            await self._gate.opened()
            return
        try:
            if self._reader is None:
                await self._begin()
            elif self._entries:
                await self._claim_in_hand(self._reader)
            else:
                await self._read(self._reader)
        except LeaseLost:
            log.info("the lease or the cursor has moved, beginning again")
            await self.close()
        except (NatsError, OSError):
            # Another worker's connection may be better than ours.
            await self.release()
            raise

    async def close(self) -> None:
        """Stop reading; the lease stays until it runs out or is released."""
        reader, self._reader = self._reader, None
        self._entries = []
        if reader is not None:
            await reader.close()

    async def release(self) -> None:
        """Stop reading and let another worker begin at once."""
        await self.close()
        await intake.release(self._db, stream=self._stream, holder=self._holder)
        self._holding = False

    async def _step_down(self) -> None:
        """Another revision is to read: let it begin at once. Raises temporary errors, and then is not done yet."""
        if not self._holding:
            return
        await self.release()
        log.info("reading no more")
        if self._client.is_connected:
            await self._client.publish(self._wake, b"")

    async def _begin(self) -> None:
        if not self._client.is_connected:
            raise TransportUnavailable("not connected")
        self._holding = True
        lease = await around(
            self._reach, "intake.take", intake.take(self._db, stream=self._stream, holder=self._holder, ttl=self._ttl)
        )
        if lease is None:
            self._holding = False
            await self._vacant.wait()
            return
        info = await self._client.jetstream().stream_info(self._stream)
        incarnation = info.created.isoformat() if info.created is not None else ""
        if lease.incarnation != incarnation or info.state.last_seq < lease.cursor:
            if lease.cursor:
                log.warning("the stream was created anew, reading it from its start", cursor=lease.cursor)
            await intake.rewind(self._db, lease, incarnation=incarnation)
            lease = replace(lease, cursor=0, incarnation=incarnation)
        self._reader = await Reader.open(self._client, lease)
        log.info("reading the stream", cursor=lease.cursor, epoch=lease.epoch)

    async def _read(self, reader: "Reader") -> None:
        if self._waiting >= self._most_waiting:
            self._waiting = await intake.waiting(self._db, most=self._most_waiting)
            if self._waiting >= self._most_waiting:
                await self._renew(reader)
                await asyncio.sleep(_PAUSE)
                return
        try:
            batch = await reader.batch(self._ttl / 3)
        except Gap as e:
            # Deliveries got lost with a connection. Nothing of this consumer counts any more; the cursor does.
            log.info("reading on with a new consumer", problem=str(e))
            await self.close()
            return
        if batch:
            self._entries = [read(msg.data, msg.metadata.sequence.stream) for msg in batch]
            await self._claim_in_hand(reader)
        else:
            await self._renew(reader)

    async def _claim_in_hand(self, reader: "Reader") -> None:
        entries, upto = self._entries, self._entries[-1].in_seq
        await self._claim(reader, entries, upto)
        self._entries = []

    async def _claim(self, reader: "Reader", entries: list[NewTurn | Unreadable], upto: int) -> None:
        turns = [e for e in entries if isinstance(e, NewTurn)]
        unreadable = [e for e in entries if isinstance(e, Unreadable)]
        try:
            claimed = await around(
                self._reach,
                "intake.claim",
                intake.claim(self._db, reader.lease, upto=upto, ttl=self._ttl, turns=turns, unreadable=unreadable),
            )
        except StoreRefused as e:
            # One message that the database can never take must not stop the rest: halve until it stands alone.
            if not turns:
                raise
            if len(entries) == 1:
                refused = Unreadable(upto, f"the database refuses it ({e})", turns[0].payload.encode())
                await self._claim(reader, [refused], upto)
                return
            half = len(entries) // 2
            await self._claim(reader, entries[:half], entries[half - 1].in_seq)
            await self._claim(reader, entries[half:], upto)
            return
        reader.lease = replace(reader.lease, cursor=upto)
        instruments.intake.add(claimed.opened, {"outcome": "claimed"})
        instruments.intake.add(len(turns) - claimed.opened, {"outcome": "duplicate"})
        instruments.intake.add(claimed.refused, {"outcome": "dead"})
        if claimed.opened:
            self._waiting += claimed.opened
            self._bell.ring()
            await self._client.publish(self._wake, self._holder.encode())

    async def _renew(self, reader: "Reader") -> None:
        lease = await intake.take(self._db, stream=self._stream, holder=self._holder, ttl=self._ttl)
        if lease is None or lease.epoch != reader.lease.epoch or lease.cursor != reader.lease.cursor:
            raise LeaseLost("intake")


class Gap(Exception):
    """What this consumer delivers is not all that it should have delivered."""


class Reader:
    """A throw-away consumer behind the cursor of `lease`."""

    def __init__(self, client: Client, lease: IntakeLease, consumer: str, feed: Feed) -> None:
        self._client = client
        self._consumer = consumer
        self._feed = feed
        self._delivered = 0
        self._missing = -1
        self.lease = lease

    @classmethod
    async def open(cls, client: Client, lease: IntakeLease) -> "Reader":
        consumer = f"intake-{secrets.token_hex(8)}"
        await client.jetstream().add_consumer(
            lease.stream,
            ConsumerConfig(
                name=consumer,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=lease.cursor + 1,
                ack_policy=AckPolicy.NONE,
                inactive_threshold=_IDLE_CONSUMER,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        feed = await Feed(client, lease.stream, consumer, batch=_BATCH, gapless=True).__aenter__()
        return cls(client, lease, consumer, feed)

    async def batch(self, wait: float) -> list[Msg]:
        """The next messages, [] when none came within `wait` seconds. Raises Gap, and NatsError of the server.

        Without acknowledgements a message that was on its way when a connection broke is not delivered again. The
        consumer's own count betrays it: to the feed in the next message's number, and here while all is quiet.
        """
        try:
            batch = await self._feed.batch(_BATCH, wait)
        except HeraldError as e:
            raise Gap(str(e)) from None
        self._delivered += len(batch)
        if not batch:
            await self._compare()
        return batch

    def nudge(self) -> None:
        """End the wait of a `batch` that goes on now."""
        self._feed.nudge()

    async def _compare(self) -> None:
        info = await self._client.jetstream().consumer_info(self.lease.stream, self._consumer)
        sent = info.delivered.consumer_seq if info.delivered is not None else 0
        behind = sent - self._delivered
        # Twice the same: it is not merely on its way.
        if behind > 0 and self._missing == sent:
            raise Gap(f"{behind} deliveries got lost")
        self._missing = sent if behind > 0 else -1

    async def close(self) -> None:
        await self._feed.__aexit__()
