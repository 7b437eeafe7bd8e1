"""The goals, as data, and the verdict on them, pure.

Each goal stands on one or more rules; it is met when all of them are. `limit` is what must be reached, `stretch`
what we would be proud of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.figures import Figure

Verdict = Literal["met", "missed", "not measured"]


@dataclass(frozen=True, slots=True)
class Rule:
    """`bound` says on which side of `limit` ours must be. `unit` is "x" for a ratio."""

    key: str
    what: str
    bound: Literal["at most", "at least"]
    limit: float
    unit: str = "x"
    stretch: float | None = None

    def allows(self, value: float, limit: float | None = None) -> bool:
        bar = self.limit if limit is None else limit
        return value <= bar if self.bound == "at most" else value >= bar


@dataclass(frozen=True, slots=True)
class Goal:
    id: str
    title: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was measured for one rule.

    `value` is what the rule is held against: a ratio, or ours itself where the rule is not a ratio. `ours` and
    `anchor` are the two sides, with their unit; `conditions` says under what they were taken.
    """

    rule: str
    value: Figure
    ours: str
    anchor: str
    conditions: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Absolute figures, for context only."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """What one measurement brought. `notes` are sentences a reader needs to judge it."""

    findings: tuple[Finding, ...]
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


GOALS: tuple[Goal, ...] = (
    Goal(
        "P1",
        "Gateway: verify, parse and durable JetStream acknowledgement, logs and metrics on, against slack-bolt's "
        "verify and dispatch alone",
        (
            Rule("P1.cpu", "CPU per request / slack-bolt's", "at most", 0.75, stretch=0.5),
            Rule("P1.rate", "requests/s / slack-bolt's", "at least", 1.4, stretch=2),
        ),
    ),
    Goal(
        "P2",
        "The same gateway against a Starlette + uvicorn app that does nothing",
        (Rule("P2.rate", "requests/s / the empty app's", "at least", 0.5, stretch=0.7),),
    ),
    Goal(
        "P3",
        "Worker layer without stores: pull, parse, order by conversation, duplicate check, ack, against FastStream "
        "(which only parses and acks)",
        (Rule("P3.cpu", "CPU per message / FastStream's", "at most", 0.3, stretch=0.15),),
    ),
    Goal(
        "P4",
        "End to end at 50 messages/s, everything synced to disk, memory recall on, no inference time, against a bare "
        "skeleton of the same durability",
        (
            Rule("P4.ratio", "P99 / the skeleton's", "at most", 4, stretch=2.5),
            Rule("P4.p99", "P99", "at most", 50, "ms", 25),
        ),
    ),
    Goal(
        "P5",
        "A model whose first token takes 300 ms, 50 messages/s: time until the reply has arrived on its platform",
        (Rule("P5.p99", "P99", "at most", 350, "ms", 330),),
    ),
    Goal(
        "P6",
        "300 messages/s for 60 s, a model of 20 ms",
        (
            Rule("P6.answered", "answered of those sent", "at least", 99.95, "%"),
            Rule("P6.lost", "accepted and never answered", "at most", 0, ""),
            Rule("P6.doubled", "answered more than once", "at most", 0, ""),
            Rule("P6.p99", "P99 / P99 at 50 messages/s", "at most", 2),
        ),
    ),
    Goal(
        "P8",
        "The price of durability: JetStream synced on each write against its default of every 2 minutes",
        (Rule("P8.p50", "P50 end to end at 50 messages/s / the same with sync 2m", "at most", 1.5, stretch=1.3),),
    ),
    Goal(
        "P9",
        "Triton: our client, batching, streaming, cancelling",
        (
            Rule("P9.overhead", "P50 of our client minus the model's own time", "at most", 3, "ms"),
            Rule("P9.batching", "requests/s batched / unbatched, 32 clients", "at least", 15),
            Rule("P9.between", "time between tokens, 32 streams / the model's own", "at most", 1.25),
            Rule("P9.cancel", "slowest cancel until the model sees it", "at most", 100, "ms"),
        ),
    ),
    Goal(
        "P12",
        "Idle",
        (
            Rule("P12.gateway_rss", "gateway's resident memory", "at most", 90, "MB"),
            Rule("P12.worker_rss", "worker's resident memory", "at most", 250, "MB"),
            Rule("P12.gateway_ready", "gateway: start to ready", "at most", 2, "s"),
            Rule("P12.worker_ready", "worker: start to ready", "at most", 3, "s"),
            Rule("P12.operator_rss", "operator's resident memory, 200 deployments", "at most", 120, "MB"),
            Rule("P12.operator_ready", "operator: start to leading", "at most", 3, "s"),
        ),
    ),
    Goal(
        "P13",
        "Operator: 200 deployments on a real API server",
        (
            Rule("P13.rest", "writes in a minute at rest", "at most", 0),
            Rule("P13.change", "writes for one change / objects that it changes", "at most", 3),
            Rule("P13.settle", "time until 200 are Ready / the same number of bare writes", "at most", 2),
            Rule("P13.switch", "longest time without a reply while a revision takes over, 50/s", "at most", 1, "s"),
            Rule("P13.switch_exact", "messages lost or doubled by switches", "at most", 0),
        ),
    ),
)


def goal(id_: str) -> Goal:
    """Raises KeyError."""
    for each in GOALS:
        if each.id == id_:
            return each
    raise KeyError(id_)


def verdict(of: Goal, findings: Sequence[Finding] | Mapping[str, Finding]) -> Verdict:
    """Met when every rule has a finding that it allows; one rule without a finding leaves the goal unmeasured."""
    found = findings if isinstance(findings, Mapping) else {f.rule: f for f in findings}
    seen = [(rule, found.get(rule.key)) for rule in of.rules]
    if any(f is not None and not rule.allows(f.value.value) for rule, f in seen):
        return "missed"
    return "met" if all(f is not None for _, f in seen) else "not measured"
