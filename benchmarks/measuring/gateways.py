"""P1 and P2: what accepting a message costs, durably, beside an app that forgets it and one that does nothing."""

import asyncio
import json
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import closed_loop, servers
from benchmarks.bare import listening
from benchmarks.figures import over_rounds, ratio
from benchmarks.goals import Finding, Measured, Table
from benchmarks.plan import Plan
from benchmarks.probing import status
from benchmarks.processes import Child, Failed, cpu_seconds
from herald_cli.ports import Ports
from herald_contracts.settings import GatewaySettings, HmacChannel, Nats
from herald_contracts.streams import topology
from herald_operator import messaging

SECRET = "benchmark-" + "0" * 32
CHANNEL = "hooks"
CONNECTIONS = 64
_MOST = 60_000


@dataclass(slots=True)
class Subject:
    """One server under load, and what its rounds brought. `store` is the nats-server behind it, if any."""

    label: str
    server: Child
    port: int
    path: str
    kind: str
    store: int | None = None
    micros: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    store_micros: list[float] = field(default_factory=list)


def measure(plan: Plan, wanted: frozenset[str]) -> Measured:
    with ExitStack() as stack:
        subjects = _start(plan, stack)
        empty, bolt, always, relaxed = subjects
        for number in range(plan.rounds + 1):
            for subject in subjects:
                # Round 0 warms up: caches, imports at first use, the stream's first block.
                _load(plan, subject, salt=f"{number}", seconds=plan.seconds(3) if number else 0.5)
            if number == 0:
                for subject in subjects:
                    _forget(subject)
                continue
            plan.say(
                f"P1, P2: round {number}: CPU us per request: "
                + ", ".join(f"{s.label} {s.micros[-1]:.0f}" for s in subjects)
            )
    findings = (
        Finding(
            "P1.cpu",
            ratio(always.micros, bolt.micros),
            _us(always.micros),
            _us(bolt.micros),
            "sync always, 64 connections",
        ),
        Finding(
            "P1.rate",
            ratio(relaxed.rates, bolt.rates),
            _rate(relaxed.rates),
            _rate(bolt.rates),
            "sync 2m: with sync always the disk is the wall, see the table",
        ),
        Finding(
            "P2.rate",
            ratio(relaxed.rates, empty.rates),
            _rate(relaxed.rates),
            _rate(empty.rates),
            "sync 2m, as above",
        ),
    )
    return Measured(tuple(f for f in findings if f.rule.split(".")[0] in wanted), (_table(subjects),), _notes(subjects))


def _start(plan: Plan, stack: ExitStack) -> list[Subject]:
    folder, ports = plan.folder("gateway"), Ports()
    empty = _uvicorn(plan, stack, "benchmarks.peers.empty:app", ports)
    bolt = _uvicorn(plan, stack, "benchmarks.peers.bolt:app", ports)
    subjects = [
        Subject("empty Starlette app", *empty, "/events", "herald"),
        Subject("slack-bolt", *bolt, "/events", "slack"),
    ]
    for sync in ("always", "2m"):
        own = folder / f"sync-{sync}"
        own.mkdir()
        store = servers.start_nats(own, sync="always" if sync == "always" else "2m", core=plan.client_core, ports=ports)
        stack.enter_context(store.child)
        port = ports.pick()
        server = stack.enter_context(_gateway(plan, own, store.settings, port))
        subjects.append(
            Subject(f"Herald, sync {sync}", server, port, f"/channels/{CHANNEL}/events", "herald", store.child.pid)
        )
    return subjects


def _uvicorn(plan: Plan, stack: ExitStack, app: str, ports: Ports) -> tuple[Child, int]:
    """The same server options as Herald's gateway has: httptools, uvloop, no access log."""
    port = ports.pick()
    argv = [sys.executable, "-m", "uvicorn", app, "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
    child = stack.enter_context(
        Child(
            app,
            [*argv, "--no-access-log", "--log-level", "warning"],
            log=plan.folder("gateway") / "peers.log",
            core=plan.server_core,
            env={**os.environ, "SLACK_SIGNING_SECRET": SECRET},
        )
    )
    child.wait_until(lambda: listening(port))
    return child, port


def _gateway(plan: Plan, folder: Path, nats: Nats, port: int) -> Child:
    secret = folder / "secret"
    secret.mkdir()
    (secret / "secret").write_text(SECRET)
    settings = GatewaySettings(
        namespace="bench",
        name="gateway",
        nats=nats,
        port=port,
        # Nothing is answered here: no reply is ever posted.
        channels=(HmacChannel(name=CHANNEL, secret=secret, reply_url="http://127.0.0.1:9/replies"),),
    )
    asyncio.run(_streams(nats, settings))
    path = folder / "settings.json"
    path.write_text(settings.model_dump_json())
    child = Child(
        "gateway",
        [sys.executable, "-m", "herald_gateway", "--settings", str(path)],
        log=folder / "gateway.log",
        core=plan.server_core,
    )
    try:
        child.wait_until(lambda: status(port, "/healthz/ready") == 200)
    except BaseException:
        child.stop()
        raise
    return child


async def _streams(nats: Nats, settings: GatewaySettings) -> None:
    async with servers.client(nats) as client:
        await messaging.ensure(client, topology(settings.names, storage=servers.STORAGE // 2))


def _load(plan: Plan, subject: Subject, *, salt: str, seconds: float) -> None:
    argv = [
        *(sys.executable, "-m", "benchmarks.closed_loop", "--port", str(subject.port), "--path", subject.path),
        *("--kind", subject.kind, "--salt", salt, "--seconds", str(seconds), "--connections", str(CONNECTIONS)),
        *("--most", str(int(_MOST * seconds / 3) + 1_000)),
    ]
    log = plan.folder("gateway") / "load.log"
    with Child("load client", argv, log=log, core=plan.client_core, piped=True) as client:
        client.tell(SECRET)
        client.line()
        cpu = subject.server.cpu_seconds()
        store = cpu_seconds(subject.store) if subject.store else 0.0
        client.tell("go")
        outcome = closed_loop.Outcome(**json.loads(client.result()))
        cpu = subject.server.cpu_seconds() - cpu
        store = cpu_seconds(subject.store) - store if subject.store else 0.0
    refused = {s: n for s, n in outcome.by_status.items() if not s.startswith("2")}
    if refused or outcome.unanswered or not outcome.answered:
        raise Failed(f"{subject.label}: refused {refused}, unanswered {outcome.unanswered}")
    subject.micros.append(cpu / outcome.answered * 1e6)
    subject.rates.append(outcome.rate)
    subject.p50.append(outcome.p50)
    subject.p99.append(outcome.p99)
    subject.busy.append(outcome.busy)
    subject.store_micros.append(store / outcome.answered * 1e6)


def _forget(subject: Subject) -> None:
    for kept in (subject.micros, subject.rates, subject.p50, subject.p99, subject.busy, subject.store_micros):
        kept.clear()


def _table(subjects: list[Subject]) -> Table:
    rows = tuple(
        (
            s.label,
            f"{over_rounds(s.micros).value:.1f}",
            f"{over_rounds(s.rates).value:,.0f}",
            f"{over_rounds(s.p50).value:.1f}",
            f"{over_rounds(s.p99).value:.1f}",
            f"{over_rounds(s.store_micros).value:.1f}" if s.store else "",
            f"{over_rounds(s.busy).value:.0%}",
        )
        for s in subjects
    )
    columns = (
        "",
        "server CPU us/request",
        "requests/s",
        "P50 ms",
        "P99 ms",
        "nats-server CPU us/request",
        "load client's share of its core",
    )
    return Table("P1, P2: gateway, 64 connections in a closed loop, 600-byte bodies", columns, rows)


def _notes(subjects: list[Subject]) -> tuple[str, ...]:
    notes = [
        "slack-bolt verifies, parses and calls a listener, and stores nothing; Herald answers when JetStream has "
        "stored the message. Server on a core of its own, load client and nats-server on another."
    ]
    notes += [
        f"The load client used {over_rounds(s.busy).value:.0%} of its core against {s.label}: its requests/s are a "
        "lower bound."
        for s in subjects
        if over_rounds(s.busy).value > 0.85
    ]
    return tuple(notes)


def _us(values: list[float]) -> str:
    return f"{over_rounds(values).value:.0f} us"


def _rate(values: list[float]) -> str:
    return f"{over_rounds(values).value:,.0f}/s"
