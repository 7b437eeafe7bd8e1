"""Objects as small as they get come back as they were."""

import json

import pytest

from herald_operator.build.naming import Object
from herald_operator.packing import Packing, identity
from tests.unit.operator.specs import QUICKSTART, imagined


def child(name: str, **more: object) -> Object:
    labels = {"app.kubernetes.io/component": name}
    return {
        "kind": "ConfigMap",
        "metadata": {"name": name, "uid": "u", "resourceVersion": "7", "labels": labels},
        **more,
    }


@pytest.fixture(scope="module")
def children() -> list[Object]:
    """Those of a deployment at rest."""
    world = imagined(QUICKSTART)
    world.rest()
    for number, body in enumerate(world.children.values()):
        body["metadata"] |= {"resourceVersion": str(number), "creationTimestamp": "2026-11-22T12:00:00Z"}
    return list(world.children.values())


def test_what_comes_back_is_what_was_given(children: list[Object]) -> None:
    packing = Packing()
    packed = [packing.pack(body) for _ in range(2) for body in children]
    assert [packing.unpack(data) for data in packed] == [*children, *children]
    assert [identity(data) for data in packed[: len(children)]] == [
        (body["metadata"]["uid"], int(body["metadata"]["resourceVersion"])) for body in children
    ]


def test_a_second_deployment_costs_little(children: list[Object]) -> None:
    packing = Packing()
    for body in children:
        packing.pack(body)
    others = [json.loads(json.dumps(body).replace("support", "another")) for body in children]
    size = sum(len(packing.pack(body)) for body in others)
    assert size < sum(len(json.dumps(body)) for body in others) / 5


def test_of_a_pod_its_spec_is_not_kept_and_of_none_who_wrote_which_field() -> None:
    packing = Packing()
    pod = {**child("a", spec={}, status={"phase": "Running"}), "kind": "Pod"}
    pod["metadata"]["managedFields"] = [{"manager": "herald"}]
    seen = packing.unpack(packing.pack(pod))
    assert ("spec" in seen, seen["status"], "managedFields" in seen["metadata"]) == (False, {"phase": "Running"}, False)
    assert "spec" in packing.unpack(packing.pack(child("a", spec={})))


def test_names_of_components_that_others_make_up_do_not_make_it_grow() -> None:
    packing = Packing()
    bodies = [child(f"component-{number}") for number in range(1_000)]
    packed = [packing.pack(body) for body in bodies]
    assert [packing.unpack(data) for data in packed] == bodies
    assert len(packing._samples) < 300
