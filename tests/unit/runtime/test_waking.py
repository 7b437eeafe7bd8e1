"""The bell: rings are never lost, many are one, and silence ends by itself."""

from herald_runtime.waking import Bell


async def test_a_ring_before_the_wait_counts() -> None:
    bell = Bell(at_least_every=60)
    bell.ring()
    bell.ring()
    assert await bell.wait()


async def test_many_rings_are_one() -> None:
    bell = Bell(at_least_every=0.01)
    bell.ring()
    bell.ring()
    assert await bell.wait()
    assert not await bell.wait()
