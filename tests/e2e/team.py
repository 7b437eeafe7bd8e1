"""A team that uses one AgentDeployment: its resource, its keys, its chat platform, and its load.

The platform is a pod that knows nothing of Herald, and what it was sent is judged in this process. So what was accepted
and what was answered is counted outside the product.
"""

import asyncio
import base64
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tools.cluster import Trouble

from tests.chaos.load import Load
from tests.chaos.platforms import Hmac
from tests.chaos.verdict import Verdict, judge
from tests.e2e import outside
from tests.e2e.outside import Outside
from tests.e2e.site import Object, Site
from tests.fakes.callback import Receiver

SETTLE = 180.0  # seconds for everything that was accepted to be answered


class Team:
    """`name` in `namespace`; its hmac channel is called `hooks`."""

    def __init__(self, site: Site, namespace: str, name: str) -> None:
        self.site, self.namespace, self.name = site, namespace, name
        self._secret = secrets.token_hex(16).encode()
        self._receiver = Receiver(self._secret)
        self.outside = Outside(site, namespace, self._receiver)
        self.platform = Hmac(self.outside.gateway, self._secret, self._receiver)

    def channel(self) -> Object:
        url = outside.reply_url(self.namespace)
        return {"name": "hooks", "hmac": {"secretRef": {"name": "hooks"}, "replyURL": url}}

    def surroundings(self) -> list[Object]:
        """The key of the channel, and the chat platform."""
        key = base64.b64encode(self._secret).decode()
        gateway = f"http://{self.name}-gateway.{self.namespace}.svc"
        return [
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hooks"}, "data": {"secret": key}},
            *outside.objects(self.site.images["gateway"], gateway),
        ]

    def wait_platform(self) -> None:
        def ready() -> bool:
            pod = self.site.get("pod", outside.POD, "-n", self.namespace)
            conditions = pod["status"].get("conditions") or ()
            return any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)

        self.site.until("the chat platform is ready", ready, seconds=120, namespace=self.namespace)

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
        await self.outside.caught_up()
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
        # What came twice came last.
        await self.outside.caught_up()
        said = verdict()
        assert said.accepted > 0
        assert said.clean, str(said)
        assert all(post.signed for post in self._receiver.posts), "every reply proves who wrote it"

    async def _settle(self, verdict: Callable[[], Verdict]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLE):
                while verdict().lost:
                    await asyncio.sleep(0.5)  # the time between two looks


@asynccontextmanager
async def team(site: Site, name: str) -> AsyncIterator[Team]:
    """A namespace of its own, with the team's surroundings in it; gone afterwards."""
    made = Team(site, f"{name}-{secrets.token_hex(2)}", name)
    inside = ("-n", made.namespace)
    await asyncio.to_thread(site.namespace, made.namespace)
    try:
        site.apply(*made.surroundings(), namespace=made.namespace)
        await asyncio.to_thread(made.wait_platform)
        async with made.outside:
            yield made
    finally:
        with contextlib.suppress(Trouble):
            await asyncio.to_thread(site.kubectl, "delete", "agd", "--all", *inside, "--wait", "--timeout=150s")
        await asyncio.to_thread(site.kubectl, "delete", "namespace", made.namespace, "--wait=false")
