import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from tools.cluster import images


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: f.read() for m in tar.getmembers() if (f := tar.extractfile(m)) is not None}


def blob(files: dict[str, bytes], reference: dict[str, Any]) -> bytes:
    found = files[f"blobs/sha256/{reference['digest'].removeprefix('sha256:')}"]
    assert len(found) == reference["size"]
    assert f"sha256:{hashlib.sha256(found).hexdigest()}" == reference["digest"]
    return found


def test_an_archive_holds_what_its_manifest_says(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    path = images.archive("localhost/x:1", {"/bin/x": program}, ["/bin/x"], tmp_path / "x.tar", user="65535")
    files = members(path.read_bytes())
    [entry] = json.loads(files["index.json"])["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "localhost/x:1"
    manifest = json.loads(blob(files, entry))
    config = json.loads(blob(files, manifest["config"]))
    layer = gzip.decompress(blob(files, manifest["layers"][0]))
    assert config["config"] == {"Entrypoint": ["/bin/x"], "User": "65535"}
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert members(layer) == {"bin/x": b"\x7fELF"}


def test_the_same_program_is_the_same_image(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"1")
    first = images.archive("a:1", {"/p": program}, ["/p"], tmp_path / "1.tar").read_bytes()
    assert images.archive("a:1", {"/p": program}, ["/p"], tmp_path / "2.tar").read_bytes() == first
