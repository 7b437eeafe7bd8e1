"""What is said of one look: its verdicts and fields, put together as the status. Pure."""

from collections.abc import Iterable

from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_operator.build import gateway, workers
from herald_operator.build.context import Context
from herald_operator.build.naming import Object
from herald_operator.planning import status
from herald_operator.planning.accepting import Refusal
from herald_operator.planning.observed import Observed
from herald_operator.planning.rollout import Decision
from herald_operator.planning.status import Part, Verdict


def of(context: Context, seen: Observed, parts: list[Part], decision: Decision) -> Object:
    """The status of a deployment that is accepted."""
    return _said(seen, _verdicts(context, seen, parts, decision), _fields(context, seen, parts, decision))


def of_refusal(seen: Observed, refusal: Refusal) -> Object:
    """What runs goes on, and what was last seen of it stays said, with the generation that it is about.

    Ready is false all the same: nobody looks after it now, and it is not what the spec asks for.
    """
    accepted = Verdict("Accepted", "False", refusal.reason, refusal.message)
    ready = Verdict("Ready", "False", refusal.reason, refusal.message)
    live = seen.resource.get("status") or {}
    kept = {key: value for key, value in live.items() if key not in ("observedGeneration", "phase", "conditions")}
    said = _said(seen, [accepted, ready], kept)
    others = [c for c in status.ours(live) if c["type"] not in ("Accepted", "Ready")]
    return {**said, "conditions": sorted([*others, *said["conditions"]], key=lambda c: str(c["type"]))}


def of_deletion(seen: Observed) -> Object:
    live = seen.resource.get("status") or {}
    said = {**live, "phase": "Deleting"} if live else {"phase": "Deleting"}
    if "conditions" in said:
        said["conditions"] = status.ours(live)
    return said


def with_refusals(seen: Observed, said: Object, problems: list[str]) -> Object:
    """The status of a pass in which the API server would not have everything."""
    message = "; ".join(problems)[:2_000]
    others = [c for c in said.get("conditions") or [] if c["type"] != "Ready"]
    generation = int(seen.resource["metadata"].get("generation") or 0)
    live = seen.resource.get("status") or {}
    ready = status.conditions([Verdict("Ready", "False", "ApplyFailed", message)], live, generation, seen.now)
    return {**said, "phase": "Degraded", "conditions": sorted([*others, *ready], key=lambda c: str(c["type"]))}


def with_contest(seen: Observed, said: Object, contested: Iterable[tuple[str, str]]) -> Object:
    """The status of a pass that wrote what the ones before it had written: kinds and names of what does not stay so."""
    children = sorted(contested)
    namespace, (kind, name) = seen.resource["metadata"]["namespace"], children[0]
    names = ", ".join(f"{kind} {name}" for kind, name in children[:5])
    shows = f"`kubectl -n {namespace} get {kind.lower()} {name} -o yaml --show-managed-fields` shows who"
    problem = f"somebody else changes {names} again and again: {shows}"
    conditions = [
        {**c, "message": "; ".join(text for text in (c["message"], problem) if text)} if c["type"] == "Ready" else c
        for c in said.get("conditions") or []
    ]
    return {**said, "conditions": conditions}


def _verdicts(context: Context, seen: Observed, parts: list[Part], decision: Decision) -> list[Verdict]:
    spec = context.deployment.spec
    verdicts = [Verdict("Accepted", "True", "Accepted", decision.refused), *status.of_parts(parts)]
    missing = _missing_apis(context.deployment, seen.apis)
    if missing:
        verdicts.append(Verdict("IntegrationsReady", "False", "ApiMissing", missing))
    verdicts += status.of_rollout(decision, paused=spec.paused)
    verdicts.append(status.summary(verdicts, active=decision.active, suspended=spec.suspend))
    return verdicts


def _missing_apis(deployment: AgentDeployment, apis: frozenset[str]) -> str:
    spec, missing = deployment.spec, []
    if spec.gateway.route is not None and spec.gateway.route.http_route is not None and "HTTPRoute" not in apis:
        missing.append("spec.gateway.route.httpRoute needs the Gateway API, which this cluster does not serve")
    if spec.agent.autoscaling is not None and "ScaledObject" not in apis:
        missing.append("without KEDA workers are scaled by CPU, not by the messages that wait")
    return "; ".join(missing)


def _fields(context: Context, seen: Observed, parts: list[Part], decision: Decision) -> Object:
    crew = seen.child("ReplicaSet", workers.name(context, decision.active)) if decision.active else None
    labels = context.owner.selector(workers.COMPONENT)
    components: dict[str, Object] = {}
    for part in parts:
        state = {"name": part.name, "ready": part.readiness.ready, "message": part.readiness.message}
        if part.name not in components or components[part.name]["ready"]:
            components[part.name] = state
    return {
        "activeRevision": decision.active,
        "candidateRevision": decision.candidate,
        "stableRevision": seen.messaging.record.stable if seen.messaging.record is not None else "",
        "history": status.history(decision),
        "channels": [
            {"name": c.name, "type": c.type, "callbackURL": gateway.callback_url(context, c.name)}
            for c in context.deployment.spec.channels
        ],
        "channelNames": ", ".join(c.name for c in context.deployment.spec.channels),
        "components": list(components.values()),
        "replicas": int(((crew or {}).get("status") or {}).get("readyReplicas") or 0),
        "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
    }


def _said(seen: Observed, verdicts: list[Verdict], fields: Object) -> Object:
    live = seen.resource.get("status") or {}
    generation = int(seen.resource["metadata"].get("generation") or 0)
    spec = seen.resource.get("spec") or {}
    word = status.phase(
        {v.type: v for v in verdicts},
        deleting=seen.deleting is not None,
        suspended=bool(spec.get("suspend")),
        paused=bool(spec.get("paused")),
        active=str(fields.get("activeRevision", "")),
    )
    return {
        "observedGeneration": generation,
        "phase": word,
        **fields,
        "conditions": status.conditions(verdicts, live, generation, seen.now),
    }
