"""CloudNativePG may be installed later, or be too old: both are said, and noticed when they are mended."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tools.cluster import Cluster

from tests.cluster.operator import clusters, operators
from tests.cluster.operator.api import Api
from tests.cluster.operator.clusters import NAME, of_database, run
from tests.cluster.operator.operators import Operator
from tests.cluster.operator.places import Place

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def operator(fake_cluster: Cluster, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One that asks every two seconds which APIs there are, and at first there is none."""
    with operators.running(tmp_path_factory.mktemp("operator"), kubeconfig, "--resync=2") as made:
        yield made
    clusters.forget(fake_cluster)


@pytest.mark.usefixtures("operator")
async def test_it_is_missed_and_noticed_when_it_comes(fake_cluster: Cluster, place: Place, api: Api) -> None:
    await place.create(place.document(database={"cloudNativePG": {}}))
    said = await place.says("DatabaseReady", "False", "Trouble")
    assert "needs CloudNativePG, which this cluster does not have: install it" in said["message"]
    # All else goes on meanwhile, and nobody migrates what is not there.
    await place.says("GatewayReady", "True")
    assert (await place.conditions())["Ready"]["message"] == said["message"]
    assert not await api.list("Job", place.namespace)
    # An old one does not know what keeps turns in a failover.
    older = yaml.safe_load(yaml.safe_dump(clusters.types()))
    schema = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["postgresql"]["properties"]["synchronous"]["properties"][
        "failoverQuorum"
    ]
    await api.create(older)
    said = await place.says("Ready", "False", "ApplyFailed")
    assert "failoverQuorum: field not declared in schema" in said["message"]
    assert "update what brought it" in said["message"]
    clusters.serve(fake_cluster)
    await place.until(lambda r: "waits for CloudNativePG" in of_database(r), what="it is made, and waited for")
    assert (await place.get("Cluster", NAME))["spec"]["instances"] == 3
    await run(place)
    await place.settled()
