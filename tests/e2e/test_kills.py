"""No accepted message is lost and none is answered twice, whichever pod is killed while people write."""

import asyncio

import pytest

from tests.e2e.site import Site
from tests.e2e.team import Team, team

pytestmark = pytest.mark.timeout(900)
PARTS = ("agent", "gateway", "inference", "nats", "postgres", "milvus")


async def test_every_part_is_killed_under_load(site: Site) -> None:
    """One after the other, without a chance to say goodbye; volumes keep what they held."""
    async with team(site, "kills") as mine:
        site.apply(mine.resource(), namespace=mine.namespace)
        await asyncio.to_thread(mine.wait_ready)
        async with mine.load(conversations=8, pause=0.2) as load:
            for part in PARTS:
                await _answers(load.inbox, 20)
                victim = mine.pods(part)[0]
                await _kill(mine, victim["metadata"]["name"])
                await asyncio.to_thread(_replaced, mine, part, victim["metadata"]["uid"])
                await asyncio.to_thread(mine.wait_ready)
            # And the way to the chat platform, which is no part of Herald: the tests themselves survive that.
            mine.outside.cut()
            await _answers(load.inbox, 20)


async def test_messages_flow_while_no_operator_is_installed(site: Site) -> None:
    """`helm uninstall` takes the operator alone; a later `helm install` finds everything as it was."""
    async with team(site, "alone") as mine:
        site.apply(mine.resource(), namespace=mine.namespace)
        await asyncio.to_thread(mine.wait_ready)
        try:
            await asyncio.to_thread(site.uninstall)
            async with mine.load(conversations=4) as load:
                await _answers(load.inbox, 10)
                # Kubernetes itself puts another worker in its place.
                victim = mine.pods("agent")[0]
                await _kill(mine, victim["metadata"]["name"])
                await asyncio.to_thread(_replaced, mine, "agent", victim["metadata"]["uid"])
                await _answers(load.inbox, 10)
        finally:
            await asyncio.to_thread(site.install)
        before = mine.status()["activeRevision"]
        mine.patch({"instructions": "You answer in verse."})
        await asyncio.to_thread(mine.wait_promoted, before)


async def _kill(mine: Team, pod: str) -> None:
    await asyncio.to_thread(
        mine.site.kubectl, "delete", "pod", pod, "-n", mine.namespace, "--grace-period=0", "--force"
    )


def _replaced(mine: Team, part: str, uid: str) -> None:
    """Until another pod than `uid` is ready in its place."""

    def look() -> bool:
        pods = [p for p in mine.pods(part) if p["metadata"]["uid"] != uid]
        ready = [p for p in pods if any(_is_ready(c) for c in p["status"].get("conditions") or ())]
        return len(ready) >= (2 if part in ("agent", "gateway") else 1)

    mine.site.until(f"another {part} is there", look, seconds=120, namespace=mine.namespace)


def _is_ready(condition: dict[str, str]) -> bool:
    return condition["type"] == "Ready" and condition["status"] == "True"


async def _answers(inbox: "object", more: int) -> None:
    """Until so many more answers have arrived."""
    assert callable(inbox)
    before = len(inbox())
    async with asyncio.timeout(90):
        while len(inbox()) < before + more:
            await asyncio.sleep(0.1)  # the time between two looks
