"""What the README promises: install, apply, wait, ask, change under load, delete."""

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
import yaml

from tests.e2e.site import ROOT, Site
from tests.e2e.team import Team, team

pytestmark = pytest.mark.timeout(900)


async def _ask(asking: Team, text: str, seconds: float = 120) -> str:
    """One signed webhook through the gateway's Service; the reply that the platform gets."""
    async with aiohttp.ClientSession() as http:
        assert await asking.platform.post(http, "question", "alone", text), "accepted"
    await _until(lambda: bool(asking.platform.inbox()), seconds)
    return asking.platform.inbox()[0].text


async def _until(look: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not look():
            await asyncio.sleep(0.2)  # the time between two looks


async def test_from_nothing_to_an_answer_to_a_new_revision_to_nothing(site: Site) -> None:
    async with team(site, "quickstart") as mine:
        manifest = (ROOT / "manifests" / "quickstart.yaml").read_text()
        site.kubectl("apply", "-n", mine.namespace, "-f", "-", stdin=manifest)
        site.kubectl("wait", "agd/quickstart", "-n", mine.namespace, "--for=condition=Ready", "--timeout=300s")
        await asyncio.to_thread(site.say_something)
        spec = yaml.safe_load(manifest)["spec"]
        before = mine.status()["activeRevision"]

        # Another channel is the gateway's business: no new revision. Short answers, because two cores share it all.
        mine.patch({"channels": [*spec["channels"], mine.channel()]})
        site.until("the gateway knows the channel", mine.ready, seconds=120, namespace=mine.namespace)
        await _gateway_rolled(mine)
        assert mine.status()["activeRevision"] == before
        assert await _ask(mine, "Hello"), "the model said something"

        mine.patch({"inference": {"maxTokens": 16}})
        before = await asyncio.to_thread(mine.wait_promoted, before, 300)
        # A small model on two cores that are shared with everything else: two people who do not hurry.
        async with mine.load(conversations=2, pause=4) as load:
            await _until(lambda: len(load.inbox()) >= 2, 120)
            mine.patch({"instructions": "You answer in capital letters."})
            after = await asyncio.to_thread(mine.wait_promoted, before, 300)
            count = len(load.inbox())
            await _until(lambda: len(load.inbox()) >= count + 4, 120)
        assert after != before
        history = {h["revision"]: h["outcome"] for h in mine.status()["history"]}
        assert after in history
        assert before in history

        claims = {c["metadata"]["name"] for c in site.get("pvc", "-n", mine.namespace)["items"]}
        await asyncio.to_thread(site.kubectl, "delete", "agd", "quickstart", "-n", mine.namespace, "--timeout=180s")
        await asyncio.to_thread(site.until, "everything is gone", lambda: not _left(mine), seconds=120)
        kept = {c["metadata"]["name"] for c in site.get("pvc", "-n", mine.namespace)["items"]}
        assert kept == claims, "the volumes stay, as deletionPolicy Retain says"


def _left(mine: Team) -> list[str]:
    """What still belongs to the deployment, but for what it promised to keep."""
    kinds = (
        "deployments,statefulsets,replicasets,jobs,pods,services,configmaps,secrets,serviceaccounts,"
        "networkpolicies,poddisruptionbudgets,controllerrevisions,horizontalpodautoscalers,ingresses"
    )
    items = mine.site.get(kinds, "-n", mine.namespace, "-l", f"herald.dev/deployment={mine.name}")["items"]
    names = [f"{i['kind']}/{i['metadata']['name']}" for i in items]
    # Whoever keeps the data keeps the password that opens it.
    return [n for n in names if n != f"Secret/{mine.name}-postgres"]


async def _gateway_rolled(mine: Team) -> None:
    await asyncio.to_thread(
        mine.site.kubectl,
        "rollout", "status", f"deployment/{mine.name}-gateway", "-n", mine.namespace, "--timeout=120s",
    )  # fmt: skip

    def alone() -> bool:
        return not any(pod["metadata"].get("deletionTimestamp") for pod in mine.pods("gateway"))

    # Until the old ones are gone, a Service may still send somebody there.
    await asyncio.to_thread(mine.site.until, "the old gateways are gone", alone, seconds=120)
