"""state(A -> B -> C) == state(C) on a real API server, for specs that nobody wrote by hand.

The same as tests/unit/operator/test_ways.py, with what that cannot know: server-side apply, defaults, the rules of the
CRD, and controllers that work at their own pace. HERALD_SEQUENCES=n takes so many ways (3), HERALD_SEQUENCES_SEED
other ones.
"""

import asyncio
import base64
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from hypothesis import strategies as st

from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_operator.build import secrets as references
from herald_operator.planning import accepting
from tests.cluster.operator.api import Object
from tests.cluster.operator.documents import LOGIN
from tests.cluster.operator.places import Place, soon
from tests.cluster.operator.states import state
from tests.comparable import differences
from tests.crd_schema import GONE, Value
from tests.generated import Taste, drawn, specs, updates
from tests.servers import Nats
from tests.unit.operator.effects import document, refusal
from tests.unit.operator.imagined import resource

pytestmark = [pytest.mark.timeout(600), pytest.mark.usefixtures("operator")]

_COUNT = int(os.environ.get("HERALD_SEQUENCES", "3"))
_SEED = int(os.environ.get("HERALD_SEQUENCES_SEED", "1"))
_AT_ONCE = 3  # ways
_SECONDS = 60.0


def _taste(nats: Nats) -> Taste:
    """What a node that only claims to run pods can serve, and soon."""
    mine = {"external": {"url": nats.settings.url, "secretRef": {"name": LOGIN}, "storage": "64Mi"}}
    return Taste(
        {
            "suspend": st.just(False),
            "paused": st.just(False),
            # A pod that only claims to be NATS answers nobody.
            "messaging": st.just({"nats": mine}),
            "inference.model": st.sampled_from(("scripted", "HuggingFaceTB/SmolLM2-135M-Instruct")),
            # No node has such labels, and no cluster such classes.
            "inference.gpu.nodeSelector": GONE,
            "inference.gpu.runtimeClassName": GONE,
            "inference.cache.volume.storageClassName": GONE,
            "inference.cache.accessMode": GONE,
            "database.managed.storage.storageClassName": GONE,
            # Nobody here makes a Cluster work.
            "database.cloudNativePG": GONE,
            "agent.memory.milvus.managed.storage.storageClassName": GONE,
            # A claim is never removed and never grows: a cache that comes back has its old size.
            "inference.cache.volume.size": st.just("1Gi"),
            # Nobody measures CPUs here, so that nobody ever scales down.
            "agent.autoscaling.min": st.just(2),
            "gateway.autoscaling.min": st.just(2),
            "rollout": st.just({"scaleDownDelaySeconds": 1, "drainDeadlineSeconds": 5}),
        },
        plain=True,
        small={"replicas": 2, "max": 3, "count": 2},
    )


def _ways(taste: Taste) -> st.SearchStrategy[list[Value]]:
    @st.composite
    def ways(draw: st.DrawFn) -> list[Value]:
        first = draw(specs(taste).filter(lambda s: refusal(s) is None))
        second = draw(updates(first, taste.without("suspend").without("paused")))
        last = {**draw(updates(second, taste)), "suspend": False, "paused": False}
        return [first, second, draw(st.just(last).filter(lambda s: refusal(s) is None))]

    return ways()


async def test_only_the_last_spec_counts(place: Place) -> None:
    ways = drawn(_ways(_taste(place.nats)), _COUNT, _SEED)
    await _bring(place, [spec for way in ways for spec in way])
    wrong: list[str] = []
    for begin in range(0, _COUNT, _AT_ONCE):
        numbers = range(begin, min(begin + _AT_ONCE, _COUNT))
        found = await asyncio.gather(*(_differences(place, number, ways[number]) for number in numbers))
        wrong += [f"way {number}: {line}" for number, lines in zip(numbers, found, strict=True) for line in lines]
    assert wrong == []


async def _differences(place: Place, number: int, way: list[Value]) -> list[str]:
    """Of a deployment that goes all the way from one that begins at its end."""
    moved, alone = f"way-{number}", f"own-{number}"
    await asyncio.gather(_go(place, moved, way, number), _create(place, alone, way[-1]))
    for name in (moved, alone):
        await _settled(place, name)
    found: list[str] = []

    async def same() -> bool:
        # What controllers have left to do they do after us.
        found[:] = differences(await state(place, moved), await state(place, alone))
        return not found

    with contextlib.suppress(AssertionError):
        await soon(same, what="the same", within=20)
    for name in (moved, alone):
        await place.api.delete("AgentDeployment", place.namespace, name)
    return list(found)


async def _go(place: Place, name: str, way: list[Value], number: int) -> None:
    """A settled; then B is settled, only seen, or not even looked at when C comes."""
    await _create(place, name, way[0])
    await _settled(place, name)
    await _replace(place, name, way[1])
    if number % 3 == 0:
        await _told(place, name, _over)
    elif number % 3 == 1:
        await _told(place, name, _seen)
    await _replace(place, name, way[2])


async def _settled(place: Place, name: str) -> None:
    async def look(place: Place, name: str) -> bool:
        return await place.is_settled(name)

    await _told(place, name, look)


async def _told(place: Place, name: str, look: Callable[[Place, str], Awaitable[bool]]) -> None:
    """Once `look` is true. Raises AssertionError, with what the operator says."""
    try:
        await soon(lambda: look(place, name), what=name, within=_SECONDS)
    except AssertionError as e:
        body = await place.resource(name)
        bad = [c for c in body["status"].get("conditions", ()) if c["status"] != "True"]
        raise AssertionError(f"{e}: {bad} of {body['spec']}, crews {sorted(await place.crews(name))}") from None


async def _seen(place: Place, name: str) -> bool:
    body = await place.resource(name)
    return bool(body["status"].get("observedGeneration") == body["metadata"]["generation"])


async def _over(place: Place, name: str) -> bool:
    phase = (await place.status(name)).get("phase")
    return await _seen(place, name) and (phase in ("Suspended", "Paused", "Invalid") or await place.is_settled(name))


async def _create(place: Place, name: str, spec: Value) -> None:
    await place.create({**document(spec), "metadata": {"name": name}})


async def _replace(place: Place, name: str, spec: Value) -> None:
    """Another spec and nothing of the old one, in one write."""
    live = (await place.resource(name))["spec"]
    await place.api.merge("AgentDeployment", place.namespace, name, {"spec": _patch(live, spec)})


def _patch(live: Object, wanted: Object) -> Object:
    """RFC 7396."""
    made: Object = {key: None for key in live if key not in wanted}
    for key, value in wanted.items():
        was = live.get(key)
        made[key] = _patch(was, value) if isinstance(was, dict) and isinstance(value, dict) else value
    return made


async def _bring(place: Place, wanted: Iterable[Value]) -> None:
    """All that the specs refer to."""
    secrets: dict[str, dict[str, str]] = {}
    texts: dict[str, dict[str, str]] = {}
    for spec in wanted:
        parsed: Any = accepting.parse(resource(document=document(spec)))
        assert isinstance(parsed, AgentDeployment), parsed
        for want in references.wanted(parsed):
            if want.made != "always" and want.name != LOGIN:
                data = {key: base64.b64encode(f"known-{key}".encode()).decode() for key in want.keys}
                secrets.setdefault(want.name, {}).update(data)
        reference = parsed.spec.instructions_from
        if reference is not None:
            texts.setdefault(reference.name, {})[reference.key] = f"From {reference.key} of {reference.name}."
    for name, values in secrets.items():
        await place.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": values})
    for name, entries in texts.items():
        await place.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": entries})
