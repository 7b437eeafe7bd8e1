"""The cluster that other tests stand on: it does what a Kubernetes does, and leaves nothing behind."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tools.cluster import Cluster, Trouble, attach, leftovers, mounts, network, packages, start, stop
from tools.cluster.images import archive
from tools.cluster.processes import Processes, marked
from tools.cluster.state import RUN, Folder, NodeKind

from tests.cluster import manifests
from tests.cluster.conftest import ROOT, StartCluster, require_built
from tests.debian import missing
from tests.interrupts import hear_ctrl_c
from tests.waiting import eventually_sync


@pytest.fixture
def namespace(kubernetes: Cluster) -> str:
    """One that no other test uses, on the session's control plane."""
    name = f"test-{secrets.token_hex(4)}"
    kubernetes.kubectl("create", "namespace", name)
    return name


def require_node() -> None:
    """Skip, or fail in CI, where no real node can be started."""
    if os.geteuid() != 0:
        missing("a real node needs root")
    if packages.missing():
        missing(f"packages are missing: apt-get install {' '.join(packages.missing())}")
    holder = leftovers.holder()
    if holder is not None:
        missing(f"this machine is already the node of {holder}")
    require_built("real")


def up(state: Path, kind: NodeKind) -> "subprocess.Popen[str]":
    """`python -m tools.cluster up` as a person would type it."""
    command = [sys.executable, "-m", "tools.cluster", "up", "--state", str(state), "--node", kind]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    )


def nothing_is_left(state: Path) -> None:
    folder = Folder(state)
    assert marked(str(folder.root)) == []
    assert mounts.below(folder.root, folder.run) == []
    assert folder.settings() is None
    assert not folder.kubeconfig.exists()
    assert not folder.run.exists()
    if (RUN / "node").exists():
        assert (RUN / "node").read_text() != str(folder.root)
    elif os.geteuid() == 0:
        assert not network.is_up()
        assert not list(Path("/sys/fs/cgroup").glob(f"**/herald-{folder.id}"))


def test_what_is_applied_is_kept(kubernetes: Cluster, namespace: str) -> None:
    kubernetes.kubectl("apply", "-f", "-", stdin=manifests.config_map("note", namespace))
    seen = kubernetes.kubectl("get", "configmap", "note", "-n", namespace, "-o", "jsonpath={.data.word}")
    assert seen == "kept"


def test_a_rule_of_a_custom_resource_is_enforced(kubernetes: Cluster, namespace: str) -> None:
    kubernetes.kubectl("apply", "-f", "-", stdin=manifests.CRD)
    kubernetes.wait_established("kettles.tests.herald.dev")
    kubernetes.kubectl("apply", "-f", "-", stdin=manifests.kettle("good", namespace, filled=2))
    with pytest.raises(Trouble, match="fuller than full"):
        kubernetes.kubectl("apply", "-f", "-", stdin=manifests.kettle("bad", namespace, filled=3))


def test_what_an_object_owns_goes_with_it(kubernetes: Cluster, namespace: str) -> None:
    kubernetes.kubectl("apply", "-f", "-", stdin=manifests.config_map("owner", namespace))
    uid = kubernetes.kubectl("get", "configmap", "owner", "-n", namespace, "-o", "jsonpath={.metadata.uid}")
    owned = manifests.config_map("owned", namespace, owner="owner", uid=uid)
    kubernetes.kubectl("apply", "-f", "-", stdin=owned)
    kubernetes.kubectl("delete", "configmap", "owner", "-n", namespace)
    kubernetes.kubectl("wait", "--for=delete", "configmap/owned", "-n", namespace, "--timeout=60s")


def test_a_restricted_namespace_refuses_a_privileged_pod(kubernetes: Cluster) -> None:
    name = f"test-{secrets.token_hex(4)}"
    kubernetes.kubectl("apply", "-f", "-", stdin=manifests.namespace(name, "restricted"))
    kubernetes.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s")
    kubernetes.kubectl("apply", "-f", "-", stdin=manifests.pod("good", name, restricted=True))
    with pytest.raises(Trouble, match="violates PodSecurity"):
        kubernetes.kubectl("apply", "-f", "-", stdin=manifests.pod("bad", name, restricted=False))


def test_it_can_be_reached_from_this_machine_alone(kubernetes: Cluster) -> None:
    assert kubernetes.server.startswith("https://127.0.0.1:")
    shown = subprocess.run(
        [kubernetes.settings.program("kubernetes", "kubectl"), "config", "current-context"],
        env=kubernetes.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "herald-dev\n"


def test_a_component_is_killed_and_comes_back(start_cluster: StartCluster) -> None:
    cluster = start_cluster("none")
    cluster.kubectl("apply", "-f", "-", stdin=manifests.config_map("note", "default"))
    cluster.kill("kube-apiserver")
    assert cluster.missing() == ["kube-apiserver"]
    assert not cluster.ready()
    cluster.start_again("kube-apiserver")
    assert cluster.ready()
    cluster.restart("etcd")
    assert cluster.kubectl("get", "configmap", "note", "-o", "jsonpath={.data.word}") == "kept"
    with pytest.raises(Trouble, match="no component 'kubelet'"):
        cluster.kill("kubelet")


def test_a_frozen_api_server_answers_nobody_until_it_is_woken(start_cluster: StartCluster) -> None:
    cluster = start_cluster("none")
    cluster.freeze("kube-apiserver")
    with pytest.raises(Trouble):
        cluster.kubectl("get", "namespaces", "--request-timeout=1s")
    cluster.wake("kube-apiserver")
    assert "default" in cluster.kubectl("get", "namespaces")


def test_two_run_side_by_side(kubernetes: Cluster, start_cluster: StartCluster, namespace: str) -> None:
    other = start_cluster("none")
    with pytest.raises(Trouble, match="not found"):
        other.kubectl("get", "namespace", namespace)
    other.stop()
    assert kubernetes.ready()
    nothing_is_left(other.folder.root)


def test_up_twice_is_the_same_cluster(start_cluster: StartCluster) -> None:
    cluster = start_cluster("none")
    before = cluster.processes()
    again = start(cluster.folder.root)
    assert again.processes() == before
    with pytest.raises(Trouble, match="down --state"):
        start(cluster.folder.root, node="fake")


def test_up_after_a_crash_begins_anew(start_cluster: StartCluster) -> None:
    cluster = start_cluster("none")
    cluster.kubectl("apply", "-f", "-", stdin=manifests.config_map("note", "default"))
    cluster.kill("etcd")
    again = start(cluster.folder.root)
    assert again.ready()
    with pytest.raises(Trouble, match="not found"):
        again.kubectl("get", "configmap", "note")


def test_the_commands_say_what_is(tmp_path: Path) -> None:
    require_built("none")

    def cluster(command: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", "tools.cluster", command, "--state", str(tmp_path / "s")]
        return subprocess.run([*line, *(["--node", "none"] if command == "up" else [])],
                              cwd=ROOT, capture_output=True, text=True)  # fmt: skip

    try:
        assert cluster("status").returncode == 1
        started = cluster("up")
        assert started.returncode == 0, started.stderr
        assert started.stdout == f"export KUBECONFIG={tmp_path / 's' / 'kubeconfig'}\n"
        assert "already up" in cluster("up").stderr
        shown = cluster("status")
        assert shown.returncode == 0
        assert "kube-apiserver" in shown.stdout
        Folder(tmp_path / "s").processes.kill(["kube-controller-manager"])
        shown = cluster("status")
        assert shown.returncode == 1
        assert "gone" in shown.stdout
    finally:
        assert cluster("down").returncode == 0
    assert "nothing runs" in cluster("down").stderr
    nothing_is_left(tmp_path / "s")


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("none", "etcd"),
        ("none", "kube-apiserver"),
        ("none", "kube-controller-manager"),
        ("real", "containerd"),
        ("real", "kubelet"),
    ],
)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_start_that_is_cut_off_leaves_nothing(
    tmp_path: Path, kind: NodeKind, moment: str, how: signal.Signals
) -> None:
    if kind == "real":
        require_node()
    require_built(kind)
    state = tmp_path / "state"
    processes: Processes = Folder(state).processes
    with up(state, kind) as starting:
        try:
            eventually_sync(
                lambda: starting.poll() is not None or moment in processes.recorded(),
                within=60,
                what=f"{moment} starts",
            )
            assert starting.poll() is None, starting.communicate()[1]
            starting.send_signal(how)
            said = starting.communicate(timeout=60)[1]
        except BaseException:
            starting.kill()
            raise
        finally:
            if how is signal.SIGKILL or starting.poll() is None:
                assert stop(state)
    assert starting.returncode == (-how if how is signal.SIGKILL else 130), said
    nothing_is_left(state)


def test_a_deleted_state_folder_hides_nobody(start_cluster: StartCluster) -> None:
    cluster = start_cluster("none")
    root = cluster.folder.root
    assert marked(str(root))
    shutil.rmtree(root)
    assert stop(root)
    nothing_is_left(root)


def test_fake_pods_by_the_hundred(start_cluster: StartCluster) -> None:
    cluster = start_cluster("fake")
    cluster.kubectl("create", "deployment", "many", "--image=localhost/nothing:1", "--replicas=100")
    cluster.kubectl("rollout", "status", "deployment/many", "--timeout=90s")


def test_a_real_node_runs_pods(start_cluster: StartCluster, tmp_path: Path) -> None:
    """Volumes, fsGroup, limits, probes, exec, names and services, in a namespace that takes restricted pods only."""
    require_node()
    cluster = start_cluster("real")
    image = "localhost/kubernetes:test"
    program = Path(cluster.settings.program("kubernetes"))
    packed = archive(image, {"/kubernetes": program}, ["/kubernetes"], tmp_path / "image.tar")
    assert cluster.load_image(packed) == [image]
    cluster.kubectl("apply", "-f", "-", stdin=manifests.namespace("shop", "restricted"))
    cluster.kubectl("apply", "-f", "-", stdin=manifests.store("shop", image, replicas=2))
    cluster.kubectl("rollout", "status", "statefulset/store", "-n", "shop", "--timeout=90s")

    # By name, through the service, from inside a pod.
    inside = ("exec", "store-0", "-n", "shop", "--", "/kubernetes", "kubectl")

    def asked() -> str | None:
        # kube-proxy hears of pods that are ready a moment later than everybody else.
        with contextlib.suppress(Trouble):
            return cluster.kubectl(*inside, "get", "--raw", "/health", "--server=http://store.shop.svc")
        return None

    assert '"health":"true"' in eventually_sync(asked, within=30, what="the service answers")
    # The API server, by its own name and with the pod's own account; which may see nothing, and is known by name.
    with pytest.raises(Trouble, match="system:serviceaccount:shop:default"):
        cluster.kubectl(*inside, "get", "nodes", "--cache-dir=/data/cache")

    volumes = list(cluster.folder.volumes.iterdir())
    assert {path.stat().st_gid for path in volumes} == {2000}
    cluster.kubectl("delete", "namespace", "shop", "--timeout=60s")
    eventually_sync(lambda: not list(cluster.folder.volumes.iterdir()) or None, within=60, what="volumes are deleted")

    with pytest.raises(Trouble, match="can only be one"):
        start(tmp_path / "second", node="real")
    nothing_is_left(tmp_path / "second")
    cluster.stop()
    nothing_is_left(cluster.folder.root)


def test_a_node_that_was_killed_hard_is_removed(start_cluster: StartCluster, tmp_path: Path) -> None:
    """Everything that could clean up is dead; containers, mounts and rules are not."""
    require_node()
    cluster = start_cluster("real")
    image = "localhost/pause:1"
    cluster.kubectl("create", "deployment", "idle", f"--image={image}", "--replicas=3")
    cluster.kubectl("rollout", "status", "deployment/idle", "--timeout=90s")
    Folder(cluster.folder.root).processes.kill(cluster.programs)
    assert mounts.below(cluster.folder.root, cluster.folder.run)
    cluster.folder.processes.sweep()
    assert attach(cluster.folder.root) is not None
    # Another folder's node takes the machine over.
    other = start_cluster("real")
    assert other.ready()
    assert mounts.below(cluster.folder.root, cluster.folder.run) == []
