"""The operator is killed at every write; another one brings things to the end that an undisturbed one reaches.

Sieve's intermediate states (OSDI 2022), without touching the operator: a proxy counts what it writes. Creation, an
upgrade and a deletion of each deployment are cut once each. By default a fixed, seeded sample of the points of each
phase, spread over all of its writes; HERALD_CRASH_POINTS=all takes every one of them, and HERALD_CRASH_SEED another
sample.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tools.cluster import Cluster

from tests.cluster.operator.api import Api
from tests.cluster.operator.crashes import MOMENTS, Crashes, about, name, points
from tests.cluster.operator.operators import SYSTEM, Operator, credentials
from tests.cluster.operator.places import Place, soon
from tests.cluster.operator.proxy import Proxy
from tests.cluster.operator.states import state

pytestmark = pytest.mark.timeout(1_800)

_ALL = os.environ.get("HERALD_CRASH_POINTS") == "all"
_MOST = 1_000 if _ALL else 20
_SEED = int(os.environ.get("HERALD_CRASH_SEED", "1"))
_SECONDS = 240.0
_REFERENCE = name(0)


@dataclass(frozen=True, slots=True)
class Phase:
    """`begin` is done to each deployment, `ended` looks whether it is through."""

    name: str
    begin: Callable[[str], Awaitable[object]]
    ended: Callable[[str], Awaitable[bool]]


async def test_the_end_is_the_same_wherever_the_operator_was_killed(
    place: Place, api: Api, proxied: Proxy, fake_cluster: Cluster, kubeconfig: Path, tmp_path: Path
) -> None:
    through = credentials(fake_cluster, tmp_path / "through", server=proxied.url, ca=proxied.authority)
    phases = _phases(place)
    # Undisturbed: how many writes each phase has, and what it leads to.
    counts, ends = {}, {}
    observer = await _started(tmp_path / "observer", through)
    try:
        for phase in phases:
            proxied.calls.clear()
            await _through(phase, [_REFERENCE])
            counts[phase.name] = len([c for c in proxied.writes() if about(c) == _REFERENCE])
            ends[phase.name] = await _end(place, _REFERENCE)
    finally:
        # Not `stop`: its goodbye would go through the proxy, which waits for it in this very loop.
        observer.kill()
        await api.delete("Lease", SYSTEM, "herald-operator")
    chosen = {p.name: points(counts[p.name], _MOST, _SEED) for p in phases}
    names = [name(number) for number in range(1, 1 + max(map(len, chosen.values())))]
    wrong = []
    for phase in phases:
        crashes = Crashes(dict(zip(names, chosen[phase.name], strict=False)))
        proxied.before, proxied.after = crashes.before, crashes.after
        victim = await _started(tmp_path / f"victim-{phase.name}", through)
        await asyncio.gather(*(phase.begin(n) for n in names))
        await _all_held(phase, crashes)
        victim.kill()
        crashes.over()
        proxied.restore()
        # Its lease would run out by itself, after a while.
        await api.delete("Lease", SYSTEM, "herald-operator")
        heir = Operator(tmp_path / f"heir-{phase.name}", kubeconfig, arguments=["--workers=32"])
        heir.start()
        try:
            await _through(phase, names, begun=True)
            for n, point in crashes.wanted.items():
                wrong += [f"{phase.name}, {point}: {d}" for d in await _differences(place, n, ends[phase.name])]
        finally:
            heir.stop()
        assert heir.complaints() == []
    assert wrong == []
    print({p.name: f"{len(chosen[p.name])} of {len(MOMENTS) * counts[p.name]} points" for p in phases})  # noqa: T201


def _phases(place: Place) -> list[Phase]:
    async def create(deployment: str) -> object:
        return await place.create(place.document(deployment, agent__replicas=1, gateway__replicas=1))

    async def upgrade(deployment: str) -> object:
        return await place.change(deployment, instructions="You answer questions about plants.")

    async def delete(deployment: str) -> object:
        await place.api.delete("AgentDeployment", place.namespace, deployment)
        return None

    async def gone(deployment: str) -> bool:
        left = {kind for kind, _ in await place.children(deployment)}
        return await place.find("AgentDeployment", deployment) is None and left <= {"Secret", "PersistentVolumeClaim"}

    return [
        Phase("created", create, lambda n: place.is_settled(n)),
        Phase("upgraded", upgrade, lambda n: place.is_settled(n)),
        Phase("deleted", delete, gone),
    ]


async def _started(folder: Path, kubeconfig: Path) -> Operator:
    made = Operator(folder, kubeconfig, at_once=True, arguments=["--workers=64"])
    made.start()
    await soon(made.leads, what="the operator leads")
    return made


async def _through(phase: Phase, names: list[str], *, begun: bool = False) -> None:
    for each in names:
        if not begun:
            await phase.begin(each)

        async def ended(each: str = each) -> bool:
            return await phase.ended(each)

        await soon(ended, what=f"{each} is {phase.name}", within=_SECONDS)


async def _all_held(phase: Phase, crashes: Crashes) -> None:
    """Or through: how often the status is written differs a little from one time to the next."""

    async def held() -> bool:
        return all([n in crashes.held or await phase.ended(n) for n in crashes.wanted])

    await soon(held, what=f"all are held while they are {phase.name}", within=_SECONDS)
    missed = [f"{crashes.wanted[n]} of {len(crashes.seen[n])}" for n in crashes.wanted if n not in crashes.held]
    assert len(missed) <= len(crashes.wanted) / 5, f"{phase.name}: never reached: {missed}"


async def _end(place: Place, deployment: str) -> dict[str, Any]:
    if await place.find("AgentDeployment", deployment) is not None:
        return await state(place, deployment)
    left = sorted(f"{kind}/{child.replace(deployment, 'NAME')}" for kind, child in await place.children(deployment))
    return {"left": left}


async def _differences(place: Place, deployment: str, wanted: dict[str, Any]) -> list[str]:
    """Empty as soon as there are none; the last ones, where they stay."""
    found: list[str] = []

    async def same() -> bool:
        now = await _end(place, deployment)
        found[:] = [
            f"{key}: {now.get(key)}, not {wanted.get(key)}"
            for key in {*now, *wanted}
            if now.get(key) != wanted.get(key)
        ]
        return not found

    try:
        await soon(same, what="the same", within=3)
    except AssertionError:
        return found
    return []
