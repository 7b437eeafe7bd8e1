"""Which programs a cluster consists of, by the kind of its node, and which modules must be built for them."""

from tools.cluster import control_plane, nodes
from tools.cluster.processes import Program
from tools.cluster.state import Folder, NodeKind, Settings

FAKE_NODE = "fake1"
_MODULES: dict[NodeKind, tuple[str, ...]] = {
    "none": ("kubernetes",),
    "fake": ("kubernetes", "kwok"),
    "real": ("kubernetes", "coredns", "pause"),
}


def modules(kind: NodeKind) -> tuple[str, ...]:
    """What must be built."""
    return _MODULES[kind]


def programs(folder: Folder, settings: Settings) -> dict[str, Program]:
    """Name -> program of everything that runs, in the order in which it is started."""
    made = control_plane.programs(folder, settings)
    if settings.node == "fake":
        made.append(_kwok(folder, settings))
    elif settings.node == "real":
        made += nodes.programs(folder, settings)
    return {program.name: program for program in made}


def _kwok(folder: Folder, settings: Settings) -> Program:
    return Program(
        "kwok",
        (
            settings.program("kwok"),
            f"--kubeconfig={folder.client('kwok')}",
            f"--config={settings.program('kwok', 'stages.yaml')}",
            "--manage-all-nodes=true",
            "--node-lease-duration-seconds=40",
            "--server-address=",
        ),
        {"HOME": str(folder.root)},
    )
