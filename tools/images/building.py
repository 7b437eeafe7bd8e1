"""Build what is asked for and not there yet, one image at a time, and hand out archives that any cluster can import."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.images import base, engines, surroundings
from tools.images.engines import Engine
from tools.images.targets import ROOT, TARGETS, Target
from tools.images.trouble import Trouble

# Of each target, the archives of so many contents are kept: one for the branch before, one for this.
_KEPT = 3


@dataclass(frozen=True, slots=True)
class Image:
    """`name` is what a pod's `image:` says; `archive` is an OCI archive that carries it, of `size` bytes."""

    target: str
    name: str
    archive: Path
    size: int


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "herald" / "images"


def build(
    targets: Sequence[str] = tuple(TARGETS),
    *,
    base_image: str = base.AUTO,
    out: Path | None = None,
    install: bool = False,
    refresh_base: bool = False,
    source: str = "unknown",
) -> Mapping[str, Image]:
    """The images of `targets`, built where they are not there yet; `out` gets a copy of each, `images.json` beside.

    Raises Trouble, which ends with what to do.
    """
    _known(targets)
    cache = cache_folder()
    (cache / "archives").mkdir(parents=True, exist_ok=True)
    engine = engines.find(cache, install=install)
    with _alone(cache):
        chosen = base.choose(engine, cache, base_image, refresh=refresh_base)
        made = {name: _one(TARGETS[name], engine, chosen, cache, source) for name in targets}
    if out is not None:
        _hand_out(made, out)
    return made


def built(targets: Sequence[str] = tuple(TARGETS), *, base_image: str = base.AUTO) -> Mapping[str, Image]:
    """What `build` would give without building anything. Raises Trouble where it would have something to do."""
    _known(targets)
    cache = cache_folder()
    chosen = base.chosen(cache, base_image)
    if chosen is None:
        raise Trouble("no image was built on this machine yet", "make images")
    found = {}
    for target in targets:
        name, archive = _place(TARGETS[target], chosen, cache)
        if not archive.exists():
            raise Trouble(f"the image of {target} was not built from what its files say now: no {name}", "make images")
        found[target] = Image(target, name, archive, archive.stat().st_size)
    return found


def _known(targets: Sequence[str]) -> None:
    unknown = sorted(set(targets) - set(TARGETS))
    if unknown:
        raise Trouble(f"no target {', '.join(unknown)}", f"one of: {', '.join(TARGETS)}")


def _place(target: Target, chosen: base.Base, cache: Path) -> tuple[str, Path]:
    """The image's name, which says what is in it, and where its archive is or would be."""
    tag = f"dev-{target.digest(chosen.identity)}"
    return f"{target.repository}:{tag}", cache / "archives" / f"{target.name}-{tag}.tar"


def _one(target: Target, engine: Engine, chosen: base.Base, cache: Path, source: str) -> Image:
    name, archive = _place(target, chosen, cache)
    if not archive.exists():
        base.ensure(engine, chosen)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="herald-build-") as folder:
            engine.build(
                name=name,
                dockerfile=ROOT / target.dockerfile,
                stage=target.stage,
                context=ROOT,
                arguments={"BASE": chosen.name, "VERSION": _version(), "REVISION": _revision(), "SOURCE": source},
                secrets=_secrets(Path(folder)),
            )
        part = archive.with_suffix(f".{os.getpid()}")
        engine.archive(name, part)
        part.replace(archive)
        print(f"  built {name} in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        _drop_old(target, engine, archive)
        engine.tidy()
    os.utime(archive)
    return Image(target.name, name, archive, archive.stat().st_size)


def _secrets(folder: Path) -> Mapping[str, Path]:
    script = folder / "surroundings"
    script.write_text(surroundings.script(os.environ, Path.home()))
    script.chmod(0o600)
    bundle = surroundings.authorities(os.environ)
    return {"surroundings": script, **({"authorities": bundle} if bundle else {})}


def _version() -> str:
    project = tomllib.loads((ROOT / "operator/pyproject.toml").read_text())["project"]
    return f"{project['version']}-dev"


def _revision() -> str:
    """The commit; of an image that was built earlier from the same content, the commit of then."""
    try:
        head = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
        return subprocess.run(head, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _drop_old(target: Target, engine: Engine, newest: Path) -> None:
    archives = sorted(newest.parent.glob(f"{target.name}-dev-*.tar"), key=lambda p: p.stat().st_mtime)
    for old in archives[:-_KEPT]:
        old.unlink()
        engine.forget([f"{target.repository}:{old.stem.removeprefix(f'{target.name}-')}"])


def _hand_out(built: Mapping[str, Image], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for image in built.values():
        copy = out / f"{image.target}.tar"
        copy.unlink(missing_ok=True)
        try:
            copy.hardlink_to(image.archive)
        except OSError:
            shutil.copyfile(image.archive, copy)
    listed = {image.target: {"name": image.name, "archive": f"{image.target}.tar"} for image in built.values()}
    (out / "images.json").write_text(json.dumps(listed, indent=1) + "\n")


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """One build at a time on a machine: two of the same would only slow each other."""
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("  waiting for another build on this machine", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
