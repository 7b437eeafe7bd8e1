"""A real API server for the session. The first start on a machine builds it, which takes minutes."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    # `tools` is run from the repository's root. At the end: nothing there may hide a package of the environment.
    sys.path.append(ROOT)

from kubernetes import config  # noqa: E402
from kubernetes.client import ApiClient  # noqa: E402
from tools.cluster import Cluster, start  # noqa: E402

from tests.cluster.deployments import Deployments  # noqa: E402


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane without a node: everything that the API server decides."""
    cluster = start(tmp_path_factory.mktemp("cluster"), node="none")
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def deployments(control_plane: Cluster) -> Iterator[Deployments]:
    """AgentDeployments of the namespace `default`, with our CRD in place."""
    control_plane.kubectl("apply", "--server-side", "-f", f"{ROOT}/crds")
    control_plane.kubectl("wait", "--for=condition=Established", "crd/agentdeployments.herald.dev", "--timeout=60s")
    client: ApiClient = config.new_client_from_config(str(control_plane.kubeconfig))  # type: ignore[no-untyped-call]
    with client:
        yield Deployments(client)
