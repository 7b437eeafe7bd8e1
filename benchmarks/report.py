"""The report, pure: from what was measured to the Markdown of RESULTS.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.explanations import Explanation
from benchmarks.goals import Finding, Goal, Measured, Rule, Table, verdict
from benchmarks.machine import Machine

_MARK = {"met": "met", "missed": "**missed**", "not measured": "**not measured**"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a run brought. `failures` says, by goal, why a measurement did not come to its end."""

    machine: Machine
    date: str
    revision: str
    rounds: int
    quick: bool
    minutes: float
    measured: Sequence[Measured]
    failures: Mapping[str, str]
    explanations: Mapping[str, Explanation]

    @property
    def findings(self) -> dict[str, Finding]:
        return {finding.rule: finding for each in self.measured for finding in each.findings}

    def good(self, goals: Sequence[Goal]) -> bool:
        """Every goal is met, or missed with an explanation."""
        verdicts = {goal.id: verdict(goal, self.findings) for goal in goals}
        return not self.failures and all(
            v == "met" or (v == "missed" and id_ in self.explanations) for id_, v in verdicts.items()
        )


def number(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    if value != 0 and abs(value) < 0.01:
        return f"{value:.4f}"
    if abs(value) < 10:
        return f"{value:.2f}"
    return f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}"


def bar(rule: Rule, limit: float) -> str:
    sign = "<=" if rule.bound == "at most" else ">="
    return f"{sign} {_plain(limit)}{_unit(rule)}"


def _plain(limit: float) -> str:
    return f"{limit:g}"


def _unit(rule: Rule) -> str:
    return rule.unit if rule.unit in ("x", "") else f" {rule.unit}"


def reached(rule: Rule, finding: Finding) -> str:
    """The value, with the range over the rounds where there is one."""
    figure = finding.value
    if figure.low == figure.high:
        return f"{number(figure.value)}{_unit(rule)}"
    return f"{number(figure.value)}{_unit(rule)} ({number(figure.low)}-{number(figure.high)})"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def render(outcome: Outcome, goals: Sequence[Goal]) -> str:
    parts = [
        "# Benchmark results",
        "Written by `make bench`; do not edit. Ratios are the result: both sides ran in turn on the same machine in "
        "the same minutes.\nAbsolute figures are context and hold for this machine only.",
        *(["**A quick run: these figures mean nothing.**"] if outcome.quick else []),
        _machine(outcome),
        "## Verdicts",
        _verdicts(outcome, goals),
        *_missed(outcome, goals),
        "## Figures",
        *(_figures(each) for each in outcome.measured),
        "## How to read this",
        _METHOD,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _machine(outcome: Outcome) -> str:
    m = outcome.machine
    versions = ", ".join(f"{name} {version}" for name, version in m.versions)
    return "\n".join(
        (
            f"- {outcome.date}, revision {outcome.revision}, {outcome.rounds} rounds, {outcome.minutes:.0f} minutes",
            f"- {m.processor}, {m.cores} cores, {m.memory_gb:.0f} GB, {m.system}, Python {m.python}; "
            f"load before the run {m.load:.2f}; {m.syncs_per_second:,.0f} fdatasync/s of 4 KiB on the disk used",
            f"- {versions}",
        )
    )


def _verdicts(outcome: Outcome, goals: Sequence[Goal]) -> str:
    rows = []
    for goal in goals:
        whole = verdict(goal, outcome.findings)
        for position, rule in enumerate(goal.rules):
            finding = outcome.findings.get(rule.key)
            rows.append(
                (
                    f"**{goal.id}** {_MARK[whole]}" if position == 0 else "",
                    rule.what,
                    finding.ours if finding else "",
                    finding.anchor if finding else "",
                    f"**{reached(rule, finding)}**" if finding else "-",
                    bar(rule, rule.limit),
                    _standing(rule, finding),
                    finding.conditions if finding else outcome.failures.get(goal.id, ""),
                )
            )
    columns = ("goal", "what", "ours", "anchor", "reached (rounds)", "goal's bar", "", "conditions")
    return table(columns, rows)


def _standing(rule: Rule, finding: Finding | None) -> str:
    if finding is None:
        return "not measured"
    if not rule.allows(finding.value.value):
        return "**missed**"
    beyond = rule.stretch is not None and rule.allows(finding.value.value, rule.stretch)
    return f"met, also {bar(rule, rule.stretch)}" if beyond and rule.stretch is not None else "met"


def _missed(outcome: Outcome, goals: Sequence[Goal]) -> list[str]:
    missed = [goal for goal in goals if verdict(goal, outcome.findings) == "missed"]
    if not missed:
        return []
    parts = ["## Missed, and why"]
    for goal in missed:
        given = outcome.explanations.get(goal.id)
        parts.append(
            f"**{goal.id}**: {given.why} Profile: {given.profile} Next: {given.next}"
            if given
            else f"**{goal.id}**: not explained yet. Profile it and add an entry to benchmarks/explanations.toml."
        )
    return parts


def _figures(measured: Measured) -> str:
    parts = [_table(each) for each in measured.tables]
    if measured.notes:
        parts.append("\n".join(f"- {note}" for note in measured.notes))
    return "\n\n".join(parts)


def _table(of: Table) -> str:
    return f"### {of.title}\n\n{table(of.columns, of.rows)}"


_METHOD = """\
- A ratio is that of the two medians over the rounds; in brackets, the lowest and highest ratio of a single round.
- CPU is the kernel's account of the measured process alone (user + system). It is the steadier figure: on a machine
  that does other work, requests per second move with whoever else runs.
- Times end to end run from when a message was due to be sent, not from when it was, until the last byte of its reply
  reached the callback; percentiles are nearest-rank. Lost and doubled are counted by the load client.
- "sync always": JetStream has written and synced a message before it acknowledges it; this is what Herald ships.
  "sync 2m" is nats-server's default, which can lose two minutes of acknowledged messages in a power cut.
"""
