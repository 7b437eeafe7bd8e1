"""Where the operator is killed: at the n-th write about a deployment, just before it, with its answer lost, or after.

Many deployments are brought to a point of their own each, and held there. One kill then crashes the operator at all
of these points, so that a whole row of them costs one restart.
"""

import asyncio
import random
import re
from dataclasses import dataclass
from typing import Literal, get_args

from aiohttp import web

from tests.cluster.operator.proxy import Call

Moment = Literal["not sent", "answer lost", "answered"]
MOMENTS: tuple[Moment, ...] = get_args(Moment)
_NAME = re.compile(r"/namespaces/[^/]+/[a-z]+/(crash-\d+)(?![0-9])")


@dataclass(frozen=True, slots=True)
class Point:
    """`number` counts from 1."""

    number: int
    moment: Moment

    def __str__(self) -> str:
        return f"write {self.number} {self.moment}"


def name(number: int) -> str:
    """Of a deployment that may be crashed at."""
    return f"crash-{number}"


def points(writes: int, most: int, seed: int) -> list[Point]:
    """All points of a phase with so many writes; no more than `most`, spread evenly, moments taking turns."""
    every = [Point(n, moment) for n in range(1, writes + 1) for moment in MOMENTS]
    if len(every) <= most:
        return every
    chooser = random.Random(seed)
    step = writes / most
    numbers = [min(writes, 1 + int(step * place + chooser.random() * step)) for place in range(most)]
    turn = chooser.randrange(len(MOMENTS))
    return [Point(n, MOMENTS[(turn + place) % len(MOMENTS)]) for place, n in enumerate(numbers)]


class Crashes:
    """`before` and `after` are the proxy's; `held` are the deployments whose point is reached."""

    def __init__(self, wanted: dict[str, Point]) -> None:
        self.wanted = wanted
        self.held: set[str] = set()
        self.seen: dict[str, list[Call]] = {deployment: [] for deployment in wanted}
        self._killed = asyncio.Event()

    def over(self) -> None:
        """The operator is dead: what was held is answered to nobody, and what was not sent never is."""
        self._killed.set()

    async def before(self, call: Call) -> web.Response | None:
        deployment = about(call)
        point = self.wanted.get(deployment)
        if point is None:
            return None
        if deployment in self.held:
            return await self._hold(deployment)
        if call.writes:
            self.seen[deployment].append(call)
            if len(self.seen[deployment]) == point.number and point.moment == "not sent":
                return await self._hold(deployment)
        return None

    async def after(self, call: Call) -> None:
        deployment = about(call)
        point = self.wanted.get(deployment)
        if point is None or not call.writes or len(self.seen[deployment]) != point.number:
            return
        if point.moment == "answered":
            self.held.add(deployment)
        else:
            await self._hold(deployment)

    async def _hold(self, deployment: str) -> web.Response:
        self.held.add(deployment)
        await self._killed.wait()
        return web.Response(status=503)


def about(call: Call) -> str:
    """Which deployment a request is about; empty for those that tell nothing of it."""
    found = _NAME.search(call.path)
    return found[1] if found is not None else ""
