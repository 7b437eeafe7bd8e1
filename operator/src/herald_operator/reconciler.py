"""One deployment, one pass: look, plan, carry out. Each pass may be the first or the tenth: it does what is missing."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from herald_contracts.errors import HeraldError, PermanentError
from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_operator.build import cloudnativepg, nats, postgres
from herald_operator.build.context import Context, DefaultImages
from herald_operator.build.naming import APPLIED, DEPLOYMENT, FINALIZER, Object, Owner, owner
from herald_operator.cluster import Cluster, NameTaken, Refused, Unavailable
from herald_operator.contest import Contest, Write
from herald_operator.messenger import Messenger
from herald_operator.planning import accepting, children, components, deletion, plan, report
from herald_operator.planning.accepting import Refusal
from herald_operator.planning.difference import differs, stamped
from herald_operator.planning.observed import Observed
from herald_operator.planning.plan import Plan
from herald_operator.planning.status import differs as status_differs
from herald_operator.planning.status import transitions
from herald_operator.queueing import Key
from herald_operator.store import Store, belongs
from herald_runtime import logs

RESYNC = 60.0  # seconds: Secrets are asked for, not watched; and nothing is trusted for ever
_AFTER_REFUSAL = 30.0
_ENOUGH = 3  # failures in one look: then it is not one kind, but the API server
_AT_ONCE = 0.05
log = logs.get("reconciler")


@dataclass(slots=True)
class Reconciler:
    """`reconcile` is the queue's work. `apis` are the optional kinds that the cluster serves."""

    cluster: Cluster
    store: Store
    messenger: Messenger
    images: DefaultImages
    apis: Callable[[], frozenset[str]]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    resync: float = RESYNC
    writes: int = field(default=0)
    contest: Contest = field(default_factory=Contest)

    async def reconcile(self, key: Key) -> float | None:
        """Bring one deployment closer to its spec; after how many seconds to look again. Raises HeraldError."""
        resource = self.store.resource(key)
        if resource is None:
            self.messenger.forget(key)
            self.contest.forget(key)
            return None
        found, pods = self.store.children(key, resource["metadata"]["uid"])
        seen = Observed(resource, self.now(), found, pods, apis=self.apis())
        if seen.deleting is not None:
            return await self._carry_out(key, seen, plan.deleting(await self._with_data(seen)))
        deployment = accepting.parse(resource)
        if isinstance(deployment, Refusal):
            return await self._carry_out(key, seen, plan.refused(seen, deployment))
        return await self._accepted(key, seen, deployment)

    async def _with_data(self, seen: Observed) -> Observed:
        """What holds data, and what opens them: no watch tells of Secrets, nor of the volumes of StatefulSets, which
        have too few labels; and one of CloudNativePG's may be missing.
        """
        metadata = seen.resource["metadata"]
        mine = Owner(metadata["namespace"], metadata["name"], metadata["uid"])
        claims = await self.cluster.listed(deletion.CLAIM, mine.namespace, {DEPLOYMENT: mine.name})
        found = [*claims[0]] if claims is not None else []
        kinds = ("Secret", cloudnativepg.KIND) if cloudnativepg.KIND in seen.apis else ("Secret",)
        for kind in kinds:
            body = await self.cluster.get(kind, mine.namespace, mine.child(postgres.COMPONENT))
            found += [body] if body is not None and belongs(body, mine) else []
        return replace(seen, children={**seen.children, **{(b["kind"], b["metadata"]["name"]): b for b in found}})

    async def _accepted(self, key: Key, seen: Observed, deployment: AgentDeployment) -> float | None:
        uid = seen.resource["metadata"]["uid"]
        paused = deployment.spec.paused
        seen = await self._read(seen, deployment, uid)
        resolved = accepting.resolve(deployment, seen)
        if isinstance(resolved, Refusal):
            return await self._carry_out(key, seen, plan.refused(seen, resolved))
        restart = seen.annotations.get("herald.dev/restart", "")
        context = Context(resolved, uid, self.images, restart=restart)
        if not paused:
            try:
                seen = await self._make_secrets(context, seen)
            except (Refused, NameTaken) as e:
                return await self._carry_out(key, seen, plan.refused(seen, Refusal("ApplyFailed", str(e))))
        hidden = (seen.secrets.get(children.operator_secret(context)) or {}).get("key", b"")
        context = replace(context, secrets=accepting.digests(resolved, seen, hidden))
        login = seen.secrets.get(context.nats_secret) if context.nats_secret is not None else None
        if components.messaging_ready(context, seen).ready and not (resolved.spec.suspend and nats.managed(context)):
            pods = seen.pods_with(context.owner.selector(nats.COMPONENT))
            incarnation = ",".join(sorted(str(p["metadata"]["uid"]) for p in pods))
            seen = replace(seen, messaging=await self.messenger.look(context, login, incarnation))
        decided = plan.held(context, seen) if paused else plan.make(context, seen)
        try:
            return await self._carry_out(key, seen, decided, context, login)
        except HeraldError:
            self.messenger.forget(key)
            raise

    async def _read(self, seen: Observed, deployment: AgentDeployment, uid: str) -> Observed:
        """The Secrets and ConfigMaps that the deployment refers to, and those that we make."""
        mine = owner(deployment, uid)
        secret_names, text_names = accepting.referenced(deployment)
        names = {
            *secret_names,
            *accepting.remembered(seen),
            mine.child("nats"),
            mine.child("postgres"),
            mine.child("operator"),
        }
        found: dict[str, dict[str, bytes] | None] = {}
        bound: set[str] = set()
        for name in sorted(names):
            body = await self.cluster.get("Secret", mine.namespace, name)
            found[name] = accepting.decoded(body)
            if body is not None and any(r["uid"] == uid for r in body["metadata"].get("ownerReferences") or ()):
                bound.add(name)
        texts: dict[str, dict[str, str] | None] = {}
        for name in sorted(text_names):
            body = await self.cluster.get("ConfigMap", mine.namespace, name)
            texts[name] = dict(body.get("data") or {}) if body is not None else None
        seen = replace(seen, secrets=found, bound=frozenset(bound), texts=texts, entropy=secrets.token_hex(32))
        if deployment.spec.database.cloud_native_pg is None or cloudnativepg.KIND not in seen.apis:
            return seen
        # Its status is waited for, and a watch may have missed that its type came: kopf asks once, and perhaps before
        # the API server serves it; with namespaces of its own the operator does not ask at all.
        live = await self.cluster.get(cloudnativepg.KIND, mine.namespace, mine.child(cloudnativepg.COMPONENT))
        others = {key: body for key, body in seen.children.items() if key[0] != cloudnativepg.KIND}
        mine_too = {(live["kind"], live["metadata"]["name"]): live} if live is not None and belongs(live, mine) else {}
        return replace(seen, children={**others, **mine_too})

    async def _make_secrets(self, context: Context, seen: Observed) -> Observed:
        """First of all, because the digests of pods count them in."""
        made = dict(seen.secrets)
        for wanted in children.secrets(context, seen):
            name = wanted["metadata"]["name"]
            # Of those that do not go with the deployment nobody knows yet whose they are.
            answer = await self.cluster.apply(wanted, new=name not in seen.bound)
            made[name] = accepting.decoded(answer)
            self.writes += 1
        return replace(seen, secrets=made)

    async def _carry_out(
        self,
        key: Key,
        seen: Observed,
        decided: Plan,
        context: Context | None = None,
        login: Mapping[str, bytes] | None = None,
    ) -> float | None:
        resource, said, writes = seen.resource, decided.status, self.writes
        written: list[Write] = []
        refusals: list[PermanentError] = []
        failures: list[Unavailable] = []
        if decided.finalizer is True:
            resource = await self._finalizers(resource, [*seen.finalizers, FINALIZER])
        for old in decided.anew:
            log.warning("cannot be read and is made anew", deployment="/".join(key), child=old["metadata"]["name"])
            await self.cluster.delete(old)
            self.writes += 1
        removed = {(old["kind"], old["metadata"]["name"]) for old in decided.anew}
        for wanted in decided.make:
            kind, name = wanted["kind"], wanted["metadata"]["name"]
            ready = stamped(wanted)
            live = seen.child(kind, name) if (kind, name) not in removed else None
            why = differs(ready, live)
            if not why:
                continue
            log.debug("applying", deployment="/".join(key), child=f"{kind}/{name}", because=why)
            try:
                answer = await self.cluster.apply(ready, new=live is None)
            except (Refused, NameTaken) as e:
                refusals.append(type(e)(f"{kind} {name}: {e}"))
                continue
            except Unavailable as e:
                # Perhaps this kind's only: a webhook that is down, say. The others need not wait for it.
                failures.append(e)
                if len(failures) == _ENOUGH:
                    raise
                if live is None:
                    refusals.append(Refused(f"{kind} {name}: {e}"))
                continue
            self.writes += 1
            self.store.see_child(key, answer)
            written.append((kind, name, ready["metadata"]["annotations"][APPLIED]))
        written += await self._scale(key, seen, decided)
        for live, change in decided.patch:
            await self.cluster.patch(live, change)
            self.writes += 1
        for unwanted in decided.delete:
            await self.cluster.delete(unwanted)
            self.writes += 1
            written.append((unwanted["kind"], unwanted["metadata"]["name"], "deleted"))
        if decided.record is not None and context is not None and not refusals:
            await self.messenger.switch(context, login, seen.messaging, decided.record)
            log.info("record written", deployment="/".join(key), active=decided.record.active)
        if decided.consume:
            names = tuple(f"herald.dev/{name}" for name in decided.consume)
            resource = self._noted(await self.cluster.patch_metadata(resource, drop=names), resource)
        if decided.declined:
            # A condition would be gone with the annotation, at the next look.
            await self._tell(resource, "Warning", "CommandDeclined", decided.declined)
        if refusals:
            said = report.with_refusals(seen, said, [str(e) for e in refusals])
        moving = self.writes != writes and not refusals and seen.deleting is None
        note = self.contest.note(key, written, time.monotonic(), moving=moving)
        if note.early:
            # What would be said is about the time before these writes: look once more, then say it.
            return _AT_ONCE
        if note.children:
            said = report.with_contest(seen, said, note.children)
        await self._say(resource, said)
        if failures:
            raise failures[0]
        if decided.finalizer is False:
            left = [name for name in seen.finalizers if name != FINALIZER]
            current = self.store.resource(key) or resource
            # Its answer is about one that is gone: not to be remembered.
            await self.cluster.patch_metadata(current, finalizers=left)
            self.writes += 1
            return None
        if seen.deleting is not None:
            return decided.again
        again = [self.resync * (0.9 + 0.2 * secrets.randbelow(1_000) / 1_000)]
        again += [decided.again] if decided.again is not None else []
        again += [_AFTER_REFUSAL] if refusals else []
        # What was just written about the rollout is a reason to look again, and no watch tells of it.
        again += [note.again] if note.again is not None else []
        again += [_AT_ONCE] if moving or (decided.record is not None and not refusals) else []
        return min(again)

    async def _scale(self, key: Key, seen: Observed, decided: Plan) -> list[Write]:
        written: list[Write] = []
        made = self.store.children(key, seen.resource["metadata"]["uid"])[0]
        for scale in decided.scale:
            live = made.get((scale.kind, scale.name))
            if live is None or int(live["spec"].get("replicas", 1)) == scale.replicas:
                continue
            self.store.see_child(key, await self.cluster.scale(live, scale.replicas))
            self.writes += 1
            written.append((scale.kind, scale.name, f"{scale.replicas} replicas"))
        return written

    async def _finalizers(self, resource: Object, names: list[str]) -> Object:
        answer = await self.cluster.patch_metadata(resource, finalizers=names)
        self.writes += 1
        return self._noted(answer, resource)

    async def _say(self, resource: Object, said: Object) -> None:
        live = resource.get("status") or {}
        if not said or not status_differs(said, live):
            return
        answer = await self.cluster.patch_status(resource, said)
        self.writes += 1
        self._noted(answer, resource)
        for kind, reason, message in transitions(said, live):
            await self._tell(resource, kind, reason, message)

    async def _tell(self, resource: Object, kind: str, reason: str, message: str) -> None:
        """The status says it too: no Event is worth stopping for."""
        try:
            await self.cluster.event(resource, kind, reason, message)
        except (Unavailable, Refused) as e:
            log.warning("an Event is not taken", reason=reason, problem=str(e))

    def _noted(self, answer: Object | None, resource: Object) -> Object:
        if answer is None:
            return resource
        self.store.see(answer)
        return answer
