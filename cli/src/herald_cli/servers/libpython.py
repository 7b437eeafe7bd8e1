"""Python's own shared library, which Triton's Python backend loads and Debian's `python3` does not bring.

pyenv's and uv's Pythons have it. For Debian's, the package libpython3.x is unpacked into a cache of the user's:
`apt-get download` and `dpkg-deb -x` need no root.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from herald_contracts.errors import ConfigurationError

_MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
NAME = f"libpython{_MINOR}.so.1.0"


def locate() -> Path:
    """The library of the running Python's version; may download it. Raises ConfigurationError with the way out."""
    found = next((path for folder in _folders() if (path := folder / NAME).exists()), None)
    return found.resolve().with_name(NAME) if found else _fetched()


def _folders() -> list[Path]:
    own = sysconfig.get_config_var("LIBDIR")
    multiarch = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    system = (f"/usr/lib/{multiarch}", f"/lib/{multiarch}", "/usr/lib64", "/usr/local/lib")
    return [*([Path(own)] if own else []), Path(sys.base_prefix, "lib"), *map(Path, system)]


def cache() -> Path:
    """Where the unpacked package is kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "herald" / f"libpython{_MINOR}"


def _fetched() -> Path:
    kept = cache() / NAME
    if kept.exists():
        return kept
    package = f"libpython{_MINOR}"
    wrong = ConfigurationError(
        f"this Python has no {NAME}, which Triton needs, and it could not be fetched",
        path=sys.executable,
        hint=f"run `sudo apt-get install {package}`, or make the environment with uv's own Python",
    )
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise wrong
    try:
        with tempfile.TemporaryDirectory(prefix="herald-") as folder:
            _run(["apt-get", "download", package], folder)
            archive = next(Path(folder).glob(f"{package}_*.deb"))
            _run(["dpkg-deb", "-x", archive.name, "unpacked"], folder)
            library = next(p for p in Path(folder, "unpacked").rglob(NAME) if not p.is_symlink())
            kept.parent.mkdir(parents=True, exist_ok=True)
            part = kept.with_suffix(f".{os.getpid()}")
            shutil.copy2(library, part)
            part.replace(kept)
    except (OSError, StopIteration, subprocess.SubprocessError):
        raise wrong from None
    return kept


def _run(command: list[str], folder: str) -> None:
    subprocess.run(  # noqa: S603 - fixed commands
        command, cwd=folder, check=True, capture_output=True, timeout=120
    )
