"""The servers that measurements stand on, from the recipes that `herald up` uses, so that we measure what ships.

The one thing changed on purpose is how often JetStream syncs, because part of what is measured is the price of it.
"""

import asyncio
import atexit
import dataclasses
import functools
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import nats
from nats.aio.client import Client
from nats.js.api import RetentionPolicy, StorageType, StreamConfig

from benchmarks.processes import Child, Failed
from herald_cli import children, guard, processes
from herald_cli.ports import Ports
from herald_cli.processes import Process
from herald_cli.servers import nats as nats_recipe
from herald_cli.servers import postgres as postgres_recipe
from herald_cli.servers.program import File, Program
from herald_contracts import settings

Sync = Literal["always", "2m"]
STORAGE = 4 * 2**30
_ALWAYS = "sync_interval: always"


def synced(program: Program, sync: Sync) -> Program:
    """The same NATS server, syncing as asked: "2m" is nats-server's own default. Raises Failed if it says neither."""
    if sync == "always":
        return program
    files = tuple(_relaxed(file) for file in program.files)
    if files == program.files:
        raise Failed(f"no {_ALWAYS!r} in the files of the NATS recipe")
    return dataclasses.replace(program, files=files)


def _relaxed(file: File) -> File:
    return dataclasses.replace(file, content=file.content.replace(_ALWAYS, 'sync_interval: "2m"'))


@functools.cache
def _guard() -> children.Guard:
    """One for the whole run: what we leave behind when we are killed, the guard ends."""
    made = children.Guard()
    atexit.register(made.farewell)
    return made


def run(program: Program, log: Path, *, core: int | None = None) -> Child:
    """Prepare, start and wait until ready. Raises Failed."""
    children.prepare(program)
    watched: list[Process] = []

    def ended() -> None:
        for process in watched:
            _guard().forget(process)
        guard.sweep(program.litter)

    child = Child(
        program.name,
        children.command(program),
        log=log,
        core=core,
        env=program.environment(),
        cwd=program.cwd,
        stop_signal=program.stop_signal,
        ended=ended,
    )
    process = processes.look_up(child.pid)
    if process is not None:
        watched.append(process)
        _guard().watch(process, program.litter)
    try:
        child.wait_until(lambda: asyncio.run(_ready(program)), seconds=program.start_seconds)
    except BaseException:
        child.stop()
        raise
    return child


async def _ready(program: Program) -> bool:
    return await program.ready()


@dataclass(frozen=True, slots=True)
class NatsServer:
    child: Child
    settings: settings.Nats


@asynccontextmanager
async def client(of: settings.Nats) -> AsyncIterator[Client]:
    """A plain client of `of`, closed at the end."""
    folder = of.credentials
    assert folder is not None
    made = await nats.connect(of.url, user=(folder / "user").read_text(), password=(folder / "password").read_text())
    try:
        yield made
    finally:
        await made.close()


def start_nats(folder: Path, *, sync: Sync, core: int | None = None, ports: Ports | None = None) -> NatsServer:
    """A server of its own in `folder`."""
    ports = ports or Ports()
    credentials = folder / "credentials"
    credentials.mkdir(parents=True)
    password = secrets.token_hex(16)
    (credentials / "user").write_text("herald")
    (credentials / "password").write_text(password)
    program = nats_recipe.program(
        folder / "nats",
        port=ports.pick(),
        monitor_port=ports.pick(),
        user="herald",
        password=password,
        storage=STORAGE,
    )
    child = run(synced(program, sync), folder / "nats.log", core=core)
    return NatsServer(child, settings.Nats(url=program.address, credentials=credentials))


@dataclass(frozen=True, slots=True)
class PostgresServer:
    child: Child
    dsn: str


def start_postgres(folder: Path, *, ports: Ports | None = None) -> PostgresServer:
    """An empty server of its own in `folder`, with synchronous commit on."""
    port = (ports or Ports()).pick()
    folder.mkdir(parents=True, exist_ok=True)
    password = secrets.token_hex(16)
    password_file = folder / "password"
    password_file.write_text(password)
    program = postgres_recipe.program(folder / "postgres", port=port, password_file=password_file)
    return PostgresServer(run(program, folder / "postgres.log"), postgres_recipe.dsn(port, password))


async def make_stream(client: Client, name: str, subjects: Sequence[str]) -> None:
    await client.jetstream().add_stream(
        StreamConfig(
            name=name,
            subjects=list(subjects),
            storage=StorageType.FILE,
            retention=RetentionPolicy.LIMITS,
            max_bytes=STORAGE // 4,
            duplicate_window=600,
        )
    )
