"""A gateway as its own process, as `herald up` and a pod run it."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from herald_cli.ports import Ports
from herald_contracts.settings import GatewaySettings, Nats
from herald_contracts.subjects import Names
from tests.unit.gateway import samples

DEADLINE = 30.0


class Gateway:
    """One gateway process with one `hmac` channel called `hook`."""

    def __init__(
        self, folder: Path, nats: Nats, names: Names, reply_url: str = samples.REPLY_URL, **changes: Any
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = changes.pop("port", None) or Ports().pick()
        secret = samples.secret_folder(folder / "secret", secret=samples.SECRET)
        self.settings = GatewaySettings(
            **{
                "namespace": names.namespace,
                "name": names.name,
                "nats": nats,
                "port": self.port,
                "channels": (samples.hmac_settings(secret, reply_url=reply_url),),
                **changes,
            }
        )
        self.file = folder / "settings.json"
        self.file.write_text(self.settings.model_dump_json())
        self.log = folder / "gateway.log"
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "herald_gateway", "--settings", str(self.file)], stdout=log, stderr=log
            )

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, once it has one."""
        assert self.process is not None
        async with asyncio.timeout(DEADLINE):
            while (code := self.process.poll()) is None:
                await asyncio.sleep(0.02)
        return code

    def lines(self) -> list[dict[str, Any]]:
        """What it has logged; fails when a line is not JSON."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    @property
    def private(self) -> str:
        """Where it answers probes and shows its metrics, as it says in its log."""
        port = [line["health_port"] for line in self.lines() if line["event"] == "listening"][-1]
        return f"http://127.0.0.1:{port}"

    async def until_logged(self, event: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while not any(line["event"] == event for line in self.lines()):
                await asyncio.sleep(0.02)


class Client:
    """An outside integrator, and a probe."""

    def __init__(self, gateway: Gateway, http: aiohttp.ClientSession) -> None:
        self._gateway = gateway
        self._http = http

    async def get(self, path: str, *, private: bool = False) -> tuple[int, str]:
        """Status and body; (0, "") when nobody listens. `private`: at the port of probes and metrics."""
        try:
            async with self._http.get((self._gateway.private if private else self._gateway.url) + path) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientConnectionError:
            return 0, ""

    async def post(
        self, identifier: str, *, begun: asyncio.Event | None = None, **changes: Any
    ) -> tuple[int, dict[str, str]]:
        """Send an event; status and headers. (0, {}) when the connection was refused or broke.

        `begun` is set once the gateway has begun to read the body (it has said "100 Continue").
        """
        content = samples.body(id=identifier, timestamp=..., **changes)
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "Herald-Timestamp": timestamp,
            "Herald-Signature": samples.hmac_signature(samples.SECRET, timestamp, content),
        }

        async def body() -> AsyncIterator[bytes]:
            if begun is not None:
                begun.set()
            yield content

        try:
            async with self._http.post(
                f"{self._gateway.url}/channels/hook/events",
                data=content if begun is None else body(),
                expect100=begun is not None,
                headers=headers,
            ) as answer:
                await answer.read()
                return answer.status, dict(answer.headers)
        except aiohttp.ClientConnectionError:
            return 0, {}

    async def until(self, path: str, status: int) -> str:
        """Ask until the status is as expected; the body."""
        async with asyncio.timeout(DEADLINE):
            while True:
                found, body = await self.get(path)
                if found == status:
                    return body
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running(gateway: Gateway, ready: bool = True) -> AsyncIterator[Client]:
    """Start it, wait until it is ready (or alive), and be sure that it is gone afterwards."""
    gateway.start()
    try:
        async with aiohttp.ClientSession() as http:
            client = Client(gateway, http)
            await client.until("/healthz/ready" if ready else "/healthz/live", 200)
            yield client
    finally:
        assert gateway.process is not None
        if gateway.process.poll() is None:
            gateway.process.kill()
        gateway.process.wait(10)
