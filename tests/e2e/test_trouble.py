"""What goes wrong is said, with the next step, and the revision that answers goes on answering."""

import asyncio

import pytest

from tests.e2e.site import Site
from tests.e2e.team import Team, team

pytestmark = pytest.mark.timeout(900)


async def test_what_cannot_start_is_not_promoted(site: Site) -> None:
    """A bad image, a missing Secret, no room for more pods, and a person who goes back."""
    async with team(site, "trouble") as mine:
        site.apply(mine.resource(), namespace=mine.namespace)
        await asyncio.to_thread(mine.wait_ready)
        good = mine.status()["activeRevision"]
        async with mine.load(conversations=4):
            await asyncio.to_thread(_bad_image, mine, good)
            await asyncio.to_thread(_missing_secret, mine)
            await asyncio.to_thread(_no_room, mine, good)
            await asyncio.to_thread(_back, mine, good)


def _bad_image(mine: Team, good: str) -> None:
    image = "localhost/herald/agent:there-is-none"
    mine.patch({"images": {"agent": image}, "rollout": {"progressDeadlineSeconds": 15}})
    mine.site.until(
        "it was given up", lambda: mine.condition("Promoted").get("reason") == "RevisionFailed", seconds=120,
        namespace=mine.namespace,
    )  # fmt: skip
    assert image in mine.condition("Promoted")["message"]
    status = mine.status()
    assert (status["activeRevision"], status["phase"]) == (good, "Degraded")
    assert mine.condition("Ready")["status"] == "True", "the old revision answers"
    mine.patch({"images": {"agent": None}, "rollout": {"progressDeadlineSeconds": 120}})
    mine.site.until(
        "all is well again", lambda: mine.status()["phase"] == "Ready", seconds=120, namespace=mine.namespace
    )


def _missing_secret(mine: Team) -> None:
    other = {"name": "other", "hmac": {"secretRef": {"name": "nobody-wrote-it"}, "replyURL": "https://example.com/"}}
    mine.patch({"channels": [mine.channel(), other]})
    mine.site.until(
        "it is refused", lambda: mine.condition("Accepted").get("reason") == "ReferenceMissing", seconds=60,
        namespace=mine.namespace,
    )  # fmt: skip
    said = mine.condition("Accepted")["message"]
    assert said.startswith("spec.channels[1].hmac.secretRef.name: there is no Secret 'nobody-wrote-it'"), said
    assert "kubectl" in said
    mine.patch({"channels": [mine.channel()]})
    mine.wait_ready()


def _no_room(mine: Team, good: str) -> None:
    """A quota that the pods of a second revision do not fit into."""
    site, namespace = mine.site, mine.namespace
    pods = [p for p in site.get("pods", "-n", namespace)["items"] if p["status"]["phase"] == "Running"]
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "full"},
        "spec": {"hard": {"pods": str(len(pods))}},
    }
    site.apply(quota, namespace=namespace)
    mine.patch({"instructions": "You answer questions in verse."})
    site.until(
        "the quota is named", lambda: "exceeded quota" in mine.condition("Progressing").get("message", ""), seconds=90,
        namespace=namespace,
    )  # fmt: skip
    assert mine.status()["activeRevision"] == good
    site.kubectl("delete", "resourcequota", "full", "-n", namespace)
    mine.wait_promoted(good)


def _back(mine: Team, good: str) -> None:
    """By annotation; the spec stays what it is."""
    verse = mine.status()["activeRevision"]
    mine.site.kubectl("annotate", "agd", mine.name, "-n", mine.namespace, f"herald.dev/rollback-to={good}")
    mine.wait_promoted(verse)
    status = mine.status()
    assert (status["activeRevision"], status["phase"]) == (good, "Degraded")
    body = mine.site.get("agd", mine.name, "-n", mine.namespace)
    assert body["spec"]["instructions"] == "You answer questions in verse."
    assert "herald.dev/rollback-to" not in (body["metadata"].get("annotations") or {})
