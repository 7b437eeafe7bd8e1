"""The state folder of one cluster: where everything is, what was decided at its start, and who may change it now."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tools.cluster import mounts
from tools.cluster.processes import Processes
from tools.cluster.trouble import Trouble

DEFAULT = Path(".cluster")
RUN = Path("/run/herald-cluster")  # of nodes, which are root's

NodeKind = Literal["none", "fake", "real"]
NODE_KINDS: tuple[NodeKind, ...] = get_args(NodeKind)


@dataclass(frozen=True, slots=True)
class Settings:
    """What was chosen when the cluster was started, and all that is needed to speak to it later.

    `address` is where the API server listens: this machine alone can reach it, and with a real node its pods.
    `binaries` has the folder of each module that was built for it. Ports are TCP.
    """

    node: NodeKind
    address: str
    api_port: int
    etcd_port: int
    peer_port: int
    binaries: dict[str, str]

    def program(self, module: str, name: str = "") -> str:
        """Path of a program of this cluster, from the module that builds it."""
        return f"{self.binaries[module]}/{name or module}"

    @property
    def server(self) -> str:
        return f"https://{self.address}:{self.api_port}"


class Folder:
    """`root` is resolved at once: it names the cluster, whatever the working directory is later."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.pki = self.root / "pki"
        self.logs = self.root / "logs"
        self.records = self.root / "processes"
        self.kubeconfig = self.root / "kubeconfig"
        self.volumes = self.root / "volumes"
        self.node = self.root / "node"
        # Short, since a socket's path has a hundred bytes at most.
        self.run = RUN / self.id
        self.kubelet = self.run / "kubelet"
        self.processes = Processes(self.root, self.records, self.logs)
        self._settings = self.root / "cluster.json"
        self._ready = self.root / "ready"
        self._lock = self.root / "lock"

    @property
    def id(self) -> str:
        """Short name of this cluster on its machine, for what cannot carry a path."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:8]

    def client(self, name: str) -> Path:
        """Kubeconfig of one of the cluster's own components."""
        return self.pki / f"{name}.kubeconfig"

    def settings(self) -> Settings | None:
        """None when nothing was started here, or what is written there is not ours to understand."""
        try:
            return Settings(**json.loads(self._settings.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, settings: Settings) -> None:
        part = self._settings.with_suffix(".part")
        part.write_text(json.dumps(dataclasses.asdict(settings), indent=2) + "\n")
        part.replace(self._settings)

    @property
    def was_ready(self) -> bool:
        """Whether the last start came to its end."""
        return self._ready.exists()

    def mark_ready(self) -> None:
        self._ready.touch()

    @contextlib.contextmanager
    def alone(self) -> Iterator[int]:
        """Nobody else starts or stops anything here meanwhile; gives the open lock, as Processes.start wants it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o755)
            handle = self._lock.open("w")
        except OSError as e:
            raise Trouble(f"{e.filename}: {e.strerror}", "name another folder with --state") from None
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another process is working on {self.root}: waiting for it ...", file=sys.stderr, flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle.fileno()

    def clear(self, *, logs: bool) -> None:
        """Forget everything, once nothing runs or is mounted here. The lock stays: somebody may wait for it."""
        left = mounts.below(self.root)
        if left:
            # To delete what is mounted would be to delete somebody's files.
            raise Trouble(f"still mounted, so nothing was deleted: {left[0]}", "unmount it, then try again")
        for path in self.root.iterdir() if self.root.exists() else ():
            if path == self._lock or (path == self.logs and not logs):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
