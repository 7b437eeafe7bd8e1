"""A cluster for the session, an operator for each module, a namespace for each test."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tools.cluster import Cluster

from tests.cluster.conftest import started
from tests.cluster.operator import operators
from tests.cluster.operator.api import Api, administrator
from tests.cluster.operator.operators import Operator
from tests.cluster.operator.places import Place
from tests.cluster.operator.proxy import Proxy, proxy
from tests.servers import Nats

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="session")
def fake_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Control plane, scheduler, and a node whose pods turn Ready by themselves; with the CRD and the chart's rights."""
    cluster = started(tmp_path_factory.mktemp("fake"), "fake")
    try:
        operators.install(cluster)
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def kubeconfig(fake_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the operator's own account."""
    return operators.credentials(fake_cluster, tmp_path_factory.mktemp("account") / "kubeconfig")


@pytest.fixture(scope="module")
def operator(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The one operator while a module's tests run; it serves all namespaces."""
    with operators.running(tmp_path_factory.mktemp("operator"), kubeconfig) as made:
        yield made
    assert made.complaints() == []


@pytest.fixture
async def api(fake_cluster: Cluster) -> AsyncIterator[Api]:
    """As an administrator."""
    async with administrator(fake_cluster) as made:
        yield made


@pytest.fixture
async def proxied(fake_cluster: Cluster, tmp_path: Path) -> AsyncIterator[Proxy]:
    """A way to the API server that counts and breaks what goes through it."""
    async with proxy(fake_cluster, tmp_path) as made:
        yield made


@pytest.fixture
async def place(api: Api, nats: Nats) -> AsyncIterator[Place]:
    """A fresh namespace that takes only pods that Pod Security calls restricted, with the way to NATS in it."""
    namespace = f"test-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": RESTRICTED}}
    await api.create(body)
    made = Place(api, nats, namespace)
    await made.login()
    yield made
    for resource in await api.list("AgentDeployment", namespace):
        # Whoever is still there may have no operator left that would let it go.
        await api.merge("AgentDeployment", namespace, resource["metadata"]["name"], {"metadata": {"finalizers": None}})
    await api.delete("Namespace", "", namespace)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that failed shows what its operators said last."""
    report = yield
    if report is not None and getattr(report, "failed", False):
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, Operator):
                tail = "\n".join(value.said().splitlines()[-60:])
                report.sections.append((f"log of {name}", tail))
    return report
