"""The few calls that the driver itself makes to the API server, with the standard library alone.

Tests and people use kubectl or a client of their own; here it is only: does it answer, apply this, read that.
"""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tools.cluster.trouble import Trouble

Object = dict[str, Any]
_SECONDS = 10.0
# Kinds that the driver applies: their names in a URL, and whether they live in a namespace.
_PLACES = {
    "ConfigMap": ("configmaps", True),
    "EndpointSlice": ("endpointslices", True),
    "Node": ("nodes", False),
    "Service": ("services", True),
    "StorageClass": ("storageclasses", False),
}


class Api:
    """`ca`, `certificate` and `key` are files; the client is an administrator."""

    def __init__(self, server: str, ca: Path, certificate: Path, key: Path) -> None:
        self.server = server
        self._context = ssl.create_default_context(cafile=str(ca))
        self._context.load_cert_chain(certificate, key)
        # Straight there: a proxy that the environment names knows nothing of this machine's addresses.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._context)
        )

    def get(self, path: str) -> bytes | None:
        """Body of a path; None when it does not answer, or not with 200."""
        try:
            with self._opener.open(f"{self.server}{path}", timeout=_SECONDS) as answer:
                body: bytes = answer.read()
                return body
        except OSError:
            return None

    def read(self, path: str) -> Object | None:
        """An object, or None as `get`."""
        body = self.get(path)
        return json.loads(body) if body is not None else None

    def apply(self, wanted: Object) -> None:
        """Server-side apply; the object is as given afterwards, whether it was there or not. Raises Trouble."""
        plural, namespaced = _PLACES[wanted["kind"]]
        version, name = wanted["apiVersion"], wanted["metadata"]["name"]
        base = f"/api/{version}" if version == "v1" else f"/apis/{version}"
        inside = f"/namespaces/{wanted['metadata']['namespace']}" if namespaced else ""
        request = urllib.request.Request(
            f"{self.server}{base}{inside}/{plural}/{name}?fieldManager=herald-cluster&force=true",
            data=json.dumps(wanted).encode(),
            headers={"Content-Type": "application/apply-patch+yaml"},
            method="PATCH",
        )
        try:
            with self._opener.open(request, timeout=_SECONDS):
                pass
        except urllib.error.HTTPError as e:
            said = e.read().decode(errors="replace")
            e.close()
            raise Trouble(f"{wanted['kind']} {name} was refused: {said[:500]}") from None
        except OSError as e:
            raise Trouble(f"{wanted['kind']} {name} could not be applied: {e}") from None
