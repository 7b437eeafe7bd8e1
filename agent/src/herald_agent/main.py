"""A worker process: its parts, in the order in which they come up and go down."""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from herald_agent import health as health_server
from herald_agent import instruments
from herald_agent.advisories import Advisories
from herald_agent.crashpoints import Reach, nothing
from herald_agent.gate import Gate
from herald_agent.health import Health
from herald_agent.intake import Intake
from herald_agent.memory.ports import Memory
from herald_agent.models.ports import Model
from herald_agent.receipts import Receipts
from herald_agent.relay import Relay
from herald_agent.steady import Backoff, Conditions, forever, persist
from herald_agent.store import ledger, migrate
from herald_agent.store.pool import Database
from herald_agent.turn import Runner
from herald_agent.worker import Worker
from herald_contracts.errors import ConfigurationError, HeraldError, TemporaryError
from herald_contracts.rollout import Rollout
from herald_contracts.settings import AgentSettings
from herald_runtime import logs, process
from herald_runtime.acks import Publisher
from herald_runtime.connection import connect, disconnect
from herald_runtime.rollout import Following
from herald_runtime.waking import Bell

T = TypeVar("T")
_ATTEMPT = 5.0  # seconds for one attempt to reach NATS at the start; there is no limit to their number
_BEAT = 1.0  # seconds
_LEDGER = 10.0  # seconds between counts: one reads every row
_GOODBYE = 3.0  # seconds that leaving may take when a server is away
log = logs.get("agent")


class SchemaBehind(TemporaryError):
    """The database has not been migrated yet to what this version needs."""


async def serve(
    settings: AgentSettings,
    stop: asyncio.Event,
    *,
    model: Model | None = None,
    memory: Memory | None = None,
    reach: Reach = nothing,
) -> None:
    """Run a worker until `stop` is set, then finish or hand over what it has.

    `model` and `memory` instead of those in the settings, and `reach` (crashpoints.py), are for programs that build
    a worker themselves. Raises ConfigurationError, or what ended one of its loops.
    """
    conditions, gate = Conditions(), Gate(settings.revision)
    health = Health(conditions, gate)
    try:
        site, port = await health_server.serve(health, settings.health_host, settings.health_port)
    except OSError as e:
        raise ConfigurationError(
            f"cannot listen on {settings.health_host}:{settings.health_port} ({e.strerror})",
            path="health_port",
            hint="is another worker running on it?",
        ) from None
    log.info("listening", health_port=port)
    try:
        await _serve(settings, stop, conditions, gate, health, model, memory, reach, port)
    finally:
        await site.cleanup()


async def _serve(
    settings: AgentSettings,
    stop: asyncio.Event,
    conditions: Conditions,
    gate: Gate,
    health: Health,
    model: Model | None,
    memory: Memory | None,
    reach: Reach,
    port: int,
) -> None:
    holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    db = await Database.open(settings.database)
    client: Client | None = None
    try:
        name = f"herald-agent {holder}"
        client = await _unless(stop, persist("nats", lambda: connect(settings.nats, name, wait=_ATTEMPT), conditions))
        if client is None or await _unless(stop, _migrated(db, conditions)) is None:
            return
        model = model or _model(settings)
        memory = memory or await _memory(settings, db)
        publisher = Publisher(client)
        await publisher.start()
        parts = Parts(settings, db, client, publisher, model, memory, conditions, gate, health, holder, reach)
        process.settled()
        log.info("started", revision=settings.revision, holder=holder, health_port=port)
        await parts.run(stop)
    finally:
        if model is not None:
            await _within(_GOODBYE, model.close())
        if memory is not None:
            await _within(_GOODBYE, memory.close())
        if client is not None:
            await _within(_GOODBYE, disconnect(client))
        await _within(_GOODBYE, db.close())
        log.info("stopped")


class Parts:
    """The loops of one worker."""

    def __init__(
        self,
        settings: AgentSettings,
        db: Database,
        client: Client,
        publisher: Publisher,
        model: Model,
        memory: Memory | None,
        conditions: Conditions,
        gate: Gate,
        health: Health,
        holder: str,
        reach: Reach,
    ) -> None:
        names = settings.names
        self._settings = settings
        self._db = db
        self._client = client
        self._conditions = conditions
        self._health = health
        self._memory = memory
        self._holder = holder
        self._bell = Bell(1.0)
        self._gate = gate
        self._following = Following(client, names, self._heard)
        self._relay = Relay(db, publisher, names, reach)
        ttl = settings.lease_seconds / 2
        self._intake = Intake(client, names, db, self._bell, gate, holder=holder, ttl=ttl, reach=reach)
        runner = Runner(settings, db, client, model, memory, self._relay, conditions, reach)
        self._worker = health.worker = Worker(settings, db, runner, self._bell, gate, holder=holder, reach=reach)
        self._receipts = Receipts(client, names, db, self._relay, reach)
        self._advisories = Advisories(client, names, db)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, or a loop ends by an error, which is raised after handing over."""
        await self._client.subscribe(self._settings.names.wake, cb=self._woken)
        await self._following.start()
        taking = [self._loop("intake", self._intake.once), self._loop("acquire", self._worker.once)]
        giving = [
            self._loop("rollout", self._following.once),
            self._loop("leases", self._worker.renew),
            self._loop("relay", self._relay.once),
            self._loop("receipts", self._receipts.once),
            self._loop("advisories", self._advisories.once),
            self._loop("database", self._beat),
            self._loop("ledger", self._count, Backoff(_LEDGER, _LEDGER)),
        ]
        if self._memory is not None:
            giving.append(asyncio.create_task(_background(self._memory), name="memory"))
        stopping = asyncio.create_task(stop.wait(), name="stop")
        self._health.started = True
        try:
            await asyncio.wait([*taking, *giving, stopping], return_when=asyncio.FIRST_COMPLETED)
            self._health.started = False
            failed = [task for task in (*taking, *giving) if task.done()]
            await _cancel(taking)
            await self._leave()
            for task in failed:
                task.result()
        finally:
            await _cancel([*taking, *giving, stopping])
            for part in (self._receipts, self._advisories, self._intake):
                await _within(_GOODBYE, part.close())

    def _loop(
        self, name: str, once: Callable[[], Awaitable[None]], backoff: Backoff | None = None
    ) -> asyncio.Task[None]:
        return asyncio.create_task(forever(name, once, self._conditions, backoff=backoff), name=name)

    async def _leave(self) -> None:
        """Give everything back. A server that is away does not hold us: leases run out by themselves."""
        names = self._settings.names
        await _within(_GOODBYE, self._intake.release())
        if self._client.is_connected:
            await _within(_GOODBYE, self._client.publish(names.wake, b""))
        await _within(self._settings.drain_seconds + _GOODBYE, self._worker.drain(self._client, names.wake))
        await _within(_GOODBYE, self._relay.flush())

    def _heard(self, record: Rollout) -> None:
        self._gate.follow(record)
        # Whoever waits for work, or for messages, looks at the gate now.
        self._bell.ring()
        self._intake.nudge()

    async def _woken(self, msg: Msg) -> None:
        if msg.data != self._holder.encode():
            self._bell.ring()
        if not msg.data:
            self._intake.ring()

    async def _beat(self) -> None:
        self._health.connected = self._client.is_connected
        await self._health.beat(self._db)
        await asyncio.sleep(_BEAT)

    async def _count(self) -> None:
        if not self._intake.leading:
            instruments.show_ledger(None)
            await asyncio.sleep(_BEAT)
            return
        info = await self._client.jetstream().stream_info(self._settings.names.in_stream)
        stream = ledger.StreamState(self._settings.names.in_stream, info.state.first_seq, info.state.last_seq)
        instruments.show_ledger(await ledger.counts(self._db, stream))
        await asyncio.sleep(_LEDGER)


async def _migrated(db: Database, conditions: Conditions) -> bool:
    async def look() -> bool:
        there = await db.value("SELECT to_regclass('schema_migrations') IS NOT NULL")
        reached = await db.value("SELECT coalesce(max(number), 0) FROM schema_migrations") if there else 0
        if reached < migrate.needed():
            raise SchemaBehind(f"the database is at migration {reached}, this version needs {migrate.needed()}")
        return True

    return await persist("schema", look, conditions)


def _model(settings: AgentSettings) -> Model:
    # Imported late: what a backend's client library costs is paid only where it is used.
    from herald_agent.models.create import create_model

    return create_model(settings.model, settings.generation)


async def _memory(settings: AgentSettings, db: Database) -> Memory | None:
    if settings.memory is None:
        return None
    from herald_agent.memory.create import create_memory

    return await create_memory(settings.memory, db.pool, settings.names)


async def _background(memory: Memory) -> None:
    await memory.run()
    # A memory that has nothing to do in the background is no reason to end.
    await asyncio.Event().wait()


async def _unless(stop: asyncio.Event, doing: Awaitable[T]) -> T | None:
    """The result of `doing`, or None once `stop` is set."""
    task = asyncio.ensure_future(doing)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        await _cancel([task, stopping])


async def _within(seconds: float, doing: Awaitable[object]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await doing
    except (HeraldError, NatsError, OSError) as e:
        log.warning("left without", problem=str(e), kind=type(e).__name__)


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
