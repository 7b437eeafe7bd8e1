"""The gateway's process: what is started, in which order, and how it leaves.

HTTP comes up first, so that probes hear "alive, not ready" while NATS is still coming. It leaves in the order in
which promises end: no new connections, requests in progress answered, deliveries in progress finished.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import aiohttp
from nats.aio.client import Client
from nats.errors import Error as NatsError

from herald_contracts.errors import ConfigurationError, HeraldError
from herald_contracts.settings import GatewaySettings
from herald_gateway import health, protocol, serving
from herald_gateway.addresses import Proxies
from herald_gateway.app import Gateway, create_app
from herald_gateway.channels import registry
from herald_gateway.channels.base import Channel, ChannelContext
from herald_gateway.health import Readiness
from herald_gateway.hosts import Hosts
from herald_gateway.limits import Connections
from herald_gateway.measurements import Measurements
from herald_gateway.publishing import Intake
from herald_gateway.refusals import Refusals
from herald_gateway.senders import Senders
from herald_runtime import logs, metrics, process
from herald_runtime.acks import Publisher
from herald_runtime.connection import Unreachable, connect, disconnect

log = logs.get("gateway")
_CONNECT_SECONDS = 10
_LOOK_SECONDS = 0.5
_LEAVE_SECONDS = 2.0


class Process:
    """One running gateway."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._channels = registry.create_all(settings.channels)
        proxies = Proxies(settings.trusted_proxies)
        self._measurements = Measurements(metrics.meter("herald.gateway"))
        refusals = Refusals(self._measurements)
        self._intake = Intake(settings.names, settings.publish_deadline)
        self._readiness = Readiness(settings.names, self._intake.trouble)
        self._app: Gateway = create_app(
            channels=self._channels,
            intake=self._intake,
            limits=settings.limits,
            proxies=proxies,
            hosts=Hosts(settings.public_hosts),
            readiness=self._readiness,
            measurements=self._measurements,
            refusals=refusals,
        )
        guarded = protocol.guarded(settings.limits, Connections(settings.limits, proxies.trusts), refusals)
        serving.require_fast(guarded)
        serving.allow_files(settings.limits.connections)
        self._server = serving.create(self._app, guarded, settings.drain_seconds)
        private = protocol.guarded(settings.limits, Connections(settings.limits), refusals)
        self._private = serving.create(health.private_app(self._readiness), private, _LEAVE_SECONDS)
        self._stopping = asyncio.Event()
        self._client: Client | None = None
        self._publisher: Publisher | None = None
        self._senders: Senders | None = None
        self._started: list[Channel] = []

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then drain. Raises what ended it otherwise."""
        sock = serving.listen(self._settings.host, self._settings.port)
        own = serving.listen(self._settings.health_host, self._settings.health_port, "health_")
        port, health_port = (each.getsockname()[1] for each in (sock, own))
        log.info("listening", host=self._settings.host, port=port, health_port=health_port)
        # Apart from the rest: it answers until the end, also while the public port takes nothing any more.
        probes = asyncio.create_task(self._private.serve([own]), name="probes")
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            serving_task = asyncio.create_task(self._server.serve([sock]), name="http")
            work = asyncio.create_task(self._work(http), name="work")
            stopped = asyncio.create_task(stop.wait(), name="stop")
            try:
                await asyncio.wait({serving_task, work, stopped}, return_when=asyncio.FIRST_COMPLETED)
                log.info("draining", seconds=self._settings.drain_seconds)
                await self._drain(serving_task, work)
            finally:
                stopped.cancel()
                await self._leave()
                self._private.begin_to_end()
                await asyncio.wait({probes}, timeout=_LEAVE_SECONDS)
                probes.cancel()
        for task in (serving_task, work):
            if task.done() and not task.cancelled():
                task.result()
        log.info("left")

    async def _work(self, http: aiohttp.ClientSession) -> None:
        client = self._client = await self._connect()
        publisher = self._publisher = Publisher(client)
        await publisher.start()
        context = ChannelContext(
            http=http,
            nats=client,
            names=self._settings.names,
            publisher=publisher,
            limits=self._settings.limits,
            publish_deadline=self._settings.publish_deadline,
            stopping=self._stopping,
            ready=self._readiness.ready,
        )
        for channel in self._channels.values():
            self._started.append(channel)
            await channel.start(context)
        self._senders = Senders(
            client,
            publisher,
            self._settings.names,
            self._channels,
            self._measurements,
            in_flight=self._settings.deliveries_in_flight,
            deliver_for=self._settings.deliver_for,
        )
        self._intake.publisher = publisher
        self._readiness.connected(client)
        self._app.open()
        process.settled()
        log.info("accepting", channels=sorted(self._channels))
        await process.first_to_end(
            asyncio.create_task(self._senders.run(), name="senders"),
            asyncio.create_task(_until_closed(client), name="connection"),
        )

    async def _connect(self) -> Client:
        while True:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return await connect(self._settings.nats, f"gateway {self._settings.name}", wait=_CONNECT_SECONDS)
            except (TimeoutError, Unreachable) as e:
                log.warning("waiting for NATS", url=self._settings.nats.url, problem=str(e) or type(e).__name__)
                await asyncio.sleep(_LOOK_SECONDS)

    async def _drain(self, serving_task: asyncio.Task[None], work: asyncio.Task[None]) -> None:
        self._readiness.drain()
        self._stopping.set()
        self._server.begin_to_end()
        if self._senders is not None:
            self._senders.stop()
        elif not work.done():
            work.cancel()
        await asyncio.wait({serving_task, work}, timeout=self._settings.drain_seconds)
        if self._senders is not None and not work.done():
            log.warning("some deliveries are left to another gateway")
            await self._senders.abandon()
            work.cancel()
        if not serving_task.done():
            self._server.force_exit = True
        await asyncio.wait({serving_task, work}, timeout=_LEAVE_SECONDS)

    async def _leave(self) -> None:
        for channel in reversed(self._started):
            await channel.stop()
        if self._publisher is not None:
            await self._publisher.stop()
        if self._client is not None and not self._client.is_closed:
            try:
                # What was acknowledged last must reach the server, or it is delivered once more.
                if self._client.is_connected:
                    await self._client.flush(timeout=int(_LEAVE_SECONDS))
            except (NatsError, TimeoutError) as e:
                log.warning("the last acknowledgements may not have left", error=type(e).__name__)
            await disconnect(self._client)


async def _until_closed(client: Client) -> None:
    """The client reconnects for ever, except after errors such as a refused password: then we must start anew."""
    while not client.is_closed:  # noqa: ASYNC110 (the client offers no event for it)
        await asyncio.sleep(_LOOK_SECONDS)
    raise Unreachable("the connection to NATS was closed for good")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `python -m herald_gateway`; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m herald_gateway", description="Herald's gateway: chat platforms in and out."
    )
    parser.add_argument("--settings", type=Path, required=True, metavar="FILE", help="rendered settings (JSON)")
    parser.add_argument(
        "--print-config", action="store_true", help="print the settings in force, defaults included, and exit"
    )
    options = parser.parse_args(arguments)
    if options.print_config:
        return _print_config(options.settings)

    async def serve(stop: asyncio.Event) -> None:
        settings = GatewaySettings.load(options.settings)
        logs.configure("gateway", settings.log_level)
        metrics.configure("gateway", settings.namespace, settings.name)
        await Process(settings).run(stop)

    try:
        return process.run("gateway", serve)
    except HeraldError as e:
        log.error("ended", error=type(e).__name__, problem=str(e))
        return 1


def _print_config(path: Path) -> int:
    try:
        sys.stdout.write(GatewaySettings.load(path).model_dump_json(indent=2) + "\n")
    except ConfigurationError as e:
        sys.stderr.write(f"herald gateway: {e}\n")
        return process.EXIT_CONFIGURATION
    return 0
