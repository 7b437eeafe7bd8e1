"""The pods of a deployment: which there are, and asking a question in one of its workers.

Exec is a websocket whose messages begin with a channel's number (Kubernetes' v4.channel.k8s.io): 1 and 2 are what
the command writes, 3 is how it ended.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import aiohttp

from herald_cli.kubectl.api import Api, Forbidden, Object, Refused, Unreachable
from herald_cli.kubectl.deployment import Deployment
from herald_contracts.errors import PermanentError, TemporaryError
from herald_operator.build import workers
from herald_operator.build.context import ETC
from herald_operator.build.naming import REVISION

_PROTOCOL = "v4.channel.k8s.io"
_STDOUT, _STDERR, _END = 1, 2, 3
_MOST_ERROR = 4_000  # bytes of what a command says on its way out
# How `herald_agent.ask` ends: sysexits.h EX_TEMPFAIL, and argparse's own for what it does not know.
_TEMPORARY, _USAGE = "75", "2"


class NoWorker(TemporaryError):
    """There is no pod that could be asked."""


class OtherVersion(PermanentError):
    """The workers' image is of another version, which does not know the question."""


class NotAnswered(PermanentError):
    """The worker could be asked, and says why it has no answer."""


class NotNow(TemporaryError):
    """The same, and it may have one later."""


async def of(api: Api, deployment: Deployment, component: str = "", **labels: str) -> list[Object]:
    """Its pods, of one component where one is named."""
    wanted = {"app.kubernetes.io/instance": deployment.name, "app.kubernetes.io/name": "herald", **labels}
    if component:
        wanted["app.kubernetes.io/component"] = component
    selector = ",".join(f"{key}={value}" for key, value in wanted.items())
    return await api.listed(f"/api/v1/namespaces/{deployment.namespace}/pods", labelSelector=selector)


def short(pod: Mapping[str, Any], component: str = "") -> str:
    """What a pod is called in a list of its deployment's: its component, and the end of its name."""
    metadata = pod["metadata"]
    component = component or (metadata.get("labels") or {}).get("app.kubernetes.io/component", "pod")
    return f"{component}-{str(metadata['name']).rpartition('-')[2]}"


def running(pod: Mapping[str, Any]) -> bool:
    """Whether a command can be run in it."""
    states = (pod.get("status") or {}).get("containerStatuses") or ()
    return not pod["metadata"].get("deletionTimestamp") and any("running" in (s.get("state") or {}) for s in states)


def ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def best(pods: Sequence[Object], active: str) -> Object | None:
    """The worker to ask: of the active revision and ready, if there is one. Pure."""
    alive = [pod for pod in pods if running(pod)]

    def rank(pod: Object) -> tuple[bool, bool, str]:
        return ready(pod), (pod["metadata"].get("labels") or {}).get(REVISION) == active, str(pod["metadata"]["name"])

    return max(alive, key=rank, default=None)


async def ask(api: Api, deployment: Deployment, *question: str) -> AsyncGenerator[Any]:
    """The values that `python -m herald_agent.ask` answers, as they come. See `execute` for what is raised."""
    pod = best(await of(api, deployment, workers.COMPONENT), deployment.active)
    if pod is None:
        raise NoWorker(
            f"{deployment.name} has no running worker that could be asked\n  see `kubectl herald status`, "
            f"`kubectl -n {deployment.namespace} get pods`"
        )
    settings = str(ETC / "settings" / "agent.json")
    command = ["python3", "-m", "herald_agent.ask", "--settings", settings, *question]
    rest = b""
    async with contextlib.aclosing(execute(api, pod, workers.COMPONENT, command)) as output:
        async for data in output:
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield _value(line)


async def ask_once(api: Api, deployment: Deployment, *question: str) -> Any:
    """The only value."""
    async with contextlib.aclosing(ask(api, deployment, *question)) as answers:
        async for value in answers:
            return value
    raise NotNow("the worker gave no answer")


def _value(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise NotAnswered(f"the worker answered what is no JSON: {line[:200]!r}") from None


async def execute(api: Api, pod: Object, container: str, command: Sequence[str]) -> AsyncGenerator[bytes]:
    """What a command in a pod writes. Raises Forbidden, Unreachable, OtherVersion, NotAnswered, NotNow."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/exec"
    query = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", c) for c in command)]
    said, end = b"", b""
    try:
        async with api.websocket(path, query, _PROTOCOL) as socket:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                    continue
                channel, data = message.data[0], message.data[1:]
                if channel == _STDOUT and data:
                    yield data
                elif channel == _STDERR:
                    said = (said + data)[-_MOST_ERROR:]
                elif channel == _END:
                    end += data
    except Forbidden:
        raise Forbidden(
            f"you may not run commands in pods of namespace {namespace!r}, by which the database is asked\n"
            f"  needed: the right to create and get pods/exec; see `kubectl herald doctor`",
            403,
        ) from None
    except Refused as e:
        raise Unreachable(f"no command can be run in pod {name} (HTTP {e.status})\n  try again") from None
    error = ended(end, said, name)
    if error is not None:
        raise error


def ended(end: bytes, said: bytes, pod: str) -> TemporaryError | PermanentError | None:
    """What the end of a command means; None is a good end. Pure."""
    try:
        status = json.loads(end)
    except ValueError:
        return Unreachable(f"the connection to pod {pod} was lost")
    if status.get("status") == "Success":
        return None
    text = said.decode(errors="replace").strip()
    causes = (status.get("details") or {}).get("causes") or ()
    code = next((c.get("message") for c in causes if c.get("reason") == "ExitCode"), "")
    if "No module named herald_agent.ask" in text or code == _USAGE:
        return OtherVersion(
            f"pod {pod} runs another version of Herald than this command, and does not know the question"
        )
    last = text.splitlines()[-1] if text else str(status.get("message") or "it did not say why")
    return NotNow(last) if code == _TEMPORARY else NotAnswered(f"{last} (in pod {pod})")
