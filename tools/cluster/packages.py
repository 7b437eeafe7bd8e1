"""What a node takes from Debian, and the one line that installs what is missing.

The packages' own services are left alone: the node runs a containerd of its own, with its own sockets and files.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.cluster.trouble import Trouble

# Program -> the package that has it.
_PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "umount": "mount",
}
_PLUGINS_PACKAGE = "containernetworking-plugins"
_PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
_PLUGINS = ("ptp", "host-local", "loopback")
_SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def find(program: str) -> str:
    """Path of a system program; its bare name when it is missing, for the error that follows to name it."""
    return shutil.which(program, path=_SYSTEM) or program


def plugins() -> Path:
    """Folder of the CNI plugins."""
    complete = (folder for folder in _PLUGIN_FOLDERS if all((folder / name).exists() for name in _PLUGINS))
    return next(complete, _PLUGIN_FOLDERS[0])


def missing() -> list[str]:
    """Packages that this machine lacks."""
    lacking = [package for program, package in _PROGRAMS.items() if shutil.which(program, path=_SYSTEM) is None]
    if not all((plugins() / name).exists() for name in _PLUGINS):
        lacking.append(_PLUGINS_PACKAGE)
    return list(dict.fromkeys(lacking))


def require(*, install: bool) -> None:
    """Raises Trouble unless this machine can be a node; with `install`, installs what it lacks."""
    if os.geteuid() != 0:
        raise Trouble("a real node needs root", "take --node none or --node fake, or run it as root")
    lacking = missing()
    if not lacking:
        return
    line = ["apt-get", "install", "-y", "--no-install-recommends", *lacking]
    if not install:
        raise Trouble(f"a real node needs packages that are missing: {', '.join(lacking)}", f"run: {' '.join(line)}")
    print(f"installing {', '.join(lacking)} ...", file=sys.stderr, flush=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet, stdout=subprocess.DEVNULL)
        subprocess.run([*line, "-qq"], check=True, env=quiet, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        raise Trouble("the packages could not be installed (see above)", f"run: {' '.join(line)}") from None
    still = missing()
    if still:
        raise Trouble(f"installed, and yet missing: {', '.join(still)}")
