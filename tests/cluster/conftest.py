"""A Kubernetes control plane for the session, and clusters of a test's own for tests that break them."""

import atexit
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    # `tools` is installed nowhere. At the end: nothing of the root may hide a package of the environment.
    sys.path.append(str(ROOT))

from kubernetes import config  # noqa: E402
from kubernetes.client import ApiClient  # noqa: E402
from tools.cluster import Cluster, binaries, plan, start  # noqa: E402
from tools.cluster.state import NodeKind  # noqa: E402

from herald_cli import children  # noqa: E402
from tests.cluster.deployments import Deployments  # noqa: E402

StartCluster = Callable[[NodeKind], Cluster]


@functools.cache
def _guard() -> children.Guard:
    """Ends the clusters of a test process that was itself killed."""
    made = children.Guard()
    atexit.register(made.farewell)
    return made


def require_built(kind: NodeKind) -> None:
    """Building takes minutes and is no test's job."""
    lacking = [module for module in plan.modules(kind) if not binaries.is_built(module)]
    if lacking:
        pytest.fail(f"not built yet: {', '.join(lacking)}. Run `make cluster-build`, once")


def started(folder: Path, kind: NodeKind) -> Cluster:
    """A cluster that ends with the test process, even when that is killed; whoever asks for it stops it before."""
    require_built(kind)
    cluster = start(folder, node=kind)
    for process in cluster.processes().values():
        _guard().watch(process)
    return cluster


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The session's control plane, with no node: never stopped by a test. Use a namespace of your own."""
    cluster = started(tmp_path_factory.mktemp("kubernetes"), "none")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def deployments(kubernetes: Cluster) -> Iterator[Deployments]:
    """AgentDeployments of the namespace `default`, on the session's control plane, with our CRD in place."""
    kubernetes.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    kubernetes.wait_established("agentdeployments.herald.dev")
    client: ApiClient = config.new_client_from_config(str(kubernetes.kubeconfig))  # type: ignore[no-untyped-call]
    with client:
        yield Deployments(client)


@pytest.fixture(scope="module")
def own_kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane for one module's tests, which may change what is the whole cluster's: its CRDs, say."""
    if not binaries.is_built("helm"):
        pytest.fail("not built yet: helm. Run `make cluster-build`, once")
    cluster = started(tmp_path_factory.mktemp("own"), "none")
    yield cluster
    cluster.stop()


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[StartCluster]:
    """Starts a cluster of this test's own, of the kind of node that it is called with."""
    made: list[Cluster] = []

    def begin(kind: NodeKind) -> Cluster:
        made.append(started(tmp_path / f"cluster{len(made)}", kind))
        return made[-1]

    yield begin
    for cluster in made:
        cluster.stop()
