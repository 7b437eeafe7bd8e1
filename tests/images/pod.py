"""Run an image's process as a restricted pod would, without Kubernetes: runc, a network of its own, a read-only root.

What a test asks of it is asked from inside its network, so that ports are the real ones and no two tests meet.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.images.unpacked import Unpacked

_SECONDS = 90
# What containerd hides of /proc and /sys from every pod.
_MASKED = ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"]


@dataclass(frozen=True, slots=True)
class Pod:
    """A running container. `log` is its standard output and error."""

    id: str
    folder: Path
    pid: int
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def outside(self, *command: str, check: bool = True) -> str:
        """Run a program of this machine in the pod's network, as its neighbours in a cluster are."""
        done = subprocess.run(
            ["nsenter", "--target", str(self.pid), "--net", "--", *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.stdout}{done.stderr}\n{self.log}")
        return done.stdout

    def inside(self, *command: str) -> str:
        """Run a program of the image in the pod, as an exec probe does."""
        done = subprocess.run(
            ["runc", "exec", self.id, *command], check=False, capture_output=True, text=True, timeout=_SECONDS
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}\n{self.log}"
        return done.stdout

    def answers(self, port: int, path: str, seconds: float = _SECONDS) -> str:
        """What `GET path` gets once it is a 200."""
        deadline = time.monotonic() + seconds
        url = f"http://127.0.0.1:{port}{path}"
        while True:
            with contextlib.suppress(AssertionError):
                return self.outside("curl", "--silent", "--fail", "--max-time", "5", url)
            self.must_run()
            assert time.monotonic() < deadline, f"no 200 from {url}\n{self.log}"
            time.sleep(0.2)

    def until(self, text: str, seconds: float = _SECONDS) -> None:
        """Wait for a text in its log."""
        deadline = time.monotonic() + seconds
        while text not in self.log:
            self.must_run()
            assert time.monotonic() < deadline, f"never said {text!r}\n{self.log}"
            time.sleep(0.1)

    def must_run(self) -> None:
        assert self.process.poll() is None, f"ended with {self.process.returncode}\n{self.log}"

    def ended(self, seconds: float = _SECONDS) -> int:
        """The exit status of what ends by itself."""
        return self.process.wait(timeout=seconds)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 30) -> int:
        """Signal its first process, as kubelet does, and wait for its exit status."""
        subprocess.run(["runc", "kill", self.id, str(int(number))], check=True, capture_output=True)
        return self.process.wait(timeout=seconds)


@contextlib.contextmanager
def pod(
    image: Unpacked,
    *,
    command: Sequence[str] = (),
    arguments: Sequence[str] | None = None,
    user: int = 65532,
    environment: Mapping[str, str] | None = None,
    empty: Sequence[str] = ("/tmp",),
    mounts: Mapping[str, Path] | None = None,
    beside: Pod | None = None,
    capabilities: Sequence[str] = (),
) -> Iterator[Pod]:
    """Start the image with a pod's `command` and `args`; `empty` are its emptyDirs, `mounts` its other volumes.

    `beside` is one whose network it shares, as containers of one pod do.
    """
    entrypoint = list(command or image.config.get("Entrypoint") or ())
    default = () if command else image.config.get("Cmd") or ()
    process = {
        "user": {"uid": user, "gid": user},
        "args": [*entrypoint, *(default if arguments is None else arguments)],
        "env": [f"{k}={v}" for k, v in {**image.environment, **(environment or {})}.items()],
        "cwd": image.config.get("WorkingDir") or "/",
        "noNewPrivileges": True,
        "capabilities": {kind: list(capabilities) for kind in ("bounding", "effective", "permitted")},
    }
    with tempfile.TemporaryDirectory(prefix="herald-pod-") as made:
        folder = Path(made)
        binds = {path: folder / f"empty{number}" for number, path in enumerate(empty)}
        for place in binds.values():
            place.mkdir()
            os.chown(place, user, user)
            place.chmod(0o777)
        network = {"type": "network", **({"path": f"/proc/{beside.pid}/ns/net"} if beside else {})}
        specification = _specification(image.root, process, {**binds, **(mounts or {})}, network)
        (folder / "config.json").write_text(json.dumps(specification))
        name = f"herald-test-{secrets.token_hex(4)}"
        with (folder / "log").open("wb") as log:
            run = ["runc", "run", "--bundle", made, "--pid-file", str(folder / "pid"), name]
            child = subprocess.Popen(run, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield Pod(name, folder, _started(folder, child), child)
        finally:
            subprocess.run(["runc", "delete", "--force", name], check=False, capture_output=True)
            child.wait(timeout=30)


def _started(folder: Path, child: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 30
    while True:
        text = (folder / "pid").read_text() if (folder / "pid").exists() else ""
        if text:
            return int(text)
        assert child.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _specification(
    root: Path, process: Mapping[str, object], binds: Mapping[str, Path], network: Mapping[str, str]
) -> Mapping[str, object]:
    mounts: list[dict[str, object]] = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
    ]
    if "/dev/shm" not in binds:
        options = ["nosuid", "nodev", "mode=1777", "size=64m"]
        mounts.append({"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": options})
    for destination, source in binds.items():
        mounts.append({"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", "rw"]})
    return {
        "ociVersion": "1.0.2",
        "root": {"path": str(root), "readonly": True},
        "process": process,
        "mounts": mounts,
        "linux": {
            "namespaces": [network, *({"type": kind} for kind in ("pid", "ipc", "uts", "mount"))],
            "maskedPaths": _MASKED,
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }
