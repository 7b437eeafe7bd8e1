"""The lease by the clock: who may write, and when another may take over."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.aio.client.exceptions import ApiException

from herald_operator import lease as leases
from herald_operator.lease import DURATION, Lease, LeaseLost


class Api:
    """One Lease, compared and set as an API server does. `down`: status of every answer, 0 for none."""

    def __init__(self) -> None:
        self.live: dict[str, Any] | None = None
        self.version = 0
        self.down: int | None = None

    def _answer(self) -> Any:
        if self.down == 0:
            raise TimeoutError
        if self.down is not None:
            raise ApiException(status=self.down, reason="down")
        if self.live is None:
            raise ApiException(status=404, reason="Not Found")
        spec = self.live["spec"]
        return SimpleNamespace(
            metadata=SimpleNamespace(resource_version=str(self.version)),
            spec=SimpleNamespace(
                holder_identity=spec["holderIdentity"],
                renew_time=spec["renewTime"],
                lease_duration_seconds=spec["leaseDurationSeconds"],
                lease_transitions=spec["leaseTransitions"],
            ),
        )

    def _write(self, body: dict[str, Any]) -> Any:
        self.version += 1
        self.live = body
        return self._answer()

    async def read_namespaced_lease(self, name: str, namespace: str, **_: Any) -> Any:
        return self._answer()

    async def create_namespaced_lease(self, namespace: str, body: dict[str, Any], **_: Any) -> Any:
        if "resourceVersion" in body["metadata"]:
            raise ApiException(status=400, reason="resourceVersion should not be set")
        return self._write(body)

    async def replace_namespaced_lease(self, name: str, namespace: str, body: dict[str, Any], **_: Any) -> Any:
        self._answer()
        if body["metadata"].get("resourceVersion") != str(self.version):
            raise ApiException(status=409, reason="Conflict")
        return self._write(body)


class World:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        self.api = Api()
        monkeypatch.setattr(leases, "_clock", lambda: self.now)
        monkeypatch.setattr(leases, "CoordinationV1Api", lambda client: self.api)

    def lease(self, holder: str) -> Lease:
        return Lease(None, "team", "herald-operator", holder)  # type: ignore[arg-type]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def may_write(lease: Lease) -> bool:
    try:
        lease.guard()
    except LeaseLost:
        return False
    return True


async def test_nobody_writes_before_the_lease_is_theirs(world: World) -> None:
    one = world.lease("one")
    assert not may_write(one)
    await one.acquire()
    assert may_write(one)


@pytest.mark.parametrize(("seconds", "expected"), [(0, True), (11.9, True), (12.1, False), (15, False), (9_999, False)])
async def test_writing_ends_before_another_may_begin(world: World, seconds: float, expected: bool) -> None:
    """The clock goes on while the process, or the machine, is stopped."""
    one = world.lease("one")
    await one.acquire()
    world.now += seconds
    assert may_write(one) is expected


async def test_another_waits_for_as_long_as_it_has_seen_nothing_change(world: World) -> None:
    one, two = world.lease("one"), world.lease("two")
    await one.acquire()
    world.now += 1_000
    assert not await two._attempt(), "what it has not watched may be fresh: clocks differ"
    world.now += DURATION - 0.1
    assert not await two._attempt()
    world.now += 0.2
    assert await two._attempt()
    assert (may_write(one), may_write(two)) == (False, True)
    assert world.api.live is not None
    assert world.api.live["spec"]["leaseTransitions"] == 1


async def test_a_renewal_begins_the_wait_anew(world: World) -> None:
    one, two = world.lease("one"), world.lease("two")
    await one.acquire()
    for _ in range(10):
        assert not await two._attempt()
        world.now += 8
        assert await one._attempt()
    assert may_write(one)


async def test_at_no_time_two_may_write(world: World) -> None:
    one, two = world.lease("one"), world.lease("two")
    await one.acquire()
    for step in range(200):
        world.now += 0.5
        if step < 40 and step % 8 == 0:
            await one._attempt()
        if step % 8 == 4:
            await two._attempt()
        assert not (may_write(one) and may_write(two))
    assert may_write(two)


async def test_of_two_that_take_it_at_once_one_gets_it(world: World) -> None:
    one, two, three = (world.lease(name) for name in ("one", "two", "three"))
    await one.acquire()
    await two._attempt()
    await three._attempt()
    world.now += DURATION + 1
    assert sorted([await two._attempt(), await three._attempt()]) == [False, True]


@pytest.mark.parametrize("down", [0, 500, 403, 409])
async def test_who_cannot_renew_in_time_has_lost_it(world: World, down: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(seconds: float) -> None:
        world.now += seconds

    one = world.lease("one")
    await one.acquire()
    began = world.now
    monkeypatch.setattr(asyncio, "sleep", sleep)
    world.api.down = down
    with pytest.raises(LeaseLost):
        await one.keep()
    assert world.now - began < DURATION + leases.RENEW
    assert not may_write(one)


async def test_an_answer_that_never_comes_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def sleep(seconds: float) -> None:
        """As long as it takes until a moment before the lease runs out; the rest passes while nobody answers."""
        world.now = one._until - leases._MARGIN + 0.001

    async def silence(name: str, namespace: str, **_: Any) -> Any:
        await asyncio.Event().wait()

    one = world.lease("one")
    await one.acquire()
    world.now += DURATION - leases._MARGIN - 0.05
    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(world.api, "read_namespaced_lease", silence)
    with pytest.raises(LeaseLost):
        await one.keep()


async def test_who_leaves_lets_another_begin_at_once(world: World) -> None:
    one, two = world.lease("one"), world.lease("two")
    await one.acquire()
    await one.release()
    assert not may_write(one)
    assert await two._attempt()


async def test_who_has_lost_it_does_not_release_what_is_anothers(world: World) -> None:
    one, two = world.lease("one"), world.lease("two")
    await one.acquire()
    await two._attempt()
    world.now += DURATION + 1
    assert await two._attempt()
    await one.release()
    assert world.api.live is not None
    assert world.api.live["spec"]["holderIdentity"] == "two"


async def test_a_lease_that_somebody_removed_is_made_anew(world: World) -> None:
    one = world.lease("one")
    await one.acquire()
    assert await one._attempt()
    world.api.live = None
    world.now += 4
    assert await one._attempt()
    assert may_write(one)
