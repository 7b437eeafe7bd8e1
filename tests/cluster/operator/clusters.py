"""What CloudNativePG does with a Cluster, done in its name: it does not run where no container starts."""

import base64
from typing import Any

import pytest
import yaml
from tools.cluster import Cluster, binaries

from tests.cluster.operator.api import Object
from tests.cluster.operator.places import Place, conditions_of, soon
from tests.waiting import eventually_sync

NAME, LOGIN = "support-postgres", "support-postgres-app"
CRD = "clusters.postgresql.cnpg.io"
ASLEEP = "cnpg.io/hibernation"


def types() -> Object:
    """The CRD of a Cluster, as CloudNativePG ships it."""
    if not binaries.is_built("cnpg"):
        pytest.fail("not built yet: cnpg. Run `make cluster-build`, once")
    shipped = binaries.build("cnpg") / "types.yaml"
    found: Object = next(d for d in yaml.safe_load_all(shipped.read_text()) if d and d["metadata"]["name"] == CRD)
    return found


def serve(cluster: Cluster) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump(types()))
    served = "/apis/postgresql.cnpg.io/v1/clusters"
    eventually_sync(lambda: cluster.api.get(served), within=60, what=f"the API server serves {served}")


def forget(cluster: Cluster) -> None:
    """Once no operator looks any more: kopf ends where a type goes while it is watched, and begins anew."""
    cluster.kubectl("delete", "crd", CRD, "--ignore-not-found", "--timeout=60s")


async def created(place: Place, **fields: Any) -> Object:
    """One with such a database, once it answers."""
    await place.create(place.document(database={"cloudNativePG": fields}))
    await run(place)
    return await place.settled()


async def run(place: Place) -> None:
    """What CloudNativePG does with a Cluster that it finds."""
    await soon(lambda: place.find("Cluster", NAME), what="a Cluster")
    await say(place, well=(await place.get("Cluster", NAME))["spec"]["instances"])
    await log_in(place, "a-password")


async def say(place: Place, *, well: int = 0, **fields: Any) -> None:
    """In the Cluster's status; `well` instances are healthy, the first of them the primary."""
    names = [f"{NAME}-{number}" for number in range(1, well + 1)]
    status: Object = {"phase": "Cluster in healthy state", "phaseReason": "", "readyInstances": well}
    status |= {"instancesStatus": {"healthy": names}, "currentPrimary": f"{NAME}-1", "targetPrimary": f"{NAME}-1"}
    await place.api.merge("Cluster", place.namespace, NAME, {"status": status | fields}, "status")


async def log_in(place: Place, password: str) -> None:
    uri = f"postgresql://herald:{password}@{NAME}-rw.{place.namespace}:5432/herald"
    data = {"uri": uri, "username": "herald", "password": password}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": LOGIN}, "data": encoded}
    await place.put(body)


def of_database(body: Object) -> str:
    parts = (body.get("status") or {}).get("components") or ()
    said = [str(part.get("message", "")) for part in parts if part["name"] == "postgres"]
    assert "DatabaseReady" in conditions_of(body) or not said
    return said[0] if said else ""
