"""One cluster, one Argo CD, one git repository and one operator for all tests here: they are about how it goes on."""

import base64
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tools.cluster import Cluster

from tests.cluster.argocd import servers
from tests.cluster.argocd.applications import Applications, Diary
from tests.cluster.argocd.repository import HOOKS, LOGIN, Repository
from tests.cluster.conftest import started
from tests.cluster.operator import operators
from tests.cluster.operator.api import Api, Object, administrator
from tests.cluster.operator.places import Place
from tests.servers import Nats, Server

NAMESPACES = ("agents", "agents-asked", "agents-merged")
EVERYTHING = ("herald-all", "herald-crds", "herald", *NAMESPACES)  # Applications; each team has a namespace of its name
_WAYS: dict[str, dict[str, Any]] = {
    # Argo CD asks the API server what an apply would change, ...
    "agents-asked": {"annotations": {"argocd.argoproj.io/compare-options": "ServerSideDiff=true"}},
    # ... or it merges three ways by itself, as with `kubectl apply` of old. The file that ships does neither.
    "agents-merged": {"options": ["CreateNamespace=true"]},
}


@dataclass(slots=True)
class Delivered:
    """Herald as Argo CD brought it. `diary` tells of the delivery; `namespaces`, by Application, hold a team each."""

    repository: Repository
    applications: Applications
    diary: Diary
    places: dict[str, Place]
    argocd: list[Server]

    @property
    def agents(self) -> Place:
        """Of the Application that ships."""
        return self.places["agents"]


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Of its own: Argo CD brings the CRD and the chart. Its node only claims to run pods."""
    servers.require()
    made = started(tmp_path_factory.mktemp("argocd-cluster"), "fake")
    yield made
    made.stop()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def api(cluster: Cluster) -> AsyncIterator[Api]:
    """As an administrator."""
    async with administrator(cluster) as made:
        yield made


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def delivered(
    cluster: Cluster, api: Api, nats: Nats, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Delivered]:
    """Argo CD was given one file, manifests/argocd/herald.yaml, and everything is healthy."""
    folder = tmp_path_factory.mktemp("argocd")
    repository = _repository(folder / "git", nats)
    places = {name: await _place(api, nats, name) for name in NAMESPACES}
    async with contextlib.AsyncExitStack() as stack:
        argocd = stack.enter_context(servers.running(cluster, folder))
        applications = Applications(api)
        async with applications.followed() as diary:
            cluster.kubectl("apply", "-f", str(repository.folder / "manifests" / "argocd" / "herald.yaml"))
            # The chart's own pods only claim to run: the operator is a process here, with the chart's account.
            await applications.becomes("herald", "Healthy")
            kubeconfig = operators.credentials(cluster, folder / "kubeconfig")
            operator = operators.Operator(_made(folder / "operator"), kubeconfig)
            stack.callback(operator.stop)
            operator.start()
            for name in NAMESPACES:
                await applications.becomes(name, "Healthy")
            await applications.becomes("herald-all", "Healthy")
        yield Delivered(repository, applications, diary, places, argocd)
    assert operator.complaints() == []


def _repository(folder: Path, nats: Nats) -> Repository:
    """Ours, and three teams: the same, under Argo CD's three ways to find out what differs."""
    repository = Repository(folder)
    repository.team("teams/agents", nats)
    repository.application("3-agents.yaml", path="teams/agents")
    for name, changes in _WAYS.items():
        repository.team(f"teams/{name}", nats)
        repository.application(f"4-{name}.yaml", path=f"teams/{name}", name=name, namespace=name, **changes)
    repository.commit("Three teams")
    return repository


async def _place(api: Api, nats: Nats, namespace: str) -> Place:
    """A namespace with what is not in git: the Secrets."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    place = Place(api, nats, namespace)
    user, password = nats.url.removeprefix("nats://").partition("@")[0].split(":")
    await api.create(_secret(namespace, LOGIN, user=user, password=password))
    await api.create(_secret(namespace, HOOKS, secret=secrets.token_hex(32)))
    return place


def _secret(namespace: str, name: str, **values: str) -> Object:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
