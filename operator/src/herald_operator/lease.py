"""One operator at a time: a Lease, and a guard that every write asks.

Our own, and not `kubernetes.aio.leaderelection`: that one measures by the wall clock, bounds no single request, and
cannot tell a writer that its time is over. Here a process that was stopped and goes on later finds its lease run out
before it writes: the clock that counts is one that does not stop with the process.
"""

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.client.api.coordination_v1_api import CoordinationV1Api
from kubernetes.aio.client.exceptions import ApiException

from herald_contracts.errors import TemporaryError
from herald_runtime import logs

DURATION = 15.0  # seconds: another may take it when it was not renewed for so long
RENEW = 4.0
_MARGIN = 3.0  # seconds before the end in which nothing is written any more
_REQUEST = 3.0
log = logs.get("lease")


class LeaseLost(TemporaryError):
    """Another operator may be at work: this one must not write."""


class Lease:
    """`acquire`, then `keep` for as long as it is to be held; `guard` before every write."""

    def __init__(self, client: ApiClient, namespace: str, name: str, holder: str) -> None:
        self._api = CoordinationV1Api(client)
        self._namespace = namespace
        self._name = name
        self._holder = holder
        self._until = 0.0
        self._version = ""
        self._seen = ("", 0.0)

    def guard(self) -> None:
        """Raises LeaseLost unless the lease is ours for some time yet."""
        if _clock() > self._until - _MARGIN:
            raise LeaseLost("the lease has run out")

    async def acquire(self) -> None:
        """Wait until the lease is ours."""
        waiting = False
        while not await self._attempt():
            if not waiting:
                log.info("standing by", holder=self._seen[0])
            waiting = True
            await asyncio.sleep(RENEW)
        log.info("leading", holder=self._holder)

    async def keep(self) -> None:
        """Renew until it cannot be done in time. Raises LeaseLost."""
        while True:
            # Not when an attempt that hangs comes to its end: by then another may lead.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._until - _MARGIN - _clock())):
                    await asyncio.sleep(RENEW)
                    if await self._attempt():
                        continue
            if _clock() > self._until - _MARGIN:
                raise LeaseLost("the lease could not be renewed in time")

    async def release(self) -> None:
        """Let another begin at once."""
        if _clock() > self._until:
            return
        self._until = 0.0
        body = self._body(0)
        body["spec"]["holderIdentity"] = ""
        body["spec"]["leaseDurationSeconds"] = 1
        await self._quietly("replace_namespaced_lease", self._name, self._namespace, body)

    async def _attempt(self) -> bool:
        """Take or renew; whether it is ours now."""
        asked = _clock()
        live: Any = await self._quietly("read_namespaced_lease", self._name, self._namespace)
        if live == "missing":
            self._version = ""
            made: Any = await self._quietly("create_namespaced_lease", self._namespace, self._body(0))
            return self._got(made, asked)
        if live is None or isinstance(live, str):
            return False
        spec = live.spec
        self._version = live.metadata.resource_version
        holder = spec.holder_identity or ""
        if holder not in ("", self._holder):
            # Its clock is not ours: what counts is how long we have seen nothing change.
            state = f"{holder} {spec.renew_time} {self._version}"
            if self._seen[0] != state:
                self._seen = (state, asked)
            if asked - self._seen[1] < (spec.lease_duration_seconds or DURATION):
                return False
        changes = spec.lease_transitions or 0
        made = await self._quietly(
            "replace_namespaced_lease",
            self._name,
            self._namespace,
            self._body(changes if holder == self._holder else changes + 1),
        )
        return self._got(made, asked)

    def _got(self, made: Any, asked: float) -> bool:
        if made is None or isinstance(made, str):
            return False
        # From before the request: the server may have counted from then.
        self._until = asked + DURATION
        self._version = made.metadata.resource_version
        return True

    def _body(self, transitions: int) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                **({"resourceVersion": self._version} if self._version else {}),
            },
            "spec": {
                "holderIdentity": self._holder,
                "leaseDurationSeconds": int(DURATION),
                "renewTime": now,
                "acquireTime": now,
                "leaseTransitions": transitions,
            },
        }

    async def _quietly(self, call: str, *arguments: Any) -> Any:
        """The answer; "missing", or None for everything that may be different the next time."""
        try:
            return await getattr(self._api, call)(*arguments, _request_timeout=_REQUEST)
        except ApiException as e:
            if e.status == 404:
                return "missing"
            if e.status not in (409,):
                log.warning("the lease is out of reach", status=e.status, reason=e.reason)
            return None
        except (aiohttp.ClientError, TimeoutError, OSError) as e:
            log.warning("the lease is out of reach", error=type(e).__name__)
            return None


def _clock() -> float:
    """Seconds that go on while the process, or the machine, is stopped."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
