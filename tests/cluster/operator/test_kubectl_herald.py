"""`kubectl herald` against a real API server and operator; the pods only claim to run."""

from pathlib import Path

import pytest
from tools.cluster import Cluster

from tests.cluster.operator.places import Place, soon
from tests.plugin import Plugin

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("operator")]


@pytest.fixture
def herald(fake_cluster: Cluster, place: Place) -> Plugin:
    """As an administrator, in the test's namespace."""
    kubectl = Path(fake_cluster.settings.program("kubernetes", "kubectl"))
    return Plugin(fake_cluster.kubeconfig, place.namespace, kubectl.parent)


async def test_a_rollout_is_seen_and_steered_by_hand(place: Place, herald: Plugin) -> None:
    nothing = await herald("status")
    assert nothing.code == 1
    assert "there is no AgentDeployment in namespace" in nothing.err

    before = await place.created(rollout__autoPromote=False)
    old = before["status"]["activeRevision"]
    seen = await herald("status", "--json")
    assert (seen.code, seen.json["ready"], seen.json["active"]) == (0, True, old)
    shown = await herald("status", "support")
    assert "✓ every condition is good" in shown.out
    refused = await herald("rollout", "promote")
    assert (refused.code, refused.err) == (
        1,
        "herald: there is no candidate to promote: the newest one answers already\n",
    )

    await place.change(instructions="Other.")
    new = await place.wanted()
    await place.says("Progressing", "False", "WaitingForPromotion")
    waiting = await herald("rollout", "status", "--json")
    assert (waiting.code, waiting.json["state"], waiting.json["candidate"]) == (75, "waiting", new)

    assert (await herald("rollout", "abort")).code == 0
    await place.says("Promoted", "False", "RevisionFailed")
    failed = await herald("rollout", "status", "--watch")
    assert (failed.code, "aborted by hand" in failed.out) == (1, True)
    assert (await herald("rollout", "retry")).code == 0
    await place.says("Progressing", "False", "WaitingForPromotion")
    promoted = await herald("rollout", "promote")
    assert "kubectl herald rollout status --watch -n" in promoted.out
    done = await herald("rollout", "status", "--watch")
    assert (done.code, f"{new} answers" in done.out) == (0, True)
    await place.settled()

    back = await herald("rollout", "undo")
    assert (back.code, f"going back to {old}" in back.out) == (0, True)
    done = await herald("rollout", "status", "--watch", "--json")
    assert done.code == 0, "gone back to by hand is no failure"
    history = await herald("rollout", "history", "--json")
    assert history.json["active"] == old
    assert {entry["revision"] for entry in history.json["history"]} == {old, new}
    notes = (await place.resource())["metadata"].get("annotations", {})
    assert not [name for name in notes if name.startswith("herald.dev/")], "each was consumed"
    assert (await place.resource())["spec"]["instructions"] == "Other.", "the spec is never written"


async def test_a_restart_replaces_pods_and_makes_no_revision(place: Place, herald: Plugin) -> None:
    before = await place.created()
    pods = {p["metadata"]["uid"] for p in await place.pods("gateway")}
    assert (await herald("rollout", "restart")).code == 0
    await place.until(lambda r: r["status"]["phase"] == "Ready", what="ready again")

    async def replaced() -> bool:
        return pods.isdisjoint({p["metadata"]["uid"] for p in await place.pods("gateway")})

    await soon(replaced, what="other pods")
    assert (await place.status())["activeRevision"] == before["status"]["activeRevision"]


async def test_several_are_a_table_and_one_has_to_be_named(place: Place, herald: Plugin) -> None:
    await place.created()
    await place.create(place.document("second"))
    table = await herald("status")
    assert [line.split()[1] for line in table.out.splitlines()[1:] if not line.startswith("  ")] == [
        "second",
        "support",
    ]
    unnamed = await herald("rollout", "history")
    assert unnamed.code == 1
    assert "name one of them\n  there is: second, support" in unnamed.err
    assert (await herald("rollout", "history", "support")).code == 0


async def test_the_doctor_says_what_works_and_what_to_type_where_it_does_not(place: Place, herald: Plugin) -> None:
    await place.created()
    found = await herald("doctor", "--json")
    checks = {check["check"]: check for check in found.json["checks"]}
    good = ("api server", "kind", "operator", "your rights", "deployment", "pods", "volumes", "secrets")
    assert {name: checks[name]["verdict"] for name in good} == dict.fromkeys(good, "ok"), found.out
    # Nobody is behind these pods.
    assert found.code == 1
    assert checks["gateway"]["verdict"] == "failed"
    assert "kubectl herald logs gateway" in checks["gateway"]["next"]
    assert checks["database"]["verdict"] == "failed"
    assert (await herald("ledger")).code in (1, 75)


async def test_a_secret_that_is_gone_is_named_with_the_command_that_makes_it(place: Place, herald: Plugin) -> None:
    hooks = {"name": "hooks", "hmac": {"secretRef": {"name": "absent"}, "replyURL": "https://example.com/"}}
    await place.create(place.document(channels=[hooks]))
    await place.says("Accepted", "False", "ReferenceMissing")
    shown = await herald("status")
    assert shown.code == 1
    assert "there is no Secret 'absent'" in shown.out
    checks = {check["check"]: check for check in (await herald("doctor", "--json")).json["checks"]}
    assert checks["secrets"]["verdict"] == "failed"
    assert "create secret generic absent --from-file=secret=FILE" in checks["secrets"]["next"]
