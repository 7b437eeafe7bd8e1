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
    kept = {key: value for key, value in body.items() if key != "spec" or body.get("kind") != "Pod"}
    kept["metadata"] = {key: value for key, value in body["metadata"].items() if key not in _NOT_READ}
    return zlib.compress(json.dumps(kept, separators=(",", ":")).encode(), _FAST)


def unpack(data: bytes) -> Object:
    """What `pack` was given, but for what it left out."""
    made: Object = json.loads(zlib.decompress(data))
    return made
