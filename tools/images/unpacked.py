"""Look into an image that was built: its files, mounted read-only, and what it says of itself. Needs buildah, root."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.images import engines, steps
from tools.images.building import Image, cache_folder
from tools.images.trouble import Trouble


@dataclass(frozen=True, slots=True)
class Unpacked:
    """`root` is its file system; `config` the object of that name of the OCI image specification (Env, User, ...)."""

    root: Path
    config: Mapping[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        return dict(entry.split("=", 1) for entry in self.config.get("Env", ()))

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(p.lstat().st_size for p in self.root.rglob("*") if p.is_file() and not p.is_symlink())

    def distributions(self) -> dict[str, str]:
        """Installed Python packages and their versions, wherever in the image they lie."""
        found = {}
        for metadata in self.root.glob("opt/herald/**/*.dist-info/METADATA"):
            fields = dict(line.split(": ", 1) for line in metadata.read_text().splitlines()[:20] if ": " in line)
            found[fields["Name"].lower().replace("_", "-")] = fields["Version"]
        return found


@contextlib.contextmanager
def opened(image: Image) -> Iterator[Unpacked]:
    """The image's files and configuration, as long as the context lasts. Raises Trouble where buildah is missing."""
    engine = engines.find(cache_folder())
    if engine.kind != "buildah":
        raise Trouble("only buildah can look into an image", " ".join(engines.INSTALL))
    known = engine.identity(image.name) is not None
    source = image.name if known else f"oci-archive:{image.archive}"
    container = steps.output([*engine.command, "from", "--pull-never" if known else "--quiet", source])
    try:
        described = json.loads(steps.output([*engine.command, "inspect", "--type", "container", container]))
        root = Path(steps.output([*engine.command, "mount", container]))
        yield Unpacked(root, described["OCIv1"]["config"])
    finally:
        steps.output([*engine.command, "umount", container])
        steps.output([*engine.command, "rm", container])
