"""kopf's part: watching. Events fill the store and wake the queue; everything else happens there.

No change handlers on our own resource: they would copy its whole spec into an annotation, which has room for 256 KiB
in all. No kopf finalizer, daemon or peering either (docs/adr/0008).
"""

from typing import Any, cast

import kopf
from kopf._core.reactor import inventory  # what `spawn_tasks` takes has no public name

from herald_contracts.resources.v1alpha1 import GROUP, KIND, PLURAL, VERSION
from herald_operator.build.naming import SELECTOR
from herald_operator.cluster import KINDS
from herald_operator.queueing import Queue
from herald_operator.store import Store, owner_of

_LABELS = dict(SELECTOR)


class NoDifferences(kopf.DiffBaseStorage):
    """kopf compares each object with its last one before it calls anybody, with deep copies: a third of its
    CPU. We have no handler of changes, and look at the whole each time.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        return cast(kopf.BodyEssence, {})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        """Nothing to remember."""


class NoMemories(inventory.ResourceMemories):
    """kopf keeps a kilobyte for every object it has ever seen, for daemons and resumed handlers: we have neither."""

    async def recall(
        self,
        raw_body: kopf.RawBody,
        *,
        memobase: Any = None,
        noticed_by_listing: bool = False,
        ephemeral: bool = False,
    ) -> inventory.ResourceMemory:
        return inventory.ResourceMemory(noticed_by_listing=noticed_by_listing)


def register(registry: kopf.OperatorRegistry, queue: Queue, store: Store, namespaces: bool) -> None:
    """Everything that kopf is told to do. `namespaces`: only some are watched, and nothing is listed cluster-wide."""

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 310
        settings.watching.connect_timeout = 30
        settings.watching.chunk_size = 500
        settings.networking.request_timeout = 60
        settings.queueing.exit_timeout = 0.1  # nothing waits there that the next process would not see again
        settings.posting.enabled = False  # Events are ours, on transitions
        settings.scanning.disabled = namespaces
        settings.peering.standalone = True
        settings.persistence.finalizer = f"{GROUP}/unused"
        settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
        settings.persistence.diffbase_storage = NoDifferences()
        wanted = ",".join(f"{key}={value}" for key, value in SELECTOR.items())
        for name, kind in KINDS.items():
            if kind.watched and name != KIND:
                group, _slash, version = kind.api_version.rpartition("/")
                settings.watching.label_selectors[group, version, kind.plural] = wanted

    @kopf.on.login(registry=registry)
    async def login(**given: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)

    async def told(body: kopf.Body, **_: Any) -> None:
        owner = owner_of(body)
        if owner is not None:
            store.see_child(owner, body)

    async def child(event: kopf.RawEvent, body: kopf.Body, **_: Any) -> None:
        owner = owner_of(body)
        if owner is None:
            return
        if event["type"] == "DELETED":
            store.child_gone(owner, str(body["kind"]), str(body["metadata"]["name"]), str(body["metadata"]["uid"]))
        queue.add(owner)

    for name, kind in KINDS.items():
        if kind.watched and name != KIND:
            group, _slash, version = kind.api_version.rpartition("/")
            # As an index, though it fills none: kopf calls nobody else before all that there is has gone through it.
            kopf.index(group, version, kind.plural, id="children", registry=registry, labels=_LABELS)(told)
            kopf.on.event(group, version, kind.plural, registry=registry, labels=_LABELS)(child)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def resource(event: kopf.RawEvent, body: kopf.Body, **_: Any) -> None:
        key = (str(body["metadata"]["namespace"]), str(body["metadata"]["name"]))
        if event["type"] == "DELETED":
            store.gone(key, str(body["metadata"]["uid"]))
        else:
            store.see(dict(body))
        queue.add(key)
