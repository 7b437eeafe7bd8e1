"""On what the images stand: a public image with Python, or, where no registry can be reached, a Debian made here.

The choice is made once and kept with what came of it, so that images keep their names from one day to the next.
"""

import hashlib
import json
import re
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.images import steps
from tools.images.engines import Engine
from tools.images.targets import ROOT
from tools.images.trouble import Trouble

LOCAL = "local"
AUTO = "auto"
_SUITE = "bookworm"  # its Python is 3.11
_PACKAGES = ("python3", "ca-certificates", "tini", "usr-is-merged")
# Merged /usr without the package that merges it, which brings all of Perl; and nothing that only people read.
_OPTIONS = (
    "--variant=apt",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    '--aptopt=Apt::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)


@dataclass(frozen=True, slots=True)
class Base:
    """`name` is what a Dockerfile says FROM; `identity` tells its content from any other."""

    name: str
    identity: str


def choose(engine: Engine, cache: Path, wanted: str = AUTO, *, refresh: bool = False) -> Base:
    """The base to build on: `wanted` is a reference, `local` or `auto`. Raises Trouble."""
    known = None if refresh else chosen(cache, wanted)
    if known is not None:
        return known
    base = _local(engine) if wanted == LOCAL else _pulled(engine, wanted)
    kept = record(cache, wanted)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(asdict(base)))
    return base


def chosen(cache: Path, wanted: str = AUTO) -> Base | None:
    """What `choose` settled on earlier."""
    kept = record(cache, wanted)
    return Base(**json.loads(kept.read_text())) if kept.exists() else None


def ensure(engine: Engine, base: Base) -> None:
    """Have the base that was chosen, or fail: an image with other contents must not get its name."""
    if engine.identity(base.name) is None and engine.pull(base.name) is None:
        raise Trouble(f"the base {base.name} is gone", "python -m tools.images build --refresh-base")


def _pulled(engine: Engine, wanted: str) -> Base:
    reference = _default() if wanted == AUTO else wanted
    identity = engine.identity(reference) or engine.pull(reference)
    if identity is not None:
        return Base(reference, identity)
    if wanted != AUTO:
        raise Trouble(f"{reference} cannot be pulled", "python -m tools.images build --base local")
    print(f"  {reference} cannot be pulled: making a Debian {_SUITE} as the base", file=sys.stderr)
    return _local(engine)


def _default() -> str:
    """What the Dockerfile itself stands on."""
    found = re.search(r"^ARG BASE=(\S+)$", (ROOT / "images/Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def record(cache: Path, wanted: str) -> Path:
    """The file in which a choice is kept."""
    return cache / "bases" / f"{hashlib.sha256(f'{wanted} {_recipe()}'.encode()).hexdigest()[:12]}.json"


def _recipe() -> str:
    return " ".join((_SUITE, *_PACKAGES, *_OPTIONS))


def _local(engine: Engine) -> Base:
    if shutil.which("mmdebstrap") is None:
        raise Trouble(
            "no registry can be reached, and without mmdebstrap no base can be made", "apt-get install mmdebstrap"
        )
    with tempfile.TemporaryDirectory(prefix="herald-base-") as folder:
        tarball = Path(folder) / "base.tar"
        include = f"--include={','.join(_PACKAGES)}"
        steps.run(["mmdebstrap", *_OPTIONS, include, _SUITE, str(tarball)], f"making Debian {_SUITE}")
        name = f"localhost/herald/base:{hashlib.sha256(tarball.read_bytes()).hexdigest()[:12]}"
        engine.take_root(tarball, name)
    return Base(name, name)
