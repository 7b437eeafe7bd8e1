"""The whole of Herald as a person runs it, with fake platforms around it: for kill tests and bad days.

Everything goes through the `herald` command, so what these tests prove is what a user gets.
"""

import asyncio
import base64
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from herald_cli import processes
from herald_cli.ports import Ports
from herald_contracts.ledger import STATES
from tests.chaos.platforms import FeishuPlatform, Hmac, Platform, Standard, Web
from tests.fakes.callback import Receiver
from tests.fakes.feishu import Events, Feishu

HERALD = (sys.executable, "-m", "herald_cli")


@dataclass
class World:
    """One running Herald. `url` is the gateway's address."""

    state: Path
    url: str
    platforms: tuple[Platform, ...]
    hooks: Receiver
    standard: Receiver
    feishu: Feishu

    async def herald(self, *arguments: str, timeout: float = 60, codes: tuple[int, ...] = (0,)) -> Any:
        """Run `herald ... --json` on this state folder; its answer. Raises AssertionError for another exit code."""
        return json.loads(await _run(*arguments, "--state", str(self.state), "--json", timeout=timeout, codes=codes))

    async def components(self) -> dict[str, dict[str, Any]]:
        # Exit code 1 says that something is not ready, which is what these tests are about.
        status = await self.herald("status", codes=(0, 1))
        return {c["name"]: c for c in status["components"]}

    async def counts(self) -> dict[str, int]:
        ledger = await self.herald("ledger")
        return {name: ledger[name] for name in ("accepted", *STATES)}

    async def kill(self, name: str) -> None:
        """SIGKILL a component's process and return once its successor is ready."""
        pid = int((await self.components())[name]["pid"])
        os.kill(pid, signal.SIGKILL)
        await self.until_ready(name, not_pid=pid)

    @asynccontextmanager
    async def frozen(self, name: str) -> AsyncIterator[None]:
        """SIGSTOP a component with all its processes, and let it go on at the end."""
        root = processes.look_up(int((await self.components())[name]["pid"]))
        assert root is not None
        stopped = processes.tree(root)
        for process in stopped:
            process.send(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                process.send(signal.SIGCONT)

    async def until_ready(self, name: str, *, not_pid: int = 0, seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while True:
                component = (await self.components())[name]
                if component["state"] == "ready" and component["pid"] != not_pid:
                    return
                await asyncio.sleep(0.1)

    async def until_settled(self, seconds: float = 120) -> dict[str, int]:
        """Wait until no accepted message is open any more; the final counts."""
        counts: dict[str, int] = {}
        try:
            async with asyncio.timeout(seconds):
                while True:
                    counts = await self.counts()
                    if not (counts["waiting"] or counts["running"] or counts["replying"]):
                        return counts
                    await asyncio.sleep(0.2)
        except TimeoutError:
            raise AssertionError(f"not settled after {seconds:g} s: {counts}") from None


@asynccontextmanager
async def world(
    folder: Path, *, agent: dict[str, Any] | None = None, gateway: dict[str, Any] | None = None
) -> AsyncIterator[World]:
    """Start a Herald with the scripted model and all four channels. `agent`, `gateway`: more of their fields."""
    async with AsyncExitStack() as stack:
        secret, whsec = secrets.token_hex(16).encode(), "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        hooks = await stack.enter_async_context(Receiver(secret))
        standard = await stack.enter_async_context(Receiver(standard=whsec))
        feishu = await stack.enter_async_context(Feishu())
        events = Events(app_id=feishu.app_id)
        state = folder / "state"
        file = folder / "agent.yaml"
        file.write_text(
            yaml.safe_dump_all(
                [
                    _deployment(hooks, standard, feishu, agent or {}, gateway or {}),
                    _secret("hooks", {"secret": secret.decode()}),
                    _secret("standard", {"secret": whsec}),
                    _secret(
                        "feishu",
                        {
                            "app-secret": feishu.app_secret,
                            "encrypt-key": events.encrypt_key,
                            "verification-token": events.token,
                        },
                    ),
                ]
            )
        )
        try:
            await _run("up", "-f", str(file), "--state", str(state), "--detach", timeout=180)
            status = json.loads(await _run("status", "--state", str(state), "--json"))
            url = str(status["gateway"])
            web = Web(lambda: url)
            stack.push_async_callback(web.close)
            platforms: Sequence[Platform] = (
                Hmac(lambda: url, secret, hooks),
                Standard(lambda: url, whsec, standard),
                FeishuPlatform(lambda: url, events, feishu),
                web,
            )
            yield World(state, url, tuple(platforms), hooks, standard, feishu)
        finally:
            await _run("down", "--state", str(state), timeout=120)


def _deployment(
    hooks: Receiver, standard: Receiver, feishu: Feishu, agent: dict[str, Any], gateway: dict[str, Any]
) -> dict[str, Any]:
    return {
        "apiVersion": "herald.dev/v1alpha1",
        "kind": "AgentDeployment",
        "metadata": {"name": f"w{secrets.token_hex(4)}"},
        "spec": {
            "instructions": "You repeat what you are told.",
            "channels": [
                {"name": "web", "web": {}},
                {"name": "hooks", "hmac": {"secretRef": {"name": "hooks"}, "replyURL": hooks.url}},
                {
                    "name": "standard",
                    "standardWebhooks": {"secretRef": {"name": "standard"}, "replyURL": standard.url},
                },
                {
                    "name": "feishu",
                    "feishu": {"appId": feishu.app_id, "secretRef": {"name": "feishu"}, "baseURL": feishu.url},
                },
            ],
            "gateway": gateway,
            "agent": {"replicas": 2, **agent},
            "inference": {"model": "scripted"},
            # Not the usual one, which two that start at the same moment would both find free.
            "local": {"port": Ports().pick()},
        },
    }


def _secret(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


async def _run(*arguments: str, timeout: float = 60, codes: tuple[int, ...] = (0,)) -> str:
    process = await asyncio.create_subprocess_exec(
        *HERALD,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(timeout):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise AssertionError(f"herald {arguments[0]} took more than {timeout:g} s") from None
    if process.returncode not in codes:
        raise AssertionError(f"herald {' '.join(arguments)}: exit {process.returncode}\n{out.decode()}\n{err.decode()}")
    return out.decode()
