"""Herald's own services as programs: the gateway and the workers, each with its rendered settings file."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from herald_cli.servers.probes import http_ok, reachable
from herald_cli.servers.program import File, Program
from herald_contracts import settings

_GRACE = 10  # beyond the service's own drain, before it is killed


def gateway(folder: Path, value: settings.GatewaySettings, needs: tuple[str, ...]) -> Program:
    """The gateway; `folder` takes its settings file."""
    host = reachable(value.host)

    async def ready() -> bool:
        return await http_ok(value.port, "/healthz/ready", host)

    return _service(
        "gateway",
        "herald_gateway",
        folder,
        value,
        needs,
        ready=ready,
        address=f"http://{f'[{host}]' if ':' in host else host}:{value.port}",
        ports=(value.port, value.health_port),
        drain=value.drain_seconds,
    )


def agent(folder: Path, name: str, value: settings.AgentSettings, needs: tuple[str, ...]) -> Program:
    """One worker; `name` is its component's and its settings file's."""

    async def ready() -> bool:
        return await http_ok(value.health_port, "/healthz/ready", value.health_host)

    return _service(
        name,
        "herald_agent",
        folder,
        value,
        needs,
        ready=ready,
        address=f"http://{value.health_host}:{value.health_port}",
        ports=(value.health_port,),
        drain=value.drain_seconds,
    )


def _service(
    name: str,
    package: str,
    folder: Path,
    value: settings.GatewaySettings | settings.AgentSettings,
    needs: tuple[str, ...],
    *,
    ready: Callable[[], Awaitable[bool]],
    address: str,
    ports: tuple[int, ...],
    drain: float,
) -> Program:
    file = folder / f"{name}.json"
    return Program(
        name=name,
        argv=(sys.executable, "-m", package, "--settings", str(file)),
        cwd=folder,
        files=(File(file, value.model_dump_json(indent=1)),),
        ready=ready,
        needs=needs,
        address=address,
        ports=ports,
        start_seconds=120,
        stop_seconds=drain + _GRACE,
    )
