"""`herald doctor`: looks at every part and says what to do next."""

import asyncio
import sys

import click

from herald_cli import diagnosis, options, part_checks
from herald_cli.diagnosis import Finding
from herald_cli.state import NotRunning, Snapshot, StateFolder
from herald_cli.style import Style, of, printable

_SIGNS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red")}


@click.command("doctor")
@options.as_json
@options.state
def command(json_: bool, folder: StateFolder) -> None:
    """Use each part for real (store, read back, commit, infer) and say what to do where one does not work.

    The exit code is 0 when nothing failed. Without a running Herald it looks at the machine only.
    """
    try:
        snapshot: Snapshot | None = folder.running()
    except NotRunning:
        snapshot = None
    checks = diagnosis.machine(folder)
    if snapshot is not None:
        checks |= part_checks.parts(folder, snapshot)
    diagnosis.load(parts=snapshot is not None)
    findings = asyncio.run(diagnosis.examine(checks))
    if json_:
        options.emit(report(findings, running=snapshot is not None))
    else:
        for line in lines(findings, of(sys.stdout)):
            click.echo(line)
        if snapshot is None:
            click.echo(f"\nHerald does not run from {folder.root}: start it with `herald up -f FILE`")
    if any(finding.verdict == "failed" for finding in findings):
        raise SystemExit(1)


def report(findings: list[Finding], *, running: bool) -> dict[str, object]:
    """The JSON of `herald doctor`. Pure."""
    return {
        "running": running,
        "healthy": not any(f.verdict == "failed" for f in findings),
        "checks": [{"check": f.check, "verdict": f.verdict, "seen": f.seen, "next": f.next or None} for f in findings],
    }


def lines(findings: list[Finding], style: Style) -> list[str]:
    """What a person sees. Pure."""
    width = max(len(finding.check) for finding in findings)
    out = []
    for finding in findings:
        sign, colour = _SIGNS[finding.verdict]
        out.append(f"{style(sign, colour)} {finding.check:<{width}}  {printable(finding.seen)}")
        if finding.next and finding.verdict != "ok":
            out.append(f"  {'':<{width}}  {style('next:', 'bold')} {finding.next}")
    return out
