"""Fetch uv for a machine that has none, with the standard library alone.

A fresh Debian has neither pip nor ensurepip, and `make demo` promises to work there. So the wheel is taken
from the package index, checked against the digest pinned here, and the one program in it is unpacked.
Usage: python3 tools/get_uv.py FOLDER
"""

import hashlib
import io
import json
import os
import platform
import sys
import urllib.request
import zipfile
from pathlib import Path

VERSION = "0.13.9"
PINNED = {
    "x86_64": (
        f"uv-{VERSION}-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19",
    ),
}
INDEX = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"


def main(folder: Path) -> None:
    if platform.machine() not in PINNED:
        sys.exit(f"no pinned uv for {platform.machine()}: install uv yourself (docs.astral.sh/uv), then run make again")
    name, digest = PINNED[platform.machine()]
    print(f"fetching uv {VERSION} ...", file=sys.stderr, flush=True)
    request = urllib.request.Request(
        f"{INDEX.rstrip('/')}/uv/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            files = json.load(answer)["files"]
        url = next(f["url"] for f in files if f["filename"] == name)
        with urllib.request.urlopen(urllib.request.Request(url), timeout=300) as answer:
            wheel = answer.read()
    except (OSError, ValueError, StopIteration) as e:
        sys.exit(f"uv could not be fetched from {INDEX} ({e}): install uv yourself, then run make again")
    if hashlib.sha256(wheel).hexdigest() != digest:
        sys.exit(f"{name} does not have the pinned digest: not installed")
    program = zipfile.ZipFile(io.BytesIO(wheel)).read(f"uv-{VERSION}.data/scripts/uv")
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / "uv.part"
    part.write_bytes(program)
    part.chmod(0o755)
    part.replace(folder / "uv")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
