"""Starting a cluster as a whole. A start that fails, or is interrupted, leaves nothing behind but logs.

Clusters are thrown away, not stopped: whatever an earlier start left in the state folder is removed before a new one.
"""

from collections.abc import Callable
from pathlib import Path

from herald_cli.ports import Ports
from tools.cluster import binaries, control_plane, teardown
from tools.cluster.cluster import Cluster
from tools.cluster.state import Folder, NodeKind, Settings
from tools.cluster.trouble import Trouble

Say = Callable[[str], None]


def start(state: Path, *, node: NodeKind = "none", say: Say = lambda _: None) -> Cluster:
    """A cluster that is ready, in this state folder; the one that runs there if it is of this kind. Raises Trouble.

    `none` is the control plane alone, `fake` adds a scheduler and kwok (pods that only claim to run), `real` adds
    containerd and kubelet and needs root. The first start on a machine builds what it needs.
    """
    folder = Folder(state)
    kubernetes = binaries.build("kubernetes")
    with folder.alone() as lock:
        running = attach(folder.root)
        if running is not None and running.ready():
            if running.settings.node != node:
                raise Trouble(
                    f"a cluster with --node {running.settings.node} runs from {folder.root}",
                    f"end it first: python -m tools.cluster down --state {folder.root}",
                )
            return running
        if folder.settings() is not None:
            say("cleaning up what an earlier start left ...")
        teardown.end(folder)
        folder.clear(logs=True)
        try:
            return _start(folder, _choose(node, kubernetes), lock, say)
        except BaseException:
            with teardown.undisturbed():
                say("stopping what was started ...")
                teardown.end(folder)
                folder.clear(logs=False)
            raise


def attach(state: Path) -> Cluster | None:
    """The cluster that was started from this folder, well or not; None when there is none."""
    folder = Folder(state)
    settings = folder.settings()
    return Cluster(folder, settings) if settings is not None and folder.was_ready else None


def _choose(node: NodeKind, kubernetes: Path) -> Settings:
    ports = Ports()
    address = control_plane.NODE_ADDRESS if node == "real" else "127.0.0.1"
    return Settings(node, address, ports.pick(), ports.pick(), ports.pick(), str(kubernetes))


def _start(folder: Folder, settings: Settings, lock: int, say: Say) -> Cluster:
    folder.write(settings)
    cluster = Cluster(folder, settings)
    control_plane.prepare(folder, settings)
    programs, processes = cluster.programs, folder.processes
    for name in ("etcd", "kube-apiserver"):
        processes.start(programs[name], lock)
    api = cluster.api
    processes.wait("API server", lambda: control_plane.answers(api), programs)
    say("API server ready")
    for name in programs:
        if name not in ("etcd", "kube-apiserver"):
            processes.start(programs[name], lock)
    processes.wait("controller manager", lambda: control_plane.controls(api), programs)
    say("controllers ready")
    folder.mark_ready()
    return cluster
