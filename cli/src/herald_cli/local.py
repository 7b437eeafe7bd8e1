"""`herald up` from the file to the running whole: reads, chooses, prepares, then hands over to the supervisor."""

import asyncio
import contextlib
import importlib
import os
import shutil
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from herald_cli import chat_model, children, leftovers, plan, processes, secrets
from herald_cli.board import Board
from herald_cli.deployment_file import DeploymentFile
from herald_cli.ports import Ports
from herald_cli.state import Component, Snapshot, StateFolder
from herald_cli.supervise import Step, Supervisor
from herald_contracts import settings
from herald_contracts.errors import ConfigurationError
from herald_operator.build.settings import CHAT_MODEL, triton_models

_REPOSITORY = Path("inference", "local")


@dataclass(frozen=True, slots=True)
class Prepared:
    """`notes` are for the person who started it."""

    plan: plan.Plan
    notes: tuple[str, ...]


def prepare(file: DeploymentFile, folder: StateFolder) -> Prepared:
    """Everything before the first process, with the folder's lock held. Raises ConfigurationError."""
    choices = folder.choices()
    try:
        ended = leftovers.clean(folder.snapshot(), choices, folder.root)
        deployment = file.bundle.deployment
        choices = plan.choose(deployment, choices, Ports(), free_bytes=shutil.disk_usage(folder.root).free)
        folder.keep(choices)
        made = secrets.materialise(file.bundle, folder.secrets)
        passwords = plan.Passwords(
            nats_user="herald",
            nats=secrets.value(folder.credentials, "nats", "password"),
            postgres=secrets.value(folder.credentials, "postgres", "password"),
        )
        gguf = template = None
        if CHAT_MODEL in triton_models(deployment):
            from herald_agent.models.gguf import write_template

            gguf = chat_model.locate(deployment.spec.inference.model, file.path.parent)
            target = folder.settings / "chat-template.jinja"
            template = target if write_template(gguf, target) else None
        ready = plan.make(
            deployment,
            folder,
            choices,
            passwords,
            repository=repository(),
            gguf=gguf,
            chat_template=template,
        )
        for wanted in ready.files:
            children.write(wanted)
    except OSError as e:
        raise children.unusable(e, folder.root) from None
    notes = [f"made up the Secret {one.name}, key {one.key}: {one.file}" for one in made]
    if ended:
        notes.append(f"ended {ended} processes that an earlier run had left behind")
    return Prepared(ready, tuple(notes))


def repository() -> Path:
    """The model repository, which lies beside the packages in Herald's own checkout. Raises ConfigurationError."""
    for parent in Path(__file__).parents:
        if (parent / _REPOSITORY).is_dir():
            return parent / _REPOSITORY
    raise ConfigurationError("the model repository inference/local is missing", hint="run Herald from its checkout")


def _first_snapshot(file: DeploymentFile, prepared: Prepared) -> Snapshot:
    ready = prepared.plan
    me = processes.look_up(os.getpid())
    deployment = file.bundle.deployment
    steps = (Component(name=plan.STREAMS, task=True), Component(name=plan.DATABASE, task=True))
    programs = [Component(name=p.name, address=p.address, litter=p.litter) for p in ready.programs]
    servers = len([p for p in ready.programs if not p.needs])
    return Snapshot(
        namespace=deployment.metadata.namespace,
        name=deployment.metadata.name,
        file=str(file.path),
        digest=file.digest,
        revision=ready.revision,
        pid=os.getpid(),
        started=me.started if me is not None else 0,
        since=datetime.now(UTC),
        notes=prepared.notes,
        web=ready.web,
        gateway=ready.gateway,
        components=(*programs[:servers], *steps, *programs[servers:]),
    )


async def run(
    file: DeploymentFile, folder: StateFolder, prepared: Prepared, listeners: Iterable[Callable[[Snapshot], None]] = ()
) -> None:
    """Run the plan until a signal asks to stop, with the folder's lock held. Raises why it could not come up."""
    ready = prepared.plan

    def write(snapshot: Snapshot) -> None:
        # A full disk makes the notes old; that must not take the messages' keepers down with it.
        with contextlib.suppress(OSError):
            folder.write_snapshot(snapshot)

    board = Board(_first_snapshot(file, prepared))
    for listener in (write, *listeners):
        board.tell(listener)
    stop, hurry = asyncio.Event(), asyncio.Event()

    def asked() -> None:
        if stop.is_set():
            hurry.set()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked)
    supervisor = Supervisor(ready.programs, _steps(ready, folder), ready.stop_order, board, folder.logs)
    try:
        await supervisor.run(stop, hurry)
        board.phase("stopped")
    except BaseException as e:
        board.phase("failed", error=str(e) or type(e).__name__, exit_code=1)
        raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)


def _steps(ready: plan.Plan, folder: StateFolder) -> tuple[Step, ...]:
    nats = next(p for p in ready.programs if p.name == "nats")

    # Imported in a thread, while the servers start: the clients' libraries take longer to load than NATS to start.
    async def streams() -> None:
        connect = (await _loaded("herald_runtime.connection")).connect
        messaging = await _loaded("herald_operator.messaging")
        rollout = await _loaded("herald_runtime.rollout")
        client = await connect(settings.Nats(url=nats.address, credentials=folder.credentials / "nats"), "herald up")
        try:
            await messaging.ensure(client, ready.streams)
            # Before any worker starts: one that finds no record, or another revision's, takes no work.
            await rollout.activate(client, ready.names, ready.revision)
        finally:
            await client.close()

    async def database() -> None:
        store = await _loaded("herald_agent.store.migrate")
        await asyncio.to_thread(store.migrate, store.read_dsn(ready.dsn_file))

    return (Step(plan.STREAMS, ("nats",), streams), Step(plan.DATABASE, ("postgres",), database))


async def _loaded(module: str) -> Any:
    loaded = await asyncio.to_thread(importlib.import_module, module)
    quiet = await asyncio.to_thread(importlib.import_module, "herald_cli.quiet")
    quiet.hush()
    return loaded
