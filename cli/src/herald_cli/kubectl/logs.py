"""`kubectl herald logs`: what the parts say, in the order in which they said it."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from herald_cli import logfiles, options
from herald_cli.commands.logs import NoSuchLog, shown
from herald_cli.kubectl import deployment as deployments
from herald_cli.kubectl.deployment import Deployment
from herald_cli.kubectl.target import Target, target_by_option
from herald_cli.logfiles import Entry, Lines
from herald_cli.style import of

if TYPE_CHECKING:
    from herald_cli.kubectl.api import Api, Object

OPERATOR = "operator"
COMPONENTS = ("gateway", "agent", "inference", "nats", "postgres", "milvus", "migration", OPERATOR)
_PODS_SECONDS = 2.0  # between looks for new pods
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_OPERATORS = "app.kubernetes.io/name=herald-operator"


def _since(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    found = re.fullmatch(r"(\d+)([smhd])", value)
    if found is None or not int(found[1]):
        raise click.BadParameter("a number and its unit: 90s, 10m, 2h, 1d")
    return int(found[1]) * _UNITS[found[2]]


@click.command("logs")
@click.argument("component", required=False, type=click.Choice(COMPONENTS))
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written, by pods that begin later too.")
@click.option("--lines", type=click.IntRange(0), default=50, show_default=True, help="How many to begin with.")
@click.option("--since", callback=_since, metavar="TIME", help="Only what is newer: 90s, 10m, 2h, 1d.")
@options.as_json
@target_by_option
def command(component: str | None, follow: bool, lines: int, since: int | None, json_: bool, target: Target) -> None:
    """Show the newest log lines of all parts, or of one COMPONENT, in the order in which they were written.

    `operator` shows what Herald's operator says about this deployment. With --json each line is one JSON object with
    timestamp, level, component and event, as with `herald logs`.
    """
    style = of(sys.stdout)

    def say(entry: Entry) -> None:
        click.echo(entry.raw if json_ else shown(entry, style))

    async def look() -> None:
        from herald_cli.kubectl.api import connect

        async with connect(target) as api:
            found = await deployments.choose(api, target)
            reader = Reader(api, found, component)
            sources = await reader.sources()
            if not sources and not follow:
                what = f"no {component} pod" if component else "no pods"
                raise NoSuchLog(f"{found.name} has {what} now\n  see `{target.typed('status')}`")
            parts = await asyncio.gather(*(reader.newest(source, lines, since) for source in sources))
            found_lines = sorted((line for part in parts for line in part), key=lambda line: line.entry.timestamp)
            for line in found_lines[-lines:] if lines else []:
                say(line.entry)
            sys.stdout.flush()
            if follow:
                await reader.follow({s.name: _last(part) for s, part in zip(sources, parts, strict=True)}, say)

    asyncio.run(look())


def _last(lines: "Sequence[Line]") -> str:
    return lines[-1].written if lines else ""


@dataclass(frozen=True, slots=True)
class Line:
    """`written` is when the kubelet had it: of one container these only grow."""

    written: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Source:
    """One container that writes a log. `about`: only lines of this deployment, or of none."""

    namespace: str
    pod: str
    container: str
    name: str
    about: str = ""

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.pod}/log"


class Reader:
    """The logs of one deployment; `component` None: of all its parts, but not of the operator."""

    def __init__(self, api: "Api", deployment: Deployment, component: str | None) -> None:
        self._api = api
        self._deployment = deployment
        self._component = component

    async def sources(self) -> list[Source]:
        """The pods that there are."""
        from herald_cli.kubectl import pods

        if self._component == OPERATOR:
            found = await self._api.listed("/api/v1/pods", labelSelector=_OPERATORS)
            about = f"{self._deployment.namespace}/{self._deployment.name}"
            return [_source(pod, pods.short(pod, OPERATOR), about) for pod in found if _begun(pod)]
        found = await pods.of(self._api, self._deployment, self._component or "")
        return [_source(pod, pods.short(pod)) for pod in found if _begun(pod)]

    async def newest(self, source: Source, lines: int, since: int | None) -> list[Line]:
        """The last lines of one, oldest first; none of a pod that went meanwhile."""
        query = {"tailLines": str(lines)} | ({"sinceSeconds": str(since)} if since is not None else {})
        return [line async for line in self._read(source, query)]

    async def follow(self, last: dict[str, str], say: Callable[[Entry], None]) -> None:
        """Until interrupted. `last` is what was shown of each already."""
        tasks: dict[str, asyncio.Task[None]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    for source in await self.sources():
                        task = tasks.get(source.name)
                        if task is None or task.done():
                            tasks[source.name] = group.create_task(self._tail(source, last, say))
                    await asyncio.sleep(_PODS_SECONDS)
        except BaseExceptionGroup as e:
            raise e.exceptions[0] from None

    async def _tail(self, source: Source, last: dict[str, str], say: Callable[[Entry], None]) -> None:
        """Until the container ends; called again for the next one of the same pod, it leaves out what was shown."""
        from herald_cli.kubectl.api import Unreachable

        before = last.get(source.name, "")
        # Times of lines go finer than a second, the question does not.
        query = {"follow": "true"} | ({"sinceTime": f"{before[:19]}Z"} if before else {})
        # Whether the cluster is gone, the next look for pods says.
        with contextlib.suppress(Unreachable):
            async for line in self._read(source, query):
                if line.written > before:
                    last[source.name] = line.written
                    say(line.entry)
                    sys.stdout.flush()

    async def _read(self, source: Source, query: dict[str, str]) -> AsyncGenerator[Line]:
        from herald_cli.kubectl.api import refusal

        cut = Lines()
        wanted = {"container": source.container, "timestamps": "true", **query}
        async with self._api.stream("GET", source.path, query=wanted) as response:
            if response.status in (400, 404):  # it has not begun, or has gone
                return
            if response.status >= 300:
                raise refusal(response.status, await response.read())
            async for data in response.content.iter_any():
                for text in cut.feed(data):
                    if concerns(source, line := read(source, text)):
                        yield line
        for text in cut.end():
            if concerns(source, line := read(source, text)):
                yield line


def read(source: Source, text: str) -> Line:
    """A line as the kubelet gives it, its time first. Pure."""
    written, _, said = text.partition(" ")
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        written, said, moment = "", text, datetime.fromtimestamp(0, UTC)
    return Line(written, logfiles.parse(logfiles.entry(source.name, said, moment)))


def concerns(source: Source, line: Line) -> bool:
    """Whether a line is about our deployment, or about none. Pure."""
    about = dict(line.entry.fields).get("deployment")
    return not source.about or about in (None, source.about)


def _source(pod: "Object", name: str, about: str = "") -> Source:
    metadata: Any = pod["metadata"]
    return Source(metadata["namespace"], metadata["name"], pod["spec"]["containers"][0]["name"], name, about)


def _begun(pod: "Object") -> bool:
    states = (pod.get("status") or {}).get("containerStatuses") or ()
    return any("waiting" not in (s.get("state") or {}) or (s.get("restartCount") or 0) > 0 for s in states)
