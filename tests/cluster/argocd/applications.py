"""What Argo CD says about Applications: now, and at every moment since somebody began to watch."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from tests.cluster.argocd.servers import NAMESPACE
from tests.cluster.operator.api import Api, Object
from tests.waiting import eventually

KIND = "Application"
REFRESH = "argocd.argoproj.io/refresh"
SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Moment:
    """One state of an Application. `syncs`: how often it was applied so far; `at`: order among all Applications."""

    at: int
    name: str
    sync: str
    health: str
    operation: str
    syncs: int


class Diary:
    """Every state that an Application was in, oldest first."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []

    def note(self, body: Object) -> None:
        status = body.get("status") or {}
        moment = Moment(
            at=len(self.moments),
            name=body["metadata"]["name"],
            sync=(status.get("sync") or {}).get("status", ""),
            health=(status.get("health") or {}).get("status", ""),
            operation=(status.get("operationState") or {}).get("startedAt", ""),
            syncs=len(status.get("history") or ()),
        )
        self.moments.append(moment)

    def of(self, name: str) -> list[Moment]:
        return [moment for moment in self.moments if moment.name == name]

    def healths(self, name: str) -> list[str]:
        """Without repetitions."""
        found = [moment.health for moment in self.of(name) if moment.health]
        return [health for n, health in enumerate(found) if n == 0 or found[n - 1] != health]

    def first(self, name: str, health: str = "") -> int:
        """When it was first seen, or first seen like this."""
        return next(m.at for m in self.of(name) if not health or m.health == health)


class Applications:
    def __init__(self, api: Api) -> None:
        self._api = api

    async def get(self, name: str) -> Object:
        return await self._api.get(KIND, NAMESPACE, name)

    async def find(self, name: str) -> Object | None:
        return await self._api.find(KIND, NAMESPACE, name)

    async def gone(self, name: str) -> None:
        async def look() -> bool:
            return await self.find(name) is None

        await eventually(look, within=SECONDS, what=f"{name} is gone")

    async def refresh(self, name: str, *, hard: bool = False) -> None:
        """Have it looked at now, as the button does; `hard` forgets what is cached. Returns once that is done."""
        notes = {REFRESH: "hard" if hard else "normal"}
        await self._api.merge(KIND, NAMESPACE, name, {"metadata": {"annotations": notes}})

        async def looked() -> bool:
            body = await self.get(name)
            return REFRESH not in (body["metadata"].get("annotations") or {})

        await eventually(looked, within=SECONDS, what=f"{name} is refreshed")

    async def becomes(self, name: str, health: str, commit: str = "") -> Object:
        """Once it is like this, in sync, and with `commit`."""
        if commit:
            await self.refresh(name)

        def look(body: Object) -> bool:
            status = body.get("status") or {}
            sync = status.get("sync") or {}
            done = (status.get("operationState") or {}).get("phase") == "Succeeded"
            there = not commit or sync.get("revision") == commit
            return there and done and sync.get("status") == "Synced" and _health(body) == health

        return await self.until(name, look, f"Synced and {health} {commit[:8]}")

    async def until(self, name: str, look: Callable[[Object], bool], what: str) -> Object:
        seen: Object = {}

        async def once() -> Object | None:
            nonlocal seen
            seen = await self.find(name) or {}
            return seen if seen and look(seen) else None

        try:
            return await eventually(once, within=SECONDS)
        except AssertionError:
            raise AssertionError(f"{name} not within {SECONDS:g} s: {what}; last seen: {_said(seen)}") from None

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[Diary]:
        """Writes down what becomes of every Application meanwhile, beginning with how they are now."""
        diary = Diary()
        listed, version = await self._api.listed(KIND, NAMESPACE)
        for body in listed:
            diary.note(body)

        async def follow() -> None:
            async for change, body in self._api.watch(KIND, NAMESPACE, version):
                assert change != "ERROR", body
                diary.note(body)

        task = asyncio.create_task(follow())
        try:
            yield diary
            assert not task.done(), task.exception()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def resources(body: Object) -> set[tuple[str, str]]:
    """What it takes for its own: kind and name."""
    return {(r["kind"], r["name"]) for r in body["status"].get("resources") or ()}


def _health(body: Object) -> str:
    return str(((body.get("status") or {}).get("health") or {}).get("status", ""))


def _said(body: Object) -> str:
    status = body.get("status") or {}
    operation = status.get("operationState") or {}
    parts = {
        "sync": (status.get("sync") or {}).get("status"),
        "revision": (status.get("sync") or {}).get("revision"),
        "health": _health(body),
        "operation": f"{operation.get('phase')}: {operation.get('message')}",
        "conditions": [c.get("message") for c in status.get("conditions") or ()],
        "resources": [(r["kind"], r["name"], r.get("status")) for r in status.get("resources") or ()],
    }
    return str(parts)
