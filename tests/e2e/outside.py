"""What stands outside of the product: the chat platform's pod, and the way there and back.

The pod runs in the cluster, because pods of most clusters cannot reach the machine of a test. One `kubectl
port-forward` to it is all that this machine needs, on any cluster: messages go out through it, and what the platform
got is fetched through it into a `Receiver`, which checks and counts. No test kills that pod.
"""

import asyncio
import base64
import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import aiohttp

from tests.e2e.site import Object, Site
from tests.fakes.callback import Receiver

POD = "platform"
# Of the pod and of its Service: a NetworkPolicy is asked about the pod's port, not about the Service's.
PORT = 8080
_SCRIPT = Path(__file__).with_name("chat_platform.py")
_LISTENS = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
_AGAIN = 0.5  # seconds before something that broke is tried again


def reply_url(namespace: str) -> str:
    return f"http://{POD}.{namespace}.svc:{PORT}/replies"


def objects(image: str, gateway: str) -> Sequence[Object]:
    """The platform in a team's namespace. It passes Pod Security `restricted`; `image` has Python and tini."""
    labels = {"app": POD}
    container = {
        "name": POD,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        # tini, so that it ends when it is told to.
        "command": ["tini", "--", "python", f"/script/{_SCRIPT.name}"],
        "args": [f"--port={PORT}", f"--gateway={gateway}"],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "script", "mountPath": "/script"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        # A second one would know nothing of what the first was sent, and nobody would notice.
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 2,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "script", "configMap": {"name": POD}}],
    }
    ports = [{"port": PORT, "targetPort": PORT, "protocol": "TCP"}]
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": POD},
            "data": {_SCRIPT.name: _SCRIPT.read_text()},
        },
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": POD, "labels": labels}, "spec": pod},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": POD},
            "spec": {"selector": labels, "ports": ports},
        },
    ]


class Outside:
    """`async with Outside(...)` while the pod is ready: `receiver` gets every post, in order."""

    def __init__(self, site: Site, namespace: str, receiver: Receiver) -> None:
        self._site, self._namespace, self._receiver = site, namespace, receiver
        self._base = ""
        self._next = 0
        self._one = asyncio.Lock()
        self._open = asyncio.Event()
        self._said: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        self._tasks = [asyncio.create_task(self._forward()), asyncio.create_task(self._follow())]
        try:
            async with asyncio.timeout(60):
                await self._open.wait()
        except BaseException as e:
            await self._end()
            if isinstance(e, TimeoutError):
                raise AssertionError(f"no port-forward to the platform: {self._said[-3:]}") from None
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()
        for outcome in ended:
            if isinstance(outcome, Exception):
                raise outcome

    def gateway(self) -> str:
        """Address of the gateway, as this machine reaches it. It changes when the port-forward begins anew."""
        return f"{self._base}/gateway"

    async def caught_up(self) -> None:
        """Return once the receiver has all that had reached the platform before."""
        async with asyncio.timeout(60):
            while await self._pull_or_wait(0) != 0:
                pass

    def cut(self) -> None:
        """End the port-forward, as a connection that breaks does; it begins anew by itself."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    async def _follow(self) -> None:
        await self._open.wait()
        while True:
            await self._pull_or_wait(1)

    async def _pull_or_wait(self, wait: float) -> int | None:
        """How many posts came; None when the way there was closed."""
        try:
            return await self._pull(wait)
        except TimeoutError:
            # It was open, and nothing came through.
            self.cut()
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(_AGAIN)
        return None

    async def _pull(self, wait: float) -> int:
        # One at a time: two would count the same post twice.
        async with self._one:
            asked = {"after": str(self._next), "wait": str(wait)}
            async with self._http.get(f"{self._base}/posts", params=asked) as answer:
                answer.raise_for_status()
                page = await answer.json()
            for post in page["posts"]:
                await self._receiver.take(dict(post["headers"]), base64.b64decode(post["body"]))
                self._next += 1
        return len(page["posts"])

    async def _forward(self) -> None:
        """One port-forward after the other: kubectl's ends when a connection breaks, or the API server goes away."""
        command = ("port-forward", f"pod/{POD}", "-n", self._namespace, "--address=127.0.0.1", f":{PORT}")
        while True:
            self._process = process = await asyncio.create_subprocess_exec(
                str(self._site.client.program("kubectl")),
                *command,
                env=self._site.client.environment(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            assert process.stdout is not None
            try:
                # Read to the end: it says something for each connection, and would stop when nobody listened.
                async for line in process.stdout:
                    text = line.decode()
                    if found := _LISTENS.search(text):
                        self._base = f"http://127.0.0.1:{found[1]}"
                        self._open.set()
                    elif not text.startswith("Handling connection"):
                        self._said.append(text.strip())
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
                await process.wait()
            await asyncio.sleep(_AGAIN)
