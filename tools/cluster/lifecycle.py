"""Starting a cluster as a whole. A start that fails, or is interrupted, leaves nothing behind but logs.

Clusters are thrown away, not stopped: whatever an earlier start left in the state folder is removed before a new one.
"""

from collections.abc import Callable
from pathlib import Path

from herald_cli.ports import Ports
from tools.cluster import addons, binaries, control_plane, leftovers, network, nodes, packages, plan, teardown
from tools.cluster.api import Object
from tools.cluster.cluster import Cluster
from tools.cluster.state import Folder, NodeKind, Settings
from tools.cluster.trouble import Trouble

Say = Callable[[str], None]


def start(state: Path, *, node: NodeKind = "none", install: bool = False, say: Say = lambda _: None) -> Cluster:
    """A cluster that is ready, in this state folder; the one that runs there if it is of this kind. Raises Trouble.

    `none` is the control plane alone, `fake` adds a scheduler and kwok (pods that only claim to run), `real` adds
    containerd and kubelet; that needs root and Debian packages, which `install` may install. The first start on a
    machine builds what it needs. The cluster outlives this process.
    """
    folder = Folder(state)
    if node == "real":
        packages.require(install=install)
    built = {module: str(binaries.build(module)) for module in plan.modules(node)}
    with folder.alone() as lock:
        running = attach(folder.root)
        if running is not None and not running.missing():
            return _same(running, node)
        if folder.settings() is not None:
            say("cleaning up what an earlier start left ...")
        teardown.end(folder)
        folder.clear(logs=True)
        try:
            return _start(folder, _choose(node, built), lock, say)
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


def _same(running: Cluster, kind: NodeKind) -> Cluster:
    """The cluster that runs, if it is what was asked for; one that is only slow is not thrown away. Raises Trouble."""
    folder, wanted = running.folder, running.settings.node
    down = f"python -m tools.cluster down --state {folder.root}"
    if wanted != kind:
        raise Trouble(f"a cluster with --node {wanted} runs from {folder.root}", f"end it first: {down}")
    api = running.api
    folder.processes.wait("API server", lambda: control_plane.answers(api), running.programs)
    return running


def _choose(kind: NodeKind, built: dict[str, str]) -> Settings:
    ports = Ports()
    address = control_plane.NODE_ADDRESS if kind == "real" else "127.0.0.1"
    return Settings(kind, address, ports.pick(), ports.pick(), ports.pick(), built)


def _start(folder: Folder, settings: Settings, lock: int, say: Say) -> Cluster:
    folder.write(settings)
    cluster = Cluster(folder, settings)
    control_plane.prepare(folder, settings)
    programs, processes = dict(cluster.programs), folder.processes

    def launch(*names: str) -> None:
        for name in names:
            processes.start(programs.pop(name), lock)

    real = settings.node == "real"
    if real:
        leftovers.claim(folder)
        network.up()
        nodes.prepare(folder, settings)
        launch("containerd")
    launch("etcd", "kube-apiserver")
    if real:
        processes.wait("containerd", lambda: nodes.listens(folder), ["containerd"])
        nodes.load_pause(folder)
    api = cluster.api
    processes.wait("API server", lambda: control_plane.answers(api), cluster.programs)
    say("API server ready")
    launch(*programs)
    for wanted in _objects(settings.node):
        api.apply(wanted)
    processes.wait("controller manager", lambda: control_plane.controls(api), cluster.programs)
    say("controllers ready")
    if settings.node != "none":
        name = control_plane.NODE_NAME if real else plan.FAKE_NODE
        processes.wait("node", lambda: control_plane.has_node(api, name), cluster.programs)
        say(f"node {name} ready")
    if real:
        processes.wait("DNS", nodes.resolves, cluster.programs)
        say("DNS ready")
    folder.mark_ready()
    return cluster


def _objects(kind: NodeKind) -> list[Object]:
    if kind == "none":
        return []
    return [addons.storage_class(), *(addons.dns() if kind == "real" else [addons.fake_node(plan.FAKE_NODE)])]
