"""Removing a node from its machine, whether it ran well a moment ago or was killed half made.

There is one way for both: nothing is asked of containerd or the kubelet, which may be gone. Their processes carry
the cluster's mark, their containers are in its control group, their mounts are below its folders.
"""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path

from tools.cluster import cgroups, mounts, network, packages
from tools.cluster.processes import marked
from tools.cluster.state import RUN, Folder
from tools.cluster.trouble import Trouble

_OWNER = RUN / "node"  # holds the path of the state folder whose node this machine is
_CNI_RESULTS = Path("/var/lib/cni/results")
_LOG_LINKS = Path("/var/log/containers")
# Where every kubelet listens for devices, whatever its root folder is.
_KUBELET_FIXED = Path("/var/lib/kubelet/device-plugins")
_KUBELET_FILES = ("kubelet.sock", "kubelet_internal_checkpoint")


def claim(folder: Folder) -> None:
    """Make this machine's one node ours, after removing what a dead one has left. Raises Trouble when one lives."""
    with _undivided():
        owner = _owner()
        if owner is not None and owner.root != folder.root:
            if marked(str(owner.root)):
                raise Trouble(
                    f"this machine is the node of the cluster in {owner.root}, and can only be one",
                    f"end that first: python -m tools.cluster down --state {owner.root}",
                )
            _remove(owner)
        _OWNER.write_text(str(folder.root))


def holder() -> Path | None:
    """State folder of the cluster whose living node this machine is."""
    owner = _owner()
    return owner.root if owner is not None and marked(str(owner.root)) else None


def remove(folder: Folder) -> None:
    """Nothing of this folder's node is left afterwards; no error when there was none. Its processes are dead by now."""
    if not RUN.exists():
        return
    with _undivided():
        owner = _owner()
        if owner is not None and owner.root == folder.root:
            _remove(folder)


def _remove(folder: Folder) -> None:
    sockets = [path.read_text() for path in folder.run.glob("containerd/io.containerd.runtime.v2.task/*/*/address")]
    cgroups.clear(folder.id)
    mounts.unmount(folder.root, folder.run)
    # A machine without these programs has no rules of ours.
    if not packages.missing():
        network.down()
    for address in sockets:
        # Of containerd's shims, at a place that containerd chooses.
        Path(address.strip().removeprefix("unix://")).unlink(missing_ok=True)
    for path in _CNI_RESULTS.glob("*"):
        # Each names the network namespace that it is about, and ours are in our own folder.
        if str(folder.run) in path.read_text(errors="replace"):
            path.unlink()
    for link in _LOG_LINKS.glob("*.log"):
        if link.is_symlink() and link.readlink().is_relative_to(folder.root):
            link.unlink()
    for name in _KUBELET_FILES:
        (_KUBELET_FIXED / name).unlink(missing_ok=True)
    for path in (_KUBELET_FIXED, _KUBELET_FIXED.parent):
        # Somebody else's as well, or never made.
        with contextlib.suppress(OSError):
            path.rmdir()
    if folder.run.exists():
        shutil.rmtree(folder.run)
    _OWNER.unlink()


def _owner() -> Folder | None:
    with contextlib.suppress(OSError):
        return Folder(Path(_OWNER.read_text()))
    return None


@contextlib.contextmanager
def _undivided() -> Iterator[None]:
    RUN.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (RUN / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
