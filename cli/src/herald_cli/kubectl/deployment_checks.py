"""The checks of `kubectl herald doctor` that are about one deployment: as it is seen, and from inside of it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from herald_cli.diagnosis import Check, Finding, Trouble
from herald_cli.kubectl import pods
from herald_cli.kubectl.api import Api, Forbidden, Object
from herald_cli.kubectl.deployment import Deployment
from herald_cli.kubectl.door import Door
from herald_cli.kubectl.target import Target
from herald_contracts.errors import HeraldError, TemporaryError
from herald_operator.build.naming import DEPLOYMENT
from herald_operator.build.secrets import lacking, wanted
from herald_operator.planning import accepting, readiness

_RESTARTS = 3
# In this order: one process asks them one after the other, the slowest last.
_INSIDE = {
    "database": "postgres",
    "schema": "migration",
    "ledger": "agent",
    "model": "inference",
}


@asynccontextmanager
async def checks(api: Api, deployment: Deployment, target: Target) -> AsyncIterator[dict[str, tuple[Check, str]]]:
    """All of them; entered, a worker is asked already."""
    inside = Inside(api, deployment)
    status = target.typed("status")
    found: dict[str, tuple[Check, str]] = {
        "deployment": (lambda: _conditions(deployment, status), f"see `{status}`"),
        "pods": (lambda: _pods(api, deployment), f"see `kubectl -n {deployment.namespace} get pods`"),
        "volumes": (lambda: _volumes(api, deployment), f"see `kubectl -n {deployment.namespace} get pvc`"),
        "secrets": (lambda: _secrets(api, deployment), f"see `{status}`"),
        "gateway": (lambda: _gateway(api, deployment), f"see `{target.typed('logs gateway')}`"),
    }
    for part, component in _INSIDE.items():
        found[part] = (partial(inside.seen, part), f"see `{target.typed(f'logs {component}')}`")
    try:
        yield found
    finally:
        await inside.close()


async def _conditions(deployment: Deployment, status: str) -> str | Finding:
    if not deployment.seen:
        raise Trouble("the operator has not looked at the newest spec yet", "is an operator running? see above")
    promoted = deployment.condition("Promoted") or {}
    if promoted.get("reason") == "RevisionFailed" and deployment.ready:
        seen = f"{deployment.active} answers, but {promoted.get('message')}"
        return Finding(
            "deployment", "warning", seen, f"fix the spec, or `{status.replace('status', 'rollout retry', 1)}`"
        )
    ready = deployment.condition("Ready") or {}
    if ready.get("status") != "True":
        raise Trouble(f"{deployment.phase}: {ready.get('message') or ready.get('reason') or 'not ready'}")
    return f"{deployment.phase}, {deployment.active} answers"


async def _pods(api: Api, deployment: Deployment) -> str | Finding:
    return judge_pods(await pods.of(api, deployment), deployment.namespace)


def judge_pods(found: Sequence[Object], namespace: str) -> str | Finding:
    """Raises Trouble with what keeps a pod from its work. Pure."""
    alive = [p for p in found if (p.get("status") or {}).get("phase") != "Succeeded"]
    if not alive:
        raise Trouble("there are none", f"`kubectl -n {namespace} get events`")
    said = readiness.trouble(tuple(alive), namespace)
    if said:
        raise Trouble(said)
    waiting = sorted(pods.short(p) for p in alive if not pods.ready(p))
    if waiting:
        return Finding("pods", "warning", f"not ready: {', '.join(waiting)}", "they may be starting: look again")
    often = sorted((r, pods.short(p)) for p in alive if (r := _restarts(p)) > _RESTARTS)
    if often:
        count, name = often[-1]
        full = next(p["metadata"]["name"] for p in alive if pods.short(p) == name)
        return Finding(
            "pods", "warning", f"{name} began {count} times anew", f"`kubectl -n {namespace} logs -p {full}`"
        )
    return f"{len(alive)} are ready"


def _restarts(pod: Mapping[str, Any]) -> int:
    return sum(int(s.get("restartCount") or 0) for s in (pod.get("status") or {}).get("containerStatuses") or ())


async def _volumes(api: Api, deployment: Deployment) -> str | Finding:
    path = f"/api/v1/namespaces/{deployment.namespace}/persistentvolumeclaims"
    # Not by `instance`: what outlives a deployment does not have that label, or Argo CD would prune it.
    found = await api.listed(path, labelSelector=f"{DEPLOYMENT}={deployment.name}")
    return judge_volumes(found, deployment.namespace)


def judge_volumes(found: Sequence[Object], namespace: str) -> str:
    """Raises Trouble for a claim without a volume. Pure."""
    for claim in found:
        phase = (claim.get("status") or {}).get("phase")
        if phase != "Bound":
            name = claim["metadata"]["name"]
            kind = claim["spec"].get("storageClassName") or "none: the cluster has no default"
            next_ = f"`kubectl -n {namespace} describe pvc {name}`, `kubectl get storageclass`"
            raise Trouble(f"{name} is {phase} (storage class {kind})", next_)
    return f"{len(found)} claims are bound" if found else "none: messages and data are kept elsewhere"


async def _secrets(api: Api, deployment: Deployment) -> str | Finding:
    """Whether each Secret that the spec refers to is there with its keys; their values are not looked at."""
    model = accepting.parse(dict(deployment.body))
    if isinstance(model, accepting.Refusal):
        return Finding("secrets", "warning", "this command cannot read the spec", f"is it too old? {model.message}")
    needed = wanted(model)
    for want in needed:
        try:
            body = await api.get(f"/api/v1/namespaces/{deployment.namespace}/secrets/{want.name}")
        except Forbidden:
            return Finding(
                "secrets", "warning", "they are not yours to read", "the operator says it where one is missing"
            )
        found = lacking(want, deployment.namespace, (body.get("data") or {}) if body is not None else None)
        if found is not None:
            raise Trouble(f"{want.path}: {found.problem}", f"`{found.command}`")
    return f"{len(needed)} are there, with their keys"


async def _gateway(api: Api, deployment: Deployment) -> str | Finding:
    begun = time.perf_counter()
    try:
        status, told, _ = await Door(api, deployment, "health").ask("GET", "/healthz/ready")
    except Forbidden as e:
        return _unseen("gateway", e)
    if status != 200:
        raise Trouble(f"not ready: HTTP {status} {told[:200]}")
    return f"could accept durably now, answered in {(time.perf_counter() - begun) * 1_000:.0f} ms"


def _unseen(check: str, e: Forbidden) -> Finding:
    """What the user may not look at is not known to be bad. The error's second line is what to do."""
    seen, _, next_ = str(e).partition("\n")
    return Finding(check, "warning", seen, next_.strip().partition("; see")[0])


class NotAsked(TemporaryError):
    """Another question's failure was the end of it."""


class Inside:
    """Asks a worker once for everything, and keeps each answer for whoever waits for it."""

    def __init__(self, api: Api, deployment: Deployment) -> None:
        loop = asyncio.get_running_loop()
        self._answers: dict[str, asyncio.Future[str]] = {part: loop.create_future() for part in _INSIDE}
        self._task = asyncio.create_task(self._ask(api, deployment), name="inside")

    async def seen(self, part: str) -> str | Finding:
        """What was seen. Raises HeraldError."""
        try:
            return await asyncio.shield(self._answers[part])
        except Forbidden as e:
            return _unseen(part, e)
        except NotAsked as e:
            return Finding(part, "warning", str(e))

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for answer in self._answers.values():
            if answer.cancel() is False and not answer.cancelled():
                answer.exception()  # whoever waited for it has given up

    async def _ask(self, api: Api, deployment: Deployment) -> None:
        try:
            async with contextlib.aclosing(pods.ask(api, deployment, "probe", *_INSIDE)) as answers:
                async for value in answers:
                    self._take(value)
        except HeraldError as e:
            # Said once, and not once for each.
            first = next(part for part, answer in self._answers.items() if not answer.done())
            self._answers[first].set_exception(e)
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(NotAsked(f"could not be asked either: see {first}"))

    def _take(self, value: Mapping[str, Any]) -> None:
        answer = self._answers[str(value["part"])]
        if "problem" in value:
            answer.set_exception(Trouble(str(value["problem"])))
        else:
            answer.set_result(str(value["seen"]))
