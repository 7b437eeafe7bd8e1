"""The gateway as one ASGI application: the hot webhook route in front, Starlette for everything else."""

from collections.abc import Mapping, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from herald_contracts.settings import Limits
from herald_gateway import health
from herald_gateway.addresses import Proxies
from herald_gateway.channels.base import Channel, Malformed, Refused, TooMany
from herald_gateway.health import Readiness
from herald_gateway.hosts import Hosts
from herald_gateway.limits import Connections
from herald_gateway.measurements import Measurements
from herald_gateway.publishing import Intake
from herald_gateway.refusals import Refusals, body_of
from herald_gateway.webhook import EVENTS, Webhooks, client_of, respond

_CHANNELS = "/channels/"


class Gateway(Starlette):
    """Answers every request. Channels are closed (503) until `open` is called."""

    def __init__(
        self,
        webhooks: Webhooks,
        limits: Limits,
        proxies: Proxies,
        refusals: Refusals,
        routes: Sequence[BaseRoute],
        pages: Mapping[str, Hosts],
    ) -> None:
        """`pages` are the channels that browsers ask for, by which hosts they may."""
        super().__init__(
            routes=routes,
            max_body_size=limits.body_bytes,
            exception_handlers={HTTPException: self._http_error, Refused: self._refused},
        )
        self._webhooks = webhooks
        self._proxies = proxies
        self._refusals = refusals
        self._pages = pages
        self._forwarded = Connections(limits)
        self._opened = False

    def open(self) -> None:
        """The channels have started."""
        self._opened = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        address = self._forwarded_address(scope)
        if address:
            full = self._forwarded.enter(address)
            if full:
                # Behind a proxy many clients share a connection: there the cap is on requests at a time.
                await self._refuse(scope, send, TooMany(full))
                return
        try:
            await self._answer(scope, receive, send)
        finally:
            if address:
                self._forwarded.leave(address)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        # The path as the server parsed it: `request.url` is put together from headers that a stranger chose.
        path: str = scope["path"]
        below = path.startswith(_CHANNELS)
        if below and self._pages:
            name = path[len(_CHANNELS) :].partition("/")[0]
            if name in self._pages:
                try:
                    self._pages[name].check(scope["headers"])
                except Refused as e:
                    await self._refuse(scope, send, e, name)
                    return
        if below and not self._opened:
            await respond(send, 503, b'{"error": "try_again"}', extra=[(b"retry-after", b"2")])
            return
        if below and path.endswith(EVENTS):
            name = path[len(_CHANNELS) : -len(EVENTS)]
            if "/" not in name:
                await self._webhooks(scope, receive, send, name)
                return
        if sum(name == b"host" for name, _ in scope["headers"]) != 1:
            await self._refuse(scope, send, Malformed("host_header"))
            return
        try:
            await super().__call__(scope, receive, send)
        except ClientDisconnect:
            self._refusals.count("", "disconnected", 0, client_of(scope))

    def _forwarded_address(self, scope: Scope) -> str:
        """The client behind a trusted proxy, also written into the scope; "" for everybody else."""
        if not self._proxies:
            return ""
        peer = client_of(scope)
        if not self._proxies.trusts(peer):
            return ""
        address = self._proxies.client(peer, [v for n, v in scope["headers"] if n == b"x-forwarded-for"])
        scope["client"] = (address, 0)
        return address if address != peer else ""

    async def _refuse(self, scope: Scope, send: Send, refusal: Refused, channel: str = "") -> None:
        self._refusals.count(channel, refusal.reason, refusal.status, client_of(scope))
        await respond(send, refusal.status, body_of(refusal))

    async def _refused(self, request: Request, error: Exception) -> Response:
        refusal = error if isinstance(error, Refused) else Refused("internal", status=500)
        self._refusals.count("", refusal.reason, refusal.status, client_of(request.scope))
        return Response(body_of(refusal), refusal.status, media_type="application/json")

    async def _http_error(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        headers = error.headers if isinstance(error, HTTPException) else None
        reason = {404: "not_found", 405: "method", 413: "body_too_large"}.get(status, f"http_{status}")
        self._refusals.count("", reason, status, client_of(request.scope))
        return JSONResponse({"error": reason}, status, headers)


def create_app(
    *,
    channels: Mapping[str, Channel],
    intake: Intake,
    limits: Limits,
    proxies: Proxies,
    hosts: Hosts,
    readiness: Readiness,
    measurements: Measurements,
    refusals: Refusals,
) -> Gateway:
    """Everything that the gateway answers. Nothing is started and nothing is connected here."""
    routes: list[BaseRoute] = [*health.routes(readiness)]
    page = next((name for name, channel in channels.items() if channel.type == "web"), None)
    if page is not None:
        target = f"{_CHANNELS}{page}/"

        async def root(_: Request) -> Response:
            return RedirectResponse(target)

        routes.append(Route("/", root))
    for name, channel in channels.items():
        extra = list(channel.routes())
        if extra:
            routes.append(Mount(f"{_CHANNELS}{name}", routes=extra))
    pages = {name: hosts for name, channel in channels.items() if channel.type == "web" and hosts}
    webhooks = Webhooks(channels, intake, limits, measurements, refusals)
    return Gateway(webhooks, limits, proxies, refusals, routes, pages)
