"""The way to the API server, with the user's own kubeconfig: one request, one stream, one websocket.

Errors are texts for people, with the next command where there is one. Importing this module loads the Kubernetes
client, so commands do it when they run and not when `--help` lists them.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from yaml import YAMLError

from herald_cli.kubectl.target import Target
from herald_cli.quiet import hush
from herald_contracts.errors import ConfigurationError, PermanentError, TemporaryError

Object = dict[str, Any]
_DEFAULT = "~/.kube/config"
_SECONDS = 30.0  # for one request
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_LATER = frozenset({408, 409, 429, 500, 502, 503, 504})


class Unreachable(TemporaryError):
    """No API server answers, or it is busy."""


class Refused(PermanentError):
    """The API server will not: the text is its own. `status` is that of HTTP."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Forbidden(Refused):
    """A right is missing."""


class Api:
    """`namespace` is the one that commands are about."""

    def __init__(self, client: ApiClient, session: aiohttp.ClientSession, namespace: str) -> None:
        self._client = client
        self._session = session
        self.namespace = namespace

    @property
    def server(self) -> str:
        return str(self._client.configuration.host)

    async def get(self, path: str, **query: str) -> Object | None:
        """An object or a list; None where there is none. Raises Unreachable, Refused, Forbidden."""
        try:
            found: Object = json.loads(await self.ask("GET", path, query=query))
        except Refused as e:
            if e.status == 404:
                return None
            raise
        return found

    async def listed(self, path: str, **query: str) -> list[Object]:
        """The items of a list; none where the kind is not served."""
        found = await self.get(path, **query)
        items: list[Object] = (found or {}).get("items") or []
        return items

    async def patch(self, path: str, change: Object) -> Object:
        """A merge patch; the object as it is then."""
        headers = {"Content-Type": "application/merge-patch+json"}
        query = {"fieldManager": "kubectl-herald"}
        answer = await self.ask("PATCH", path, query=query, headers=headers, body=json.dumps(change).encode())
        patched: Object = json.loads(answer)
        return patched

    async def post(self, path: str, body: Object) -> Object:
        headers = {"Content-Type": "application/json"}
        made: Object = json.loads(await self.ask("POST", path, headers=headers, body=json.dumps(body).encode()))
        return made

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> bytes:
        """The body of a good answer."""
        async with self.stream(method, path, query=query, headers=headers, body=body, total=_SECONDS) as response:
            answer = await response.read()
        if response.status >= 300:
            raise refusal(response.status, answer)
        return answer

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        total: float | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer of any status, to be read as it comes. Raises Unreachable, also while it is read."""
        timeout = aiohttp.ClientTimeout(total=total, sock_connect=10)
        sent = {**await self._proof(), **(headers or {})}
        with self._readable():
            async with self._session.request(
                method,
                f"{self.server}{path}",
                params=query,
                headers=sent,
                data=body,
                timeout=timeout,
                allow_redirects=False,
                **self._way(),
            ) as response:
                yield response

    @contextlib.asynccontextmanager
    async def websocket(self, path: str, query: list[tuple[str, str]], protocol: str) -> AsyncIterator[Any]:
        """A websocket of the API server's (exec, port-forward). Raises Unreachable, Refused, Forbidden."""
        with self._readable():
            try:
                async with self._session.ws_connect(
                    f"{self.server}{path}",
                    params=query,
                    headers=await self._proof(),
                    protocols=(protocol,),
                    max_msg_size=0,
                    heartbeat=30,
                    **self._way(),
                ) as socket:
                    yield socket
            except aiohttp.WSServerHandshakeError as e:
                raise refusal(e.status, b"") from None

    async def _proof(self) -> dict[str, str]:
        """The headers that say who we are; asked for each time, because tokens run out."""
        made = await self._client.param_serialize("GET", "/", auth_settings=["BearerToken"])
        return {**made[2], "User-Agent": "kubectl-herald"}

    def _way(self) -> dict[str, Any]:
        known = self._client.configuration
        ways = {"server_hostname": known.tls_server_name, "proxy": known.proxy}
        return {name: value for name, value in ways.items() if value}

    @contextlib.contextmanager
    def _readable(self) -> Any:
        try:
            yield
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError, OSError) as e:
            why = str(e) or type(e).__name__
            raise Unreachable(
                f"no API server at {self.server} ({why[:200]})\n"
                f"  look with `kubectl cluster-info`, or name another cluster with --context"
            ) from None


@contextlib.asynccontextmanager
async def connect(target: Target) -> AsyncIterator[Api]:
    """The cluster that the target names. Raises ConfigurationError where no kubeconfig says how to reach one."""
    hush()
    known = Configuration()
    file = str(target.kubeconfig) if target.kubeconfig is not None else os.environ.get("KUBECONFIG") or _DEFAULT
    namespace = await _load(target, file, _exists(file), known)
    async with ApiClient(known) as client:
        connector = aiohttp.TCPConnector(ssl=client.rest_client.ssl_context)
        async with aiohttp.ClientSession(connector=connector, trust_env=True, read_bufsize=2**21) as session:
            yield Api(client, session, target.namespace or namespace)
            # Connections over TLS take a moment to go (docs.aiohttp.org, Graceful Shutdown).
            await asyncio.sleep(0)


def _exists(file: str) -> bool:
    """KUBECONFIG may name several."""
    return any(Path(part).expanduser().exists() for part in file.split(os.pathsep) if part)


def _pod_namespace() -> str:
    return _POD_NAMESPACE.read_text(encoding="utf-8").strip()


async def _load(target: Target, file: str, there: bool, known: Configuration) -> str:
    """Fills `known`; the namespace that goes with it."""
    try:
        if not there and target.kubeconfig is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(client_configuration=known)  # type: ignore[no-untyped-call]
            return _pod_namespace()
        if not there:
            raise ConfigurationError(
                f"there is no kubeconfig at {file}", hint="name one with --kubeconfig, or set KUBECONFIG"
            )
        loader = await config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=file, context=target.context, client_configuration=known, persist_config=False
        )
        return str(loader.current_context["context"].get("namespace") or "default")
    except (config.ConfigException, YAMLError, OSError, ValueError, KeyError, TypeError) as e:
        text = str(e).splitlines()[0] if str(e) else type(e).__name__
        hint = "see `kubectl config get-contexts`"
        raise ConfigurationError(f"the kubeconfig {file} cannot be used: {text}", hint=hint) from None


def refusal(status: int, body: bytes) -> Unreachable | Refused:
    """What the API server's own answer means. Pure."""
    text = body.decode(errors="replace").strip()
    with contextlib.suppress(ValueError, AttributeError):
        text = json.loads(text).get("message") or text
    text = " ".join(text.split())[:1_000]
    if status in _LATER:
        return Unreachable(f"the API server is not able to do it now (HTTP {status}): {text}")
    if status == 401:
        return Forbidden("the API server does not know you (401)\n  log in again, or name another --context", 401)
    if status == 403:
        return Forbidden(f"you may not: {text or 'HTTP 403'}\n  see `kubectl herald doctor` for what is missing", 403)
    return Refused(f"the API server refused: {text or f'HTTP {status}'}", status)
