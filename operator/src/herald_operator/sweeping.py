"""What the watches have missed: now and then, lists of names against what is known.

A watch begins anew after a break, and kopf then tells what there is, but never what went meanwhile: a child that
somebody removed in that moment would be believed in for ever, and not made again. Of optional kinds kopf may have
missed the beginning too (it asks once which there are, perhaps before the API server serves them), so those are read
whole.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from herald_contracts.errors import HeraldError
from herald_contracts.resources.v1alpha1 import KIND
from herald_operator.build.naming import SELECTOR, Object
from herald_operator.cluster import KINDS, Cluster
from herald_operator.queueing import Key
from herald_operator.store import Store, owner_of
from herald_runtime import logs

log = logs.get("sweeping")


@dataclass(frozen=True, slots=True)
class Sweep:
    """`namespaces` empty: all. `apis` are the optional kinds that are served; `wake` is told whose news there is."""

    cluster: Cluster
    store: Store
    namespaces: tuple[str, ...]
    apis: Callable[[], frozenset[str]]
    wake: Callable[[Key], None]

    async def run(self, every: float) -> None:
        """For ever, each `every` seconds; a server that does not answer is asked the next time."""
        while True:
            await asyncio.sleep(every)
            for name, kind in KINDS.items():
                if not kind.watched or (kind.optional and name not in self.apis()):
                    continue
                for namespace in self.namespaces or (None,):
                    try:
                        await self.look(name, namespace)
                    except HeraldError as e:
                        log.warning("cannot list", kind=name, problem=str(e))

    async def look(self, kind: str, namespace: str | None) -> None:
        """One kind. Raises HeraldError."""
        whole = KINDS[kind].optional
        answer = await self.cluster.listed(kind, namespace, {} if kind == KIND else SELECTOR, whole=whole)
        if answer is None:
            return
        items, version = answer
        there = {(key, str(item["metadata"]["name"])) for item in items if (key := _whose(item)) is not None}
        for key in self.store.missed(kind, there, version, namespace):
            log.warning("is gone, and no watch has told", kind=kind, deployment="/".join(key))
            self.wake(key)
        if whole:
            for item in items:
                owner = owner_of(item)
                if owner is not None and self.store.see_child(owner, item):
                    self.wake(owner)


def _whose(item: Object) -> Key | None:
    if item["kind"] == KIND:
        return str(item["metadata"]["namespace"]), str(item["metadata"]["name"])
    return owner_of(item)
