"""Every program of the cluster, built from Go modules once and kept outside the repository.

A build is named by what went into it (sources, go.mod, go.sum, flags, Go's version), so the cache is never wrong
and never cleared by hand: a change builds anew, going back finds the old one. Two builds at once share the work.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.cluster import golang
from tools.cluster.trouble import Trouble

_SOURCES = Path(__file__).parent
_NEWS_EVERY = 15.0  # seconds between two signs of life


@dataclass(frozen=True, slots=True)
class Module:
    """One Go module of ours: `package` in the folder `name` gives one binary, known by each of `programs`.

    Without programs nothing is compiled: it is there for what it `keeps`.
    """

    name: str
    programs: tuple[str, ...]
    package: str = "."
    version_of: str = ""  # the required module whose version the binary reports ...
    version_in: tuple[str, ...] = ()  # ... and the variables that hold it
    takes: str = "about a minute"
    keeps: tuple[str, ...] = ()  # manifests that this module ships, as patterns of their paths ...
    kept_as: str = ""  # ... and the file beside the programs that has them all

    @property
    def folder(self) -> Path:
        return _SOURCES / self.name

    def version(self) -> str:
        """Version of what is built here, from go.mod: it stands nowhere else. Empty for a program of our own."""
        if not self.version_of:
            return ""
        found = re.search(rf"^(?:require)?\s+{re.escape(self.version_of)} (v\S+)", self._go_mod(), re.MULTILINE)
        if found is None:
            raise Trouble(f"{self.folder / 'go.mod'} does not require {self.version_of}")
        return found[1]

    def linker_flags(self) -> str:
        """Without symbols, and told its version: a server that says v0.0.0 breaks clients that look."""
        version = self.version()
        flags = ["-s", "-w", *(f"-X {variable}={version}" for variable in self.version_in)]
        if self.name == "kubernetes":
            major, minor, _ = version.removeprefix("v").split(".", 2)
            flags += [f"-X {_KUBERNETES_VERSION}.gitMajor={major}", f"-X {_KUBERNETES_VERSION}.gitMinor={minor}"]
        return " ".join(flags)

    def key(self, go_version: str) -> str:
        """Name of what would be built now."""
        digest = hashlib.sha256(f"{go_version}\0{self.package}\0{self.linker_flags()}\0{os.uname().machine}".encode())
        digest.update("\0".join((*self.keeps, self.kept_as)).encode())
        for path in sorted(self.folder.iterdir()):
            if path.name in ("go.mod", "go.sum") or path.suffix == ".go":
                digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
        return digest.hexdigest()[:16]

    def _go_mod(self) -> str:
        return (self.folder / "go.mod").read_text()


_KUBERNETES_VERSION = "k8s.io/component-base/version"
_STAGES = ("node/fast", "node/heartbeat-with-lease", "pod/fast")
_SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
MODULES = {
    module.name: module
    for module in (
        Module(
            "kubernetes",
            (*_SERVERS, "kubectl", "provisioner"),
            version_of="k8s.io/kubernetes",
            version_in=(f"{_KUBERNETES_VERSION}.gitVersion",),
            takes="about 5 minutes on two cores",
        ),
        Module("coredns", ("coredns",), version_of="github.com/coredns/coredns"),
        Module("pause", ("pause",), takes="a moment"),
        Module(
            "kwok",
            ("kwok",),
            package="sigs.k8s.io/kwok/cmd/kwok",
            version_of="sigs.k8s.io/kwok",
            takes="about 2 minutes",
            keeps=tuple(f"kustomize/stage/{folder}/*.yaml" for folder in _STAGES),
            kept_as="stages.yaml",
        ),
        Module(
            "helm",
            ("helm",),
            package="helm.sh/helm/v4/cmd/helm",
            version_of="helm.sh/helm/v4",
            version_in=("helm.sh/helm/v4/internal/version.version",),
            takes="about 2 minutes",
        ),
        Module(
            "argocd",
            ("argocd",),
            package="github.com/argoproj/argo-cd/v3/cmd",
            version_of="github.com/argoproj/argo-cd/v3",
            takes="about 5 minutes on two cores",
            keeps=("manifests/crds/*-crd.yaml", "manifests/base/config/*.yaml"),
            kept_as="configuration.yaml",
        ),
        Module(
            "cnpg",
            (),
            version_of="github.com/cloudnative-pg/cloudnative-pg",
            takes="seconds",
            keeps=("config/crd/bases/*.yaml",),
            kept_as="types.yaml",
        ),
    )
}


def cache() -> Path:
    """Where builds are kept: XDG's cache folder, so that a fresh checkout finds them again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "herald" / "cluster"


def build(name: str) -> Path:
    """Folder with the programs of module `name`, built if this is the first time. Raises Trouble."""
    module, home = MODULES[name], cache()
    home.mkdir(parents=True, exist_ok=True)
    go = golang.find(home)
    done = home / f"{name}-{module.key(go.version)}"
    if not done.exists():
        with _alone(home / f"{name}.lock", name):
            if not done.exists():
                _compile(module, go, done)
    return done


def is_built(name: str) -> bool:
    """Whether `build` would have nothing to do."""
    go = golang.here(cache())
    return go is not None and (cache() / f"{name}-{MODULES[name].key(go.version)}").exists()


def program(name: str) -> Path:
    """One program by its usual name, such as `kubectl` or `helm`; built if need be. Raises Trouble."""
    module = next((m for m in MODULES.values() if name in m.programs), None)
    if module is None:
        raise Trouble(
            f"no program {name!r} here", f"there is: {', '.join(p for m in MODULES.values() for p in m.programs)}"
        )
    return build(module.name) / name


@contextlib.contextmanager
def _alone(lock: Path, name: str) -> Iterator[None]:
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{name} is being built by another process: waiting for it ...", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _compile(module: Module, go: golang.Go, done: Path) -> None:
    """Build beside `done` and move it there as a whole: a build that was cut off is never taken for a good one."""
    part = done.with_name(f"{done.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    what = f"{module.name} {module.version()}".strip()
    print(f"building {what} (once; it takes {module.takes}) ...", file=sys.stderr, flush=True)
    if module.programs:
        binary = part / module.name
        _go(go, module, ["build", "-v", "-mod=readonly", "-trimpath", "-buildvcs=false"], binary)
        for name in module.programs:
            if name != binary.name:
                (part / name).symlink_to(binary.name)
    if module.keeps:
        _keep_manifests(go, module, part / module.kept_as)
    part.rename(done)


def _go(go: golang.Go, module: Module, command: list[str], binary: Path) -> None:
    began = time.monotonic()
    # A group of its own, so that Ctrl-C can end the compilers with the command that started them.
    building = subprocess.Popen(
        [go.path, *command, "-ldflags", module.linker_flags(), "-o", binary, module.package],
        cwd=module.folder,
        env=go.environment(os.environ),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert building.stderr is not None
    packages, told, said = 0, began, []
    try:
        for line in building.stderr:
            # -v names each package as it is compiled, one word a line; the rest is what Go has to say.
            if " " in line.strip():
                said.append(line)
                continue
            packages += 1
            if time.monotonic() - told > _NEWS_EVERY:
                told = time.monotonic()
                print(f"  {packages} packages, {told - began:.0f} s ...", file=sys.stderr, flush=True)
        failed = building.wait() != 0
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(building.pid, signal.SIGKILL)
        building.wait()
        raise
    finally:
        building.stderr.close()
    if failed:
        raise Trouble(
            f"{module.name} could not be built:\n{''.join(said[-20:]).rstrip()}",
            f"see for yourself: cd {module.folder} && CGO_ENABLED=0 go build -o /dev/null {module.package}",
        )
    print(f"built {module.name} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def _keep_manifests(go: golang.Go, module: Module, target: Path) -> None:
    """What kwok's pods do, Argo CD's types and settings, CloudNativePG's types: their modules' own files, kept here."""
    fetched = subprocess.run(
        [go.path, "mod", "download", "-json", module.version_of],
        cwd=module.folder,
        env=go.environment(os.environ),
        capture_output=True,
        text=True,
    )
    if fetched.returncode != 0:
        raise Trouble(
            f"{module.version_of} could not be fetched:\n{(fetched.stderr or fetched.stdout).rstrip()[-2_000:]}"
        )
    shipped = Path(json.loads(fetched.stdout)["Dir"])
    texts = []
    for pattern in module.keeps:
        files = [path for path in sorted(shipped.glob(pattern)) if path.name != "kustomization.yaml"]
        if not files:
            raise Trouble(f"{module.version_of} {module.version()} has no {pattern} any more ({shipped})")
        texts += [path.read_text().strip() for path in files]
    target.write_text("\n---\n".join(texts) + "\n")
