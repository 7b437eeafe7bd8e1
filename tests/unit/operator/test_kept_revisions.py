"""While a new revision is being tried the old one answers: nothing of what it needs may change under it."""

import copy
from dataclasses import asdict, replace
from typing import Any

import pytest

from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_contracts.resources.v1alpha1.inference import Inference
from herald_operator.build import settings
from herald_operator.build.context import DefaultImages
from herald_operator.build.history import from_object, to_object
from herald_operator.build.naming import Object
from herald_operator.build.shape import shape
from herald_operator.planning import plan as planning
from herald_operator.planning import status
from herald_operator.planning.difference import differs, stamped
from tests.resource_documents import GONE, changed
from tests.unit.operator.imagined import Imagined, resource
from tests.unit.operator.rollouts import CONTEXT, IMAGES
from tests.unit.operator.specs import ALL, ON_CPU, OPENAI, PRODUCTION, QUICKSTART, imagined

_OPENAI = {
    "model": "m",
    "backend": "openai",
    "openai": {"baseURL": "https://models.example.com/v1", "secretRef": {"name": "model-key"}},
}
_GPU = PRODUCTION["spec"]["inference"]
_CPU = ON_CPU["spec"]["inference"]


@pytest.mark.parametrize(
    ("document", "changes"),
    [
        (QUICKSTART, {"instructions": "Other."}),
        (QUICKSTART, {"inference": _OPENAI}),
        (QUICKSTART, {"inference": _GPU}),
        (QUICKSTART, {"agent": {"memory": {"enabled": False}}}),
        (QUICKSTART, {"images": {"agent": "other:1", "inference": "other:2"}}),
        (OPENAI, {"inference": {"model": "scripted"}}),
        (OPENAI, {"inference": _OPENAI | {"openai": {"baseURL": "https://other.example:8443/v1"}}}),
        (PRODUCTION, {"inference": _OPENAI}),
        (PRODUCTION, {"inference": _CPU}),
        (PRODUCTION, {"inference__gpu__count": 4}),
        (ON_CPU, {"inference": _OPENAI}),
        (ON_CPU, {"inference": _GPU}),
        (ON_CPU, {"inference__temperature": 0.1}),
    ],
)
def test_who_answers_is_left_alone_until_it_is_replaced(document: Object, changes: dict[str, Any]) -> None:
    world = imagined(document)
    world.later(60).rest()
    before, active = copy.deepcopy(world.children), world.record and world.record.active
    pods = {p["metadata"]["name"] for p in world.pods}
    world.change(**changes)
    for _ in range(4):
        world.carry_out(world.plan())
    assert world.record is not None
    assert (world.record.active, world.record.candidate != "") == (active, True)
    for key, body in before.items():
        component = body["metadata"]["labels"]["app.kubernetes.io/component"]
        if component not in ("agent", "inference", "milvus") or key[0] in ("NetworkPolicy", "HTTPRoute"):
            continue
        assert key in world.children, f"{key} is gone"
        assert world.children[key].get("spec") == body.get("spec"), key
        assert world.children[key].get("data") == body.get("data"), key
    assert pods <= {p["metadata"]["name"] for p in world.pods}, "no worker of it is replaced"


def _way_out(world: Imagined, component: str) -> list[Object]:
    policy = world.children["NetworkPolicy", f"support-{component}"]
    rules: list[Object] = policy["spec"].get("egress", [])
    return rules


@pytest.mark.parametrize(
    ("document", "changes"),
    [
        (OPENAI, {"inference": {"model": "scripted"}}),
        (OPENAI, {"inference": _OPENAI | {"openai": {"baseURL": "https://other.example:8443/v1"}}}),
        (QUICKSTART, {"agent": {"memory": {"enabled": False}}}),
        (PRODUCTION, {"inference": _OPENAI}),
    ],
)
def test_the_ways_of_who_answers_stay_open(document: Object, changes: dict[str, Any]) -> None:
    world = imagined(document)
    world.later(60).rest()
    before = {name: _way_out(world, name) for name in ("agent", "inference")}
    world.change(**changes)
    world.carry_out(world.plan())
    for name, rules in before.items():
        for rule in rules:
            assert rule in _way_out(world, name)
    world.rest()
    world.later(60).rest()
    world.later(60).rest()
    assert any(rule not in _way_out(world, name) for name, rules in before.items() for rule in rules), "not for ever"


def test_a_revision_is_stored_and_read_as_it_was() -> None:
    world = imagined(PRODUCTION)
    body = world.of("ControllerRevision")[0]
    known = from_object(body)
    assert known is not None
    assert to_object(world.context().owner, known)["data"] == body["data"]


def test_a_revision_of_an_older_herald_is_written_back_as_it_is() -> None:
    """An API server takes no other data for a ControllerRevision: a field that a later Herald adds must not show."""
    world = imagined(QUICKSTART)
    body = world.of("ControllerRevision")[0]
    del body["data"]["inference"]["max_batch_size"]
    known = from_object(body)
    assert known is not None
    assert known.shape is not None
    assert to_object(world.context().owner, known)["data"] == body["data"]
    world.rest()
    assert world.of("ControllerRevision")[0]["data"] == body["data"]


@pytest.mark.parametrize("data", [None, [], {"version": 99}, {"version": 1, "instructions": "Be kind."}])
def test_the_wanted_revision_is_stored_anew_when_it_cannot_be_read(data: Any) -> None:
    """An API server takes no other data for it: it has to go first."""
    world = imagined(QUICKSTART)
    world.later(60).rest()
    before, crew = world.of("ControllerRevision")[0], copy.deepcopy(world.of("ReplicaSet"))
    garbled = world.children["ControllerRevision", before["metadata"]["name"]] = copy.deepcopy(before)
    garbled["data"] = data
    plan = world.plan()
    assert plan.anew == (garbled,)
    assert before["metadata"]["name"] in [o["metadata"]["name"] for o in plan.make if o["kind"] == before["kind"]]
    world.rest()
    assert world.of("ControllerRevision") == [before]
    assert world.of("ReplicaSet") == crew, "and nothing that runs has noticed"
    assert world.plan().anew == ()


def test_an_older_revision_that_cannot_be_read_is_said_once() -> None:
    world = imagined(QUICKSTART)
    world.later(60).rest()
    old = world.of("ControllerRevision")[0]["metadata"]
    world.change(instructions="Other.").rest()
    world.later(60).rest()
    world.children["ControllerRevision", old["name"]]["data"] = {"version": 99}
    plan = world.plan()
    assert (plan.anew, plan.delete) == ((), ()), "a newer Herald may read it"
    [event] = status.transitions(plan.status, world.resource["status"])
    assert event[:2] == ("Warning", "RevisionUnreadable")
    assert event[2].startswith(f"{old['labels']['herald.dev/revision']}: what is stored of it cannot be read")
    world.carry_out(plan)
    assert event[2].endswith(world.resource["status"]["history"][1]["message"])
    assert status.transitions(world.plan().status, world.resource["status"]) == []


def test_everything_that_shapes_answers_is_stored_defaults_too() -> None:
    """A later Herald may have other defaults."""
    stored = shape(CONTEXT.deployment, IMAGES).dump()
    assert set(stored["inference"]) == set(Inference.model_fields)


@pytest.mark.parametrize(
    ("document", "changes"),
    [
        (QUICKSTART, {"agent": {"replicas": 9, "concurrency": 3, "resources": {"requests": {"cpu": "1"}}}}),
        (QUICKSTART, {"gateway": {"replicas": 9}, "logLevel": "debug", "deletionPolicy": "Delete"}),
        (QUICKSTART, {"rollout": {"autoPromote": False}, "paused": True, "suspend": True}),
        (QUICKSTART, {"images": {"nats": "other:1", "gateway": "other:1", "pullPolicy": "Always"}}),
        (QUICKSTART, {"messaging": {"nats": {"managed": {"replicas": 3}}}}),
        (PRODUCTION, {"inference__replicas": 4, "inference__resources": GONE, "inference__cache": GONE}),
        (PRODUCTION, {"inference__gpu__nodeSelector": {"a": "b"}, "inference__gpu__tolerations": []}),
    ],
)
def test_what_does_not_shape_answers_makes_no_revision(document: Object, changes: dict[str, Any]) -> None:
    paths = {f"spec.{path.replace('__', '.')}": value for path, value in changes.items()}
    assert settings.revision(deployment(document)) == settings.revision(deployment(changed(document, paths)))


def deployment(document: Object) -> AgentDeployment:
    return Imagined(resource(document=document)).give().deployment()


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("quickstart", "v1-4jdsntrhvpvf"),
        ("production", "v1-gzel6xwr5eg5"),
        ("openai", "v1-wzay37p2hdox"),
        ("cpu", "v1-e5teqntvgawx"),
        ("managed", "v1-lt64vclaoux6"),
    ],
)
def test_an_upgrade_of_the_operator_makes_no_revision(name: str, golden: str) -> None:
    """These values may never change: each deployment in the world would get new workers at once."""
    assert settings.revision(deployment(ALL[name])) == golden


def test_the_operators_own_images_make_no_revision() -> None:
    world = imagined(QUICKSTART)
    newer = DefaultImages(**{**asdict(IMAGES), "agent": "herald-agent:2", "inference_cpu": "herald-inference:2"})
    context = replace(world.context(), images=newer)
    plan = planning.make(context, world.seen())
    live = {key: body for key, body in world.children.items() if key[0] in ("ReplicaSet", "Deployment")}
    for body in plan.make:
        if (body["kind"], body["metadata"]["name"]) in live and "gateway" not in body["metadata"]["name"]:
            assert not differs(stamped(body), live[body["kind"], body["metadata"]["name"]])
    assert plan.status["candidateRevision"] == ""
