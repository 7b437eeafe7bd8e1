"""The programs that can build an image: buildah (no daemon), podman, docker. The first that works is taken.

buildah keeps its layers in a storage of ours, so that they can be thrown away as a whole; the others have their own.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.images import steps
from tools.images.trouble import Trouble

_MOST_LAYERS = 200  # four builds of everything, 8 GB
INSTALL = ("apt-get", "install", "--yes", "--no-install-recommends", "buildah", "mmdebstrap")


@dataclass(frozen=True, slots=True)
class Engine:
    """`command` begins every call."""

    kind: str
    command: tuple[str, ...]

    def build(
        self,
        *,
        name: str,
        dockerfile: Path,
        stage: str,
        context: Path,
        arguments: Mapping[str, str],
        secrets: Mapping[str, Path],
    ) -> float:
        """Build `stage` and name it. Returns seconds. Raises Trouble."""
        own = {
            "buildah": ("bud", "--isolation", "chroot", "--layers", "--force-rm", "--format", "oci"),
            "podman": ("build", "--layers", "--force-rm", "--format", "oci"),
            "docker": ("build",),
        }[self.kind]
        ignored = () if self.kind == "docker" else ("--ignorefile", f"{context / 'images/Dockerfile'}.dockerignore")
        flags = ["--network", "host", "--target", stage, "--tag", name, "--file", str(dockerfile), *ignored]
        for key, value in arguments.items():
            flags += ["--build-arg", f"{key}={value}"]
        for key, file in secrets.items():
            flags += ["--secret", f"id={key},src={file}"]
        return steps.run([*self.command, *own, *flags, str(context)], f"building {stage}", cwd=context)

    def archive(self, name: str, file: Path) -> None:
        """Write the image as an OCI archive that carries its name."""
        command = {
            "buildah": ("push", "--quiet", name, f"oci-archive:{file}:{name}"),
            "podman": ("save", "--quiet", "--format", "oci-archive", "--output", str(file), name),
            "docker": ("save", "--output", str(file), name),
        }[self.kind]
        steps.run([*self.command, *command], f"writing {file.name}")

    def take_root(self, tarball: Path, name: str) -> None:
        """Make an image of a root file system."""
        if self.kind != "buildah":
            steps.run([*self.command, "import", str(tarball), name], f"importing {name}")
            return
        container = steps.output([*self.command, "from", "scratch"])
        try:
            steps.run([*self.command, "add", "--quiet", container, str(tarball), "/"], f"importing {name}")
            steps.run([*self.command, "commit", "--quiet", container, name], f"importing {name}")
        finally:
            steps.output([*self.command, "rm", container])

    def pull(self, name: str) -> str | None:
        """The id of an image from a registry; None where the registry cannot be reached."""
        try:
            subprocess.run([*self.command, "pull", "--quiet", name], check=True, capture_output=True, timeout=120)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            return None
        return self.identity(name)

    def identity(self, name: str) -> str | None:
        """The id of an image that is here; None where it is not."""
        wanted = ["images", "--quiet", "--no-trunc", name]
        try:
            return steps.output([*self.command, *wanted]).split("\n")[0] or None
        except subprocess.CalledProcessError:
            return None

    def forget(self, names: Sequence[str]) -> None:
        """Remove names of images, and what only they needed."""
        for name in names:
            subprocess.run([*self.command, "rmi", name], check=False, capture_output=True)

    def tidy(self) -> None:
        """Throw away the layers between, once there are many: they are a cache, and grow by gigabytes a day."""
        if self.kind != "buildah":
            return  # the others' storage is not ours
        names = steps.output([*self.command, "images", "--all", "--format", "{{.Name}}"]).split("\n")
        if names.count("<none>") > _MOST_LAYERS:
            steps.run([*self.command, "rmi", "--prune"], "throwing away old layers")


def find(cache: Path, *, install: bool = False) -> Engine:
    """The engine of this machine; with `install`, root gets buildah from Debian. Raises Trouble."""
    if install and os.geteuid() == 0 and not (shutil.which("buildah") and shutil.which("mmdebstrap")):
        steps.run(INSTALL, "installing buildah and mmdebstrap")
    if shutil.which("buildah"):
        return Engine("buildah", ("buildah", *_storage(cache)))
    for kind in ("podman", "docker"):
        if shutil.which(kind) and subprocess.run([kind, "info"], check=False, capture_output=True).returncode == 0:
            return Engine(kind, (kind,))
    raise Trouble("nothing here can build an image: no buildah, no podman, no docker with a daemon", " ".join(INSTALL))


def _storage(cache: Path) -> tuple[str, ...]:
    """Where buildah keeps layers (on disk) and what is mounted (gone after a reboot)."""
    root = cache / "storage"
    short = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    volatile = Path(os.environ.get("XDG_RUNTIME_DIR") or ("/run" if os.geteuid() == 0 else "/tmp"))
    return ("--root", str(root), "--runroot", str(volatile / f"herald-images-{short}"))
