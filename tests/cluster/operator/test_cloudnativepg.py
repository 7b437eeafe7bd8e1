"""A database that CloudNativePG runs, with its own types: the API server takes what the operator asks for.

What CloudNativePG does is done by the tests, in its name.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.cluster import Cluster

from tests.cluster.operator import clusters, operators
from tests.cluster.operator.clusters import ASLEEP, LOGIN, NAME, created, log_in, of_database, say
from tests.cluster.operator.operators import Operator
from tests.cluster.operator.places import Place, soon

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("operator")]

_THEN = "2026-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def operator(fake_cluster: Cluster, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One that asks every two seconds what became of Secrets, where CloudNativePG's types are."""
    clusters.serve(fake_cluster)
    with operators.running(tmp_path_factory.mktemp("operator"), kubeconfig, "--resync=2") as made:
        yield made
    clusters.forget(fake_cluster)
    assert made.complaints() == []


async def test_from_the_first_instance_to_answers(place: Place) -> None:
    fields = {"instances": 3, "storage": {"size": "20Gi", "storageClassName": "fast"}}
    await place.create(place.document(database={"cloudNativePG": fields}, images={"pullSecrets": ["registry"]}))
    await soon(lambda: place.find("Cluster", NAME), what="a Cluster")
    made = await place.get("Cluster", NAME)
    assert made["spec"]["storage"]["storageClass"] == "fast"
    assert made["spec"]["postgresql"]["synchronous"]["failoverQuorum"] is True, "its type knows the field"
    await say(place, phase="Setting up primary", phaseReason="Creating primary instance support-postgres-1")
    await place.until(lambda r: "says: Setting up primary (Creating primary instance" in of_database(r))
    await say(place, well=1)
    await place.until(lambda r: "is not ready, CloudNativePG says" in of_database(r), what="one keeps no turn")
    await say(place, well=3)
    await place.until(lambda r: f"waits for the Secret '{LOGIN}'" in of_database(r), what="the login is awaited")
    assert not await place.api.list("Job", place.namespace)
    await log_in(place, "first")
    before = await place.settled()
    assert not await place.api.list("StatefulSet", place.namespace)
    pod = (await place.pods("agent"))[0]
    [volume] = [v for v in pod["spec"]["volumes"] if v["name"] == "postgres"]
    assert volume["secret"]["secretName"] == LOGIN
    assert volume["secret"]["items"] == [{"key": "uri", "path": "dsn"}]
    # A failover and one that is away are said; the login is read, and never written.
    await say(place, well=2, phase="Creating a new replica")
    await place.until(lambda r: "not all 3 instances are ready" in of_database(r))
    assert (await place.conditions())["Ready"]["status"] == "True"
    await say(place, well=3, targetPrimary="pending", phase="Failing over")
    await place.says("DatabaseReady", "False")
    await say(place, well=3)
    crew = {p["metadata"]["uid"] for p in await place.pods("agent")}
    await log_in(place, "second")
    await soon(lambda: _others(place, crew), what="workers with the new login")
    after = await place.settled()
    assert after["status"]["activeRevision"] == before["status"]["activeRevision"]
    managers = {f["manager"] for f in (await place.get("Secret", LOGIN))["metadata"]["managedFields"]}
    assert managers == {"a-person"}


async def test_what_its_webhook_fills_in_stays_and_what_is_ours_is_put_right(place: Place) -> None:
    await created(place, instances=3)
    filled = {
        "imageName": "ghcr.io/cloudnative-pg/postgresql:18",
        "postgresql": {"parameters": {"wal_level": "logical", "jit": "on"}},
        "affinity": {"podAntiAffinityType": "preferred"},
        "monitoring": {"customQueriesConfigMap": [{"name": "cnpg-default-monitoring", "key": "queries"}]},
        "enableSuperuserAccess": True,
        "instances": 1,
    }
    await place.api.merge("Cluster", place.namespace, NAME, {"spec": filled})

    async def right() -> bool:
        spec = (await place.get("Cluster", NAME))["spec"]
        parameters = spec["postgresql"]["parameters"]
        return (spec["instances"], spec["enableSuperuserAccess"], parameters["jit"]) == (3, False, "off")

    await soon(right, what="ours is put right")
    await place.settled()
    spec = (await place.get("Cluster", NAME))["spec"]
    assert spec["postgresql"]["parameters"]["wal_level"] == "logical"
    assert spec["monitoring"]["customQueriesConfigMap"][0]["name"] == "cnpg-default-monitoring"
    assert (spec["imageName"], spec["postgresUID"]) == (filled["imageName"], 26)


async def test_it_grows_and_shrinks_to_one(place: Place) -> None:
    await created(place, instances=1)
    assert "synchronous" not in (await place.get("Cluster", NAME))["spec"]["postgresql"]
    await place.change(database={"cloudNativePG": {"instances": 3, "storage": {"size": "20Gi"}}})

    async def is_(instances: int, synchronous: bool) -> bool:
        spec = (await place.get("Cluster", NAME))["spec"]
        found = (spec["instances"], "synchronous" in spec["postgresql"], spec["storage"]["size"])
        return bool(found == (instances, synchronous, "20Gi"))

    await soon(lambda: is_(3, True), what="three instances, that keep every turn twice")
    await say(place, well=3)
    await place.settled()
    await place.change(database={"cloudNativePG": {"instances": 1}})
    await soon(lambda: is_(1, False), what="one instance, that waits for nobody")


async def test_suspend_hibernates_it(place: Place) -> None:
    await created(place)
    await place.change(suspend=True)
    await soon(lambda: _sleeps(place, True), what="it is asked to sleep")
    assert await place.pods("agent") == [], "who needs it left before"
    asleep = [{"type": ASLEEP, "status": "True", "reason": "Hibernated", "message": "", "lastTransitionTime": _THEN}]
    await say(place, well=0, conditions=asleep)
    await place.change(suspend=False)
    await soon(lambda: _sleeps(place, False), what="it is asked to wake")
    await place.until(lambda r: "is hibernated" in of_database(r))
    await say(place, well=3, conditions=[])
    await place.settled()


async def test_what_is_retained_is_taken_up_again(place: Place) -> None:
    await created(place)
    kept = (await place.get("Cluster", NAME))["metadata"]
    assert "ownerReferences" not in kept
    await place.delete()
    assert (await place.get("Cluster", NAME))["metadata"]["uid"] == kept["uid"]
    assert "deletionTimestamp" not in (await place.get("Cluster", NAME))["metadata"]
    await place.created(database={"cloudNativePG": {}})
    assert (await place.get("Cluster", NAME))["metadata"]["uid"] == kept["uid"]
    # Who wants it gone says so before, and it goes with its owner.
    await place.change(deletionPolicy="Delete")

    async def owned() -> bool:
        return bool((await place.get("Cluster", NAME))["metadata"].get("ownerReferences"))

    await soon(owned, what="it has an owner")
    await place.delete()

    async def gone() -> bool:
        return await place.find("Cluster", NAME) is None

    await soon(gone, what="the Cluster went with the deployment")


async def _others(place: Place, crew: set[str]) -> bool:
    now = {p["metadata"]["uid"] for p in await place.pods("agent")}
    return len(now) == len(crew) and not now & crew


async def _sleeps(place: Place, asleep: bool) -> bool:
    notes = (await place.get("Cluster", NAME))["metadata"].get("annotations") or {}
    return (notes.get(ASLEEP) == "on") is asleep
