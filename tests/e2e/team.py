"""A team that uses one AgentDeployment: its resource, its keys, its chat platform outside the cluster, and its load.

The platform is on this machine, where pods reach it through a Service that has no pods of its own. So what was accepted
and what was answered is counted outside the product, and outside the cluster.
"""

import asyncio
import base64
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from tools.cluster import Trouble

from tests.chaos.load import Load
from tests.chaos.platforms import Hmac
from tests.chaos.verdict import Verdict, judge
from tests.e2e.site import Object, Site
from tests.fakes.callback import Receiver

SETTLE = 180.0  # seconds for everything that was accepted to be answered


class Team:
    """`name` in `namespace`; its hmac channel is called `hooks`."""

    def __init__(self, site: Site, namespace: str, name: str, receiver: Receiver, secret: bytes) -> None:
        self.site, self.namespace, self.name = site, namespace, name
        self.receiver = receiver
        self.platform = Hmac(self.gateway, secret, receiver)
        self._secret = secret

    def gateway(self) -> str:
        """Address of the gateway's Service, as this machine reaches it."""
        service = self.site.get("service", f"{self.name}-gateway", "-n", self.namespace)
        return f"http://{service['spec']['clusterIP']}"

    def channel(self) -> Object:
        port = urlsplit(self.receiver.url).port
        url = f"http://platform.{self.namespace}.svc:{port}{urlsplit(self.receiver.url).path}"
        return {"name": "hooks", "hmac": {"secretRef": {"name": "hooks"}, "replyURL": url}}

    def surroundings(self) -> list[Object]:
        """The key of the channel, and the Service by which pods reach this machine."""
        port = urlsplit(self.receiver.url).port
        address = self.site.cluster.settings.address
        key = base64.b64encode(self._secret).decode()
        service = {"name": "platform", "labels": {"kubernetes.io/service-name": "platform"}}
        return [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hooks"}, "data": {"secret": key}},
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "platform"},
                "spec": {"ports": [{"port": port, "targetPort": port, "protocol": "TCP"}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": service,
                "addressType": "IPv4",
                "ports": [{"port": port, "protocol": "TCP"}],
                "endpoints": [{"addresses": [address]}],
            },
        ]

    def resource(self, **spec: Any) -> Object:
        """The team's AgentDeployment: small, quick, with the scripted model."""
        wanted = {
            "instructions": "You answer questions.",
            "channels": [self.channel()],
            "inference": {"model": "scripted"},
            "rollout": {"scaleDownDelaySeconds": 5, "progressDeadlineSeconds": 120},
            "deletionPolicy": "Delete",
            **spec,
        }
        return {
            "apiVersion": "herald.dev/v1alpha1",
            "kind": "AgentDeployment",
            "metadata": {"name": self.name},
            "spec": wanted,
        }

    def patch(self, change: Mapping[str, Any]) -> None:
        """A merge patch of the spec."""
        self.site.kubectl(
            "patch", "agd", self.name, "-n", self.namespace, "--type=merge", "-p", json.dumps({"spec": change})
        )

    def status(self) -> Object:
        body = self.site.get("agd", self.name, "-n", self.namespace)
        found: Object = (body or {}).get("status") or {}
        return found

    def condition(self, kind: str) -> Object:
        conditions: list[Object] = self.status().get("conditions") or []
        return next((c for c in conditions if c["type"] == kind), {})

    def ready(self) -> bool:
        body = self.site.get("agd", self.name, "-n", self.namespace)
        status = body.get("status") or {}
        current = status.get("observedGeneration") == body["metadata"]["generation"]
        return current and self.condition("Ready").get("status") == "True"

    def wait_ready(self, seconds: float = 180) -> float:
        return self.site.until(f"{self.name} is Ready", self.ready, seconds=seconds, namespace=self.namespace)

    def wait_promoted(self, before: str, seconds: float = 180) -> str:
        """Until another revision than `before` answers and the spec asks for no other; its name."""

        def look() -> bool:
            status = self.status()
            return status.get("activeRevision") not in ("", before, None) and not status.get("candidateRevision")

        self.site.until(f"{before} is replaced", look, seconds=seconds, namespace=self.namespace)
        return str(self.status()["activeRevision"])

    def pods(self, component: str) -> list[Object]:
        selector = f"app.kubernetes.io/instance={self.name},app.kubernetes.io/component={component}"
        items: list[Object] = self.site.get("pods", "-n", self.namespace, "-l", selector)["items"]
        return items

    @asynccontextmanager
    async def load(self, *, conversations: int = 8, pause: float = 0.3) -> AsyncIterator[Load]:
        """A steady load while the block runs; then all that was accepted must have been answered, once, in order."""
        earlier = {answer.event for answer in self.platform.inbox()}
        load = Load([self.platform], conversations=conversations, pause=pause)

        def verdict() -> Verdict:
            return judge(load.sent, [a for a in load.inbox() if a.event not in earlier], expected={})

        running = asyncio.create_task(load.run())
        try:
            yield load
            await load.stop()
            await self._settle(verdict)
        finally:
            load.release()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
        said = verdict()
        assert said.accepted > 0
        assert said.clean, str(said)

    async def _settle(self, verdict: Callable[[], Verdict]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE):
                while verdict().lost:
                    await asyncio.sleep(0.5)  # the time between two looks


@asynccontextmanager
async def team(site: Site, name: str) -> AsyncIterator[Team]:
    """A namespace of its own, with the team's surroundings in it; gone afterwards."""
    namespace = f"{name}-{secrets.token_hex(2)}"
    secret = secrets.token_hex(16).encode()
    async with Receiver(secret, host=site.cluster.settings.address) as receiver:
        made = Team(site, namespace, name, receiver, secret)
        await asyncio.to_thread(site.namespace, namespace)
        site.apply(*made.surroundings(), namespace=namespace)
        try:
            yield made
        finally:
            with contextlib.suppress(Trouble):
                await asyncio.to_thread(
                    site.kubectl, "delete", "agd", "--all", "-n", namespace, "--wait", "--timeout=150s"
                )
            await asyncio.to_thread(site.kubectl, "delete", "namespace", namespace, "--wait=false")
