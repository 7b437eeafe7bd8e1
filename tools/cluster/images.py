"""Container images made of single programs, and bringing images into the node: no registry is ever asked.

The format is an OCI image layout in a tar file (github.com/opencontainers/image-spec), which `ctr`, `buildah` and
`docker` all read.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PAUSE = "localhost/pause:1"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_CREATED = "1970-01-01T00:00:00Z"  # the same program is the same image


def archive(name: str, files: Mapping[str, Path], entrypoint: Sequence[str], target: Path, *, user: str = "") -> Path:
    """Write the archive of an image `name` (with its tag) that holds only these static programs; gives `target`."""
    layer = _tar({path.lstrip("/"): (source.read_bytes(), 0o755) for path, source in files.items()})
    packed = gzip.compress(layer, compresslevel=1, mtime=0)
    config = {
        "created": _CREATED,
        "architecture": _ARCHITECTURES.get(os.uname().machine, os.uname().machine),
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "User": user},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": _CREATED, "created_by": "tools/cluster"}],
    }
    blobs: dict[str, bytes] = {}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _keep(blobs, "config.v1+json", json.dumps(config).encode()),
        "layers": [_keep(blobs, "layer.v1.tar+gzip", packed)],
    }
    reference = _keep(blobs, "manifest.v1+json", json.dumps(manifest).encode())
    annotations = {"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name}
    index = {"schemaVersion": 2, "manifests": [{**reference, "annotations": annotations}]}
    content = {
        "oci-layout": (json.dumps({"imageLayoutVersion": "1.0.0"}).encode(), 0o644),
        "index.json": (json.dumps(index).encode(), 0o644),
        **{f"blobs/sha256/{digest}": (blob, 0o644) for digest, blob in blobs.items()},
    }
    target.write_bytes(_tar(content))
    return target


def _keep(blobs: dict[str, bytes], kind: str, blob: bytes) -> dict[str, Any]:
    """Put a blob among the others; how a manifest speaks of it."""
    digest = hashlib.sha256(blob).hexdigest()
    blobs[digest] = blob
    return {
        "mediaType": f"application/vnd.oci.image.{kind}",
        "digest": f"sha256:{digest}",
        "size": len(blob),
    }


def _tar(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, (content, mode) in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()
