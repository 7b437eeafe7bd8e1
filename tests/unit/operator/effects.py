"""What the operator does about a spec, in every situation in which a field may begin to matter."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from herald_operator.build.history import Revision
from herald_operator.build.history import to_object as stored
from herald_operator.build.nats import streams
from herald_operator.build.shape import shape
from herald_operator.planning import accepting
from herald_operator.planning.accepting import Refusal
from herald_operator.planning.plan import Plan
from tests.resource_documents import SMALLEST, Document, changed
from tests.unit.operator.imagined import EVERY_API, Imagined, resource
from tests.unit.operator.rollouts import IMAGES

_OTHER = "You are somebody else."
_KEPT = 25  # more than any history limit


def document(spec: dict[str, Any]) -> Document:
    return {**SMALLEST, "spec": spec}


def refusal(spec: dict[str, Any]) -> Refusal | None:
    """Why the operator would not begin with it, everything that it refers to being there."""
    made = resource(document=document(spec))
    parsed = accepting.parse(made)
    if isinstance(parsed, Refusal):
        return parsed
    resolved = accepting.resolve(parsed, Imagined(made).give().seen())
    return resolved if isinstance(resolved, Refusal) else None


def differing(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The first situation in which the operator does something else about `after`; "" where there is none."""
    # What people have put into their Secrets is the same, whoever refers to it.
    brought: dict[str, dict[str, bytes]] = {}
    for spec in (before, after):
        for name, data in _new(spec, {}).secrets.items():
            brought[name] = {**brought.get(name, {}), **data}
    if _outcome(_new(before, brought)) != _outcome(_new(after, brought)):
        return "new"
    for name, world, prompted in _situations(_new(before, brought), before):
        one, other = (_prompted(before), _prompted(after)) if prompted else (before, after)
        if _outcome(_given(world, one)) != _outcome(_given(world, other)):
            return name
    return ""


def _new(spec: dict[str, Any], secrets: dict[str, dict[str, bytes]]) -> Imagined:
    return Imagined(resource(document=document(spec)), secrets=copy.deepcopy(secrets)).give()


def _situations(world: Imagined, spec: dict[str, Any]) -> Iterator[tuple[str, Imagined, bool]]:
    """Of a deployment that was made as `spec` says; the last value tells that it is asked for another prompt by now."""
    world.rest(passes=100)
    yield "at rest", world, False
    yield "without KEDA", replace(world, apis=EVERY_API - {"ScaledObject"}), False
    moving = _given(world, _prompted(spec))
    moving.carry_out(moving.plan())
    moving.carry_out(moving.plan())
    yield "a candidate starts", moving, True
    # Until then the time that it has may be hidden behind a shorter one.
    deadline = moving.deployment().spec.rollout.progress_deadline_seconds
    yield "a candidate has a second left to start", copy.deepcopy(moving).later(deadline - 1), True
    moving.well()
    yield "a candidate is available", moving, True
    moving.ask("promote").rest(passes=100)
    yield "a candidate has taken over", moving, True
    _with_history(world)
    yield "many have answered", world, False


def _prompted(spec: dict[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in spec.items() if key != "instructionsFrom"}, "instructions": _OTHER}


def _given(world: Imagined, spec: dict[str, Any]) -> Imagined:
    new = copy.deepcopy(world)
    new.resource = changed(new.resource, {"spec": copy.deepcopy(spec)})
    return new.give()


def _outcome(world: Imagined) -> tuple[Plan, Any]:
    plan = world.plan()
    # What is only written down is no effect: the data of a stored revision.
    made = tuple({k: v for k, v in body.items() if k != "data" or _is_used(body["kind"])} for body in plan.make)
    return replace(plan, make=made), (streams(world.context()), world.made_up)


def _is_used(kind: str) -> bool:
    return kind != "ControllerRevision"


def _with_history(world: Imagined) -> None:
    context = world.context()
    kept = shape(context.deployment, IMAGES)
    for number in range(_KEPT):
        moment = world.now - timedelta(days=1, seconds=_KEPT - number)
        body = stored(context.owner, Revision(f"v1-old{number}", number, kept, moment, moment, "Successful"))
        world.children[("ControllerRevision", body["metadata"]["name"])] = body
