"""The operator's process: stand by, lead, end when the lease is lost."""

import asyncio
import logging
import os
import secrets
import socket
import time
from asyncio import sslproto
from dataclasses import dataclass

import kopf
from aiohttp import web
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient

from herald_contracts.errors import ConfigurationError, HeraldError, TemporaryError
from herald_operator import handlers, health, instruments
from herald_operator.build.context import DefaultImages
from herald_operator.cluster import Cluster
from herald_operator.health import Health
from herald_operator.lease import Lease
from herald_operator.messenger import Messenger
from herald_operator.queueing import Key, Queue
from herald_operator.reconciler import RESYNC, Reconciler
from herald_operator.store import Store
from herald_operator.sweeping import Sweep
from herald_runtime import logs, process

LEASE = "herald-operator"
_TIDY = 30.0  # seconds
_SWEEP = 5  # looks at each deployment for one at all names
_LAST_WORDS = 5.0  # seconds for kopf's parts to end
log = logs.get("operator")


class Ended(TemporaryError):
    """A part of the process is gone: another process begins anew."""


@dataclass(frozen=True, slots=True)
class Options:
    """`namespaces` empty: all. `lease_namespace` is the operator's own. `resync` is in seconds."""

    images: DefaultImages
    namespaces: tuple[str, ...]
    lease_namespace: str
    host: str = "0.0.0.0"  # noqa: S104 - a pod's own address is not known before it runs
    health_port: int = 8081
    metrics_port: int = 9090
    workers: int = 8
    resync: float = RESYNC


# Bytes that asyncio sets aside for each TLS connection; its own 256 KiB, times some twenty watches that are silent most
# of the time, are a twentieth of this process.
sslproto.SSLProtocol.max_size = 32 * 1024


async def serve(options: Options, stop: asyncio.Event) -> None:
    """Run until `stop` is set. Raises LeaseLost, ConfigurationError, or what ended a part of it."""
    try:
        await config.load_config()  # type: ignore[no-untyped-call]
    except config.ConfigException as e:
        raise ConfigurationError(
            f"there is no cluster to talk to ({e})", hint="run it in a pod, or set KUBECONFIG"
        ) from None
    async with ApiClient() as client:
        operator = Operator(options, client)
        runners = await _listening(operator.health, options)
        try:
            await operator.run(stop)
        finally:
            for runner in runners:
                await runner.cleanup()


class Operator:
    """One process: it leads, or it waits for its turn."""

    def __init__(self, options: Options, client: ApiClient) -> None:
        self._options = options
        holder = f"{os.environ.get('POD_NAME') or socket.gethostname()}-{secrets.token_hex(3)}"
        self._lease = Lease(client, options.lease_namespace, LEASE, holder)
        self._cluster = Cluster(client, self._lease.guard)
        self._store = Store()
        self._apis: frozenset[str] = frozenset()
        self.queue = Queue(self._look, options.workers)
        self.health = Health(lambda: self.queue.waiting)
        self._reconciler = Reconciler(
            self._cluster, self._store, Messenger(), options.images, lambda: self._apis, resync=options.resync
        )
        self._registry = kopf.OperatorRegistry()
        handlers.register(self._registry, self.queue, self._store, bool(options.namespaces))

    async def run(self, stop: asyncio.Event) -> None:
        stopping = asyncio.create_task(stop.wait(), name="stop")
        acquiring = asyncio.create_task(self._lease.acquire(), name="acquire")
        self.health.state = "standing by"
        try:
            await asyncio.wait({stopping, acquiring}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                return
            acquiring.result()
            await self._lead(stop, stopping)
        finally:
            for task in (stopping, acquiring):
                task.cancel()
            await asyncio.gather(stopping, acquiring, return_exceptions=True)
            await self._lease.release()

    async def _lead(self, stop: asyncio.Event, stopping: "asyncio.Task[bool]") -> None:
        self._apis = await self._cluster.served()
        sweep = Sweep(self._cluster, self._store, self._options.namespaces, lambda: self._apis, self.queue.add)
        tasks: list[asyncio.Task[None]] = [
            asyncio.create_task(self._watch(stop), name="watches"),
            asyncio.create_task(self._lease.keep(), name="lease"),
            asyncio.create_task(self.queue.run(), name="queue"),
            asyncio.create_task(self._follow_apis(), name="apis"),
            asyncio.create_task(sweep.run(_SWEEP * self._options.resync), name="sweep"),
            asyncio.create_task(self._tidy(), name="memory"),
        ]
        self.health.state = "leading"
        process.settled()
        try:
            done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()
                raise Ended(f"{task.get_name()} ended by itself")
        finally:
            self.health.state = "stopping"
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, stop: asyncio.Event) -> None:
        """kopf, until one of its parts ends. Raises Ended, or what that part raised.

        Its tasks are ours to end: `kopf.operator` would take every task of this process for one of its own, and give
        them five seconds.
        """
        parts = await kopf.spawn_tasks(
            registry=self._registry,
            memories=handlers.NoMemories(),
            standalone=True,
            clusterwide=not self._options.namespaces,
            namespaces=self._options.namespaces,
        )
        # kopf has taken the signals for itself.
        process.heed(stop)
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.wait(parts, timeout=_LAST_WORDS)
        for part in done:
            if part.cancelled():
                continue
            if getattr(part.exception(), "status", None) == 404:
                # Nothing is lost: the next process, often one that stands by, watches what there is.
                raise Ended("a type that was watched is not served any more: another process begins anew without it")
            part.result()

    async def _look(self, key: Key) -> float | None:
        began, outcome = time.monotonic(), "failed"
        try:
            again = await self._reconciler.reconcile(key)
            outcome = "done"
            return again
        finally:
            self.health.looked()
            instruments.passes.add(1, {"outcome": outcome})
            instruments.pass_seconds.record(time.monotonic() - began)

    async def _follow_apis(self) -> None:
        """APIs may be installed later: whoever wants one is looked at again then."""
        while True:
            await asyncio.sleep(self._options.resync)
            try:
                served = await self._cluster.served()
            except HeraldError as e:
                log.warning("cannot ask which APIs there are", problem=str(e))
                continue
            if served != self._apis:
                log.info("other APIs are served", apis=sorted(served))
                self._apis = served
                for key in self._store.deployments():
                    self.queue.add(key)

    async def _tidy(self) -> None:
        """A burst, such as the first list of everything, takes more memory than all that comes after it."""
        tidied = -1
        while True:
            await asyncio.sleep(_TIDY)
            if self.queue.finished != tidied and not self.queue.waiting:
                tidied = self.queue.finished
                process.trim()


async def _listening(health_: Health, options: Options) -> list[web.AppRunner]:
    try:
        return await health.serve(health_, options.host, options.health_port, options.metrics_port)
    except OSError as e:
        raise ConfigurationError(f"cannot listen ({e.strerror})", path="--health-port, --metrics-port") from None


def quiet() -> None:
    """kopf's own words only where they matter."""
    logging.getLogger("kopf").setLevel(logging.WARNING)
