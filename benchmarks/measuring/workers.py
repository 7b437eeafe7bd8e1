"""P3: what a message costs before anything is done with it."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import TypedDict

from benchmarks import requests, servers
from benchmarks.figures import over_rounds, ratio
from benchmarks.goals import Finding, Measured, Table
from benchmarks.plan import Plan
from benchmarks.processes import Child
from herald_contracts.identity import conversation_id, message_id
from herald_contracts.messages import Message, Sender
from herald_contracts.subjects import Names
from herald_runtime.acks import Publisher

NAMES = Names("bench", "workers")
CHANNEL = "hooks"
_AT_ONCE = 500


class Run(TypedDict):
    count: int
    seconds: float
    cpu_seconds: float


def message(number: int) -> Message:
    """One of 500 conversations, eight messages each in a row; about the size of a webhook's body."""
    chat, event = f"chat-{number // 8 % 500}", f"event-{number}"
    now = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    text = f"message {number}: is the build green? "
    return Message(
        id=message_id(CHANNEL, event),
        event_id=event,
        channel=CHANNEL,
        conversation=conversation_id(CHANNEL, chat, None),
        chat=chat,
        sender=Sender(id=f"user-{number % 200}", name=f"Person {number % 200}"),
        content=text + "x" * (requests.BODY // 2 - len(text)),
        timestamp=now,
        received_at=now,
        platform_message_id=event,
    )


async def _fill(nats: servers.NatsServer, count: int) -> None:
    async with servers.client(nats.settings) as client:
        await servers.make_stream(client, NAMES.in_stream, [NAMES.incoming_all])
        publisher = Publisher(client)
        await publisher.start()
        for start in range(0, count, _AT_ONCE):
            batch = [message(n) for n in range(start, min(count, start + _AT_ONCE))]
            await asyncio.gather(
                *(
                    publisher.publish(NAMES.incoming(m.channel, m.conversation), m.to_wire(), m.id, deadline=30)
                    for m in batch
                )
            )
        await publisher.stop()


def _once(plan: Plan, nats: servers.NatsServer, module: str, durable: str, count: int) -> Run:
    argv = [
        *(sys.executable, "-m", module),
        *("--url", nats.settings.url, "--credentials", str(nats.settings.credentials)),
        *("--stream", NAMES.in_stream, "--subject", NAMES.incoming_all),
        *("--durable", durable, "--count", str(count)),
    ]
    log = plan.folder("workers") / "worker.log"
    with Child(module, argv, log=log, core=plan.server_core, piped=True) as child:
        result: Run = json.loads(child.result())
    return result


def measure(plan: Plan, _: frozenset[str]) -> Measured:
    ours_count, peer_count = plan.count(40_000), plan.count(8_000)
    plan.say(f"P3: filling a stream with {ours_count} messages")
    nats = servers.start_nats(plan.folder("workers"), sync="2m", core=plan.client_core)
    ours: list[Run] = []
    peers: list[Run] = []
    try:
        asyncio.run(_fill(nats, ours_count))
        for number in range(plan.rounds):
            ours.append(_once(plan, nats, "benchmarks.worker_layer", f"ours-{number}", ours_count))
            peers.append(_once(plan, nats, "benchmarks.peers.faststream_worker", f"peer-{number}", peer_count))
            plan.say(f"P3: round {number + 1}: {_micros(ours[-1]):.1f} against {_micros(peers[-1]):.1f} us per message")
    finally:
        nats.child.stop()
    a, b = [_micros(run) for run in ours], [_micros(run) for run in peers]
    rows = tuple(
        (
            name,
            f"{over_rounds([_micros(r) for r in runs]).value:.1f}",
            f"{over_rounds([r['count'] / r['seconds'] for r in runs]).value:,.0f}",
            f"{runs[0]['count']:,}",
        )
        for name, runs in (("Herald's worker layer", ours), ("FastStream, pull 100", peers))
    )
    finding = Finding(
        "P3.cpu",
        ratio(a, b),
        f"{over_rounds(a).value:.1f} us",
        f"{over_rounds(b).value:.1f} us",
        "same stream (sync 2m), explicit ack",
    )
    table = Table("P3: worker layer", ("", "CPU us/message", "messages/s", "messages per round"), rows)
    return Measured((finding,), (table,))


def _micros(run: Run) -> float:
    return run["cpu_seconds"] / run["count"] * 1e6
