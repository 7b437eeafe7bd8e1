"""Objects as small as they get: an operator keeps tens of thousands of them in memory, and looks at few at a time."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from herald_operator.build.naming import Object

# What nobody here reads. A pod's spec is its owner's template once more.
_NOT_READ = frozenset({"managedFields", "selfLink"})
_FAST = 1  # zlib's level; manifests repeat themselves so much that a higher one gains little


def pack(body: Mapping[str, Any]) -> bytes:
    """An object of the API server, without what nobody here reads."""
    metadata = body["metadata"]
    kept = {key: value for key, value in body.items() if key != "spec" or body.get("kind") != "Pod"}
    kept["metadata"] = {key: value for key, value in metadata.items() if key not in _NOT_READ}
    packed = zlib.compress(json.dumps(kept, separators=(",", ":")).encode(), _FAST)
    return f"{metadata['uid']} {metadata['resourceVersion']}\n".encode() + packed


def unpack(data: bytes) -> Object:
    """What `pack` was given, but for what it left out."""
    made: Object = json.loads(zlib.decompress(data.partition(b"\n")[2]))
    return made


def identity(data: bytes) -> tuple[str, int]:
    """Which object it is, and which state of it: uid and resource version. Asked of each event, so not unpacked."""
    uid, _, version = data.partition(b"\n")[0].decode().partition(" ")
    return uid, int(version)
