"""The gateway, through the API server's proxy of its Service: no port to forward, no name to resolve.

The proxy passes method, body, headers and Host on as they are, and streams the answer (tests/e2e). What it says itself,
where it cannot, is a Status object: that is told apart from what the gateway says.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping

import aiohttp

from herald_cli.kubectl.api import Api, Forbidden, Unreachable
from herald_cli.kubectl.deployment import Deployment


class Door:
    """One deployment's gateway. `port` is the name of a port of its Service: http, or health."""

    def __init__(self, api: Api, deployment: Deployment, port: str = "http") -> None:
        self._api = api
        self._deployment = deployment
        name = deployment.owner.child("gateway")
        self._root = f"/api/v1/namespaces/{deployment.namespace}/services/{name}:{port}/proxy"
        host = (deployment.spec.get("gateway") or {}).get("host")
        # The chat page answers to its own name only.
        self._headers = {"Host": str(host)} if host else {}

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """What the gateway answers, whatever its status. Raises Forbidden, Unreachable."""
        sent = {**self._headers, **(headers or {})}
        async with self._api.stream(method, f"{self._root}{path}", headers=sent, body=body) as response:
            if response.status >= 400 and response.content_type == "application/json":
                self._raise_own(response.status, await response.read())
            yield response

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, str, Mapping[str, str]]:
        """Status, text and headers of an answer."""
        async with self.stream(method, path, headers=headers, body=body) as response:
            return response.status, await response.text(errors="replace"), response.headers

    def _raise_own(self, status: int, body: bytes) -> None:
        """Raises where it is the API server that says no."""
        try:
            value = json.loads(body)
        except ValueError:
            return
        if not isinstance(value, dict) or value.get("kind") != "Status":
            return
        name, namespace = self._deployment.owner.child("gateway"), self._deployment.namespace
        if status in (401, 403):
            raise Forbidden(
                f"you may not reach Service {name} of namespace {namespace!r} through the API server\n"
                f"  needed: the right to get and create services/proxy; see `kubectl herald doctor`",
                status,
            )
        said = str(value.get("message") or "")[:300]
        raise Unreachable(f"the gateway is out of reach: {said}\n  see `kubectl herald status`, `... logs gateway`")
