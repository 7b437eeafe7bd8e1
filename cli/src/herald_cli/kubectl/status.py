"""`kubectl herald status`: one deployment as its operator sees it, or all of a namespace in a table."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from herald_cli import options
from herald_cli.kubectl import deployment as deployments
from herald_cli.kubectl.deployment import Deployment
from herald_cli.kubectl.target import Target, target
from herald_cli.kubectl.watching import Screen
from herald_cli.style import Style, of, printable, seconds, table

if TYPE_CHECKING:
    from herald_cli.kubectl.api import Api

_WATCH_SECONDS = 1.0
# False is their usual state: a rollout that is not under way.
_QUIET = ("Progressing",)


@click.command("status")
@click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="A table of all in the cluster.")
@click.option("-w", "--watch", is_flag=True, help="Show each change until interrupted.")
@options.as_json
@target
def command(everywhere: bool, watch: bool, json_: bool, target: Target) -> None:
    """Show how deployment NAME is: what is not good and why, its parts, its revisions, its addresses.

    Without NAME it is the only one of the namespace, or a table where there are several. The exit code is 0 when all
    that is shown is Ready, 1 when something is not.
    """
    screen = Screen(watch)

    async def show() -> bool:
        from herald_cli.kubectl.api import connect

        async with connect(target) as api:
            while True:
                found, single = await _look(api, target, everywhere)
                now, style = datetime.now(UTC), of(sys.stdout)
                state = report(found[0]) if single else {"deployments": [report(d) for d in found]}
                if json_:
                    screen.document(state)
                else:
                    shown = lines(found[0], now, style) if single else rows(found, now, style, everywhere)
                    screen.show(shown, state)
                if not watch:
                    return all(d.ready for d in found)
                await asyncio.sleep(_WATCH_SECONDS)

    if not asyncio.run(show()):
        raise SystemExit(1)


async def _look(api: "Api", target: Target, everywhere: bool) -> tuple[list[Deployment], bool]:
    """What to show, and whether it is one deployment in full."""
    if target.name is None:
        found = await deployments.everything(api, None if everywhere else api.namespace)
        if len(found) > 1 or (everywhere and found):
            return sorted(found, key=lambda d: (d.namespace, d.name)), False
    return [await deployments.choose(api, target)], True


def report(deployment: Deployment) -> dict[str, Any]:
    """The JSON of `kubectl herald status`. Pure."""
    return {
        "namespace": deployment.namespace,
        "name": deployment.name,
        "phase": deployment.phase,
        "ready": deployment.ready,
        "current": deployment.seen,
        "active": deployment.active or None,
        "candidate": deployment.candidate or None,
        "stable": deployment.status.get("stableRevision") or None,
        "gateway": gateway(deployment),
        "host": host(deployment),
        "components": [
            {"name": c.get("name"), "ready": bool(c.get("ready")), "message": c.get("message") or None}
            for c in deployment.listed("components")
        ],
        "channels": [
            {"name": c.get("name"), "type": c.get("type"), "callback_url": c.get("callbackURL") or None}
            for c in deployment.listed("channels")
        ],
        "conditions": [
            {
                "type": c.get("type"),
                "status": c.get("status"),
                "reason": c.get("reason"),
                "message": c.get("message") or None,
                "since": c.get("lastTransitionTime"),
            }
            for c in deployment.listed("conditions")
        ],
        "history": [revision(entry) for entry in deployment.listed("history")],
    }


def revision(entry: Any) -> dict[str, Any]:
    """One entry of the history as JSON. Pure."""
    return {
        "revision": entry.get("revision"),
        "number": entry.get("number"),
        "outcome": entry.get("outcome"),
        "promoted_at": entry.get("promotedAt"),
        "message": entry.get("message") or None,
    }


def gateway(deployment: Deployment) -> str:
    """Its address inside the cluster."""
    return f"http://{deployment.owner.child('gateway')}.{deployment.namespace}.svc"


def host(deployment: Deployment) -> str | None:
    """The name that the world knows."""
    name = (deployment.spec.get("gateway") or {}).get("host")
    return str(name) if name else None


def lines(deployment: Deployment, now: datetime, style: Style) -> list[str]:
    """What a person sees. Pure."""
    sign = style("✓", "green") if deployment.ready else style("✗", "red")
    colour = "green" if deployment.ready else "yellow" if deployment.phase in _UNDER_WAY else "red"
    name = style(f"{deployment.namespace}/{deployment.name}", "bold")
    out = [f"{name}  {sign} {style(deployment.phase, colour)}  active {deployment.active or 'none yet'}"]
    if deployment.candidate:
        out[0] += f", candidate {deployment.candidate}"
    if not deployment.seen:
        out.append(style("! the operator has not looked at the newest spec yet", "yellow"))
    out += ["", *conditions(deployment, now, style)]
    parts = deployment.listed("components")
    if parts:
        cells = [["", "PART", ""]]
        cells += [
            ["✓" if p.get("ready") else "✗", str(p.get("name")), printable(str(p.get("message") or ""))] for p in parts
        ]
        heading, *rest = table(cells)
        out += ["", style(heading, "dim")]
        out += [style(t, "red") if not p.get("ready") else t for t, p in zip(rest, parts, strict=True)]
    out += ["", *addresses(deployment, style)]
    return out


_UNDER_WAY = ("Unseen", "Starting", "Progressing", "WaitingForPromotion", "Suspended", "Paused")


def conditions(deployment: Deployment, now: datetime, style: Style) -> list[str]:
    """Those that are not good, with their text; one line where all are. Pure."""
    found = deployment.listed("conditions")
    bad = [c for c in found if c.get("status") != "True" and c.get("type") not in _QUIET]
    shown = [c for c in found if c.get("type") == "Progressing" and c.get("status") == "True"]
    told = {str(c.get("message")) for c in bad if c.get("type") != "Ready"}
    # The summary repeats what one of the others says.
    bad = [c for c in bad if c.get("type") != "Ready" or str(c.get("message")) not in told]
    if not found:
        return [style("! no operator has looked at it yet: is one running? `kubectl herald doctor`", "yellow")]
    out = [] if bad else [style("✓ every condition is good", "green")]
    for condition in (*bad, *shown):
        since = _age(condition.get("lastTransitionTime"), now)
        mark = style("✗", "red") if condition in bad else style("…", "yellow")
        name, reason = str(condition.get("type")), str(condition.get("reason"))
        out.append(f"{mark} {style(name, 'bold')} {printable(reason)}" + (f", for {since}" if since else ""))
        if condition.get("message"):
            out.append(f"    {printable(str(condition['message']))}")
    return out


def addresses(deployment: Deployment, style: Style) -> list[str]:
    """Where its channels are reached. Pure."""
    out = []
    found = deployment.listed("channels")
    if found:
        cells = [["CHANNEL", "TYPE", "CALLBACK URL"]]
        cells += [
            [
                str(c.get("name")),
                str(c.get("type")),
                printable(str(c.get("callbackURL") or "none: set spec.gateway.host")),
            ]
            for c in found
        ]
        heading, *rest = table(cells)
        out += [style(heading, "dim"), *rest, ""]
    out.append(f"gateway    {gateway(deployment)}  (inside the cluster)")
    web = next((str(c.get("name")) for c in found if c.get("type") == "web"), None)
    if web is not None and host(deployment) is not None:
        out.append(f"chat page  {style(f'https://{host(deployment)}/channels/{web}/', 'cyan')}")
    elif web is not None:
        forward = f"kubectl -n {deployment.namespace} port-forward svc/{deployment.owner.child('gateway')} 8080:80"
        out.append(f"chat page  {style(f'http://localhost:8080/channels/{web}/', 'cyan')}  while this runs: {forward}")
    return out


def rows(found: Sequence[Deployment], now: datetime, style: Style, everywhere: bool) -> list[str]:
    """Several of them. Pure."""
    first = ["NAMESPACE"] if everywhere else []
    cells = [["", *first, "NAME", "PHASE", "ACTIVE", "CANDIDATE", "AGE"]]
    cells += [
        [
            "✓" if d.ready else "✗",
            *([d.namespace] if everywhere else []),
            d.name,
            printable(d.phase),
            d.active,
            d.candidate,
            _age(d.metadata.get("creationTimestamp"), now),
        ]
        for d in found
    ]
    heading, *rest = table(cells)
    out = [style(heading, "dim")]
    for text, deployment in zip(rest, found, strict=True):
        out.append(text if deployment.ready else style(text, "red"))
        ready = deployment.condition("Ready") or {}
        if not deployment.ready and ready.get("message"):
            out.append(f"     {printable(str(ready['message']))}")
    return out


def _age(moment: Any, now: datetime) -> str:
    try:
        then = datetime.strptime(str(moment), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return ""
    return seconds(max(0.0, (now - then).total_seconds()))
