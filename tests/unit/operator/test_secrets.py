"""Secrets: made once and kept, digested under a key, read only where something refers to them."""

import base64
from dataclasses import replace

import pytest

from herald_operator.build.naming import Object
from herald_operator.build.secrets import Wanted, lacking
from herald_operator.planning import accepting, children
from tests.resource_documents import changed
from tests.unit.operator.imagined import Imagined, resource
from tests.unit.operator.specs import OPENAI, PRODUCTION, QUICKSTART, imagined


def made(world: Imagined) -> dict[str, dict[str, str]]:
    bodies = children.secrets(world.context(), world.seen())
    return {b["metadata"]["name"]: {k: base64.b64decode(v).decode() for k, v in b["data"].items()} for b in bodies}


def test_what_is_missing_is_made_up_each_with_a_value_of_its_own() -> None:
    first = made(Imagined())
    assert set(first) == {"support-operator", "support-nats", "support-postgres", "support-web-session"}
    values = [
        first["support-operator"]["key"],
        first["support-nats"]["password"],
        first["support-postgres"]["password"],
        first["support-web-session"]["session-key"],
    ]
    assert len(set(values)) == 4
    assert all(len(v) == 48 for v in values)
    assert made(Imagined(entropy="other")) != first


def test_what_is_there_is_kept_for_ever() -> None:
    world = imagined(QUICKSTART)
    world.entropy = "other"
    assert made(world) == {}
    assert world.carry_out(world.plan()) == 0


@pytest.mark.parametrize(("name", "key"), [("support-nats", "access.conf"), ("support-postgres", "dsn")])
def test_what_is_derived_is_put_right_without_a_new_password(name: str, key: str) -> None:
    world = imagined(QUICKSTART)
    before = dict(world.secrets[name])
    world.entropy = "other"
    world.secrets[name][key] = b"edited"
    again = made(world)
    assert set(again) == {name}
    assert {k: v.encode() for k, v in again[name].items()} == before


def test_nothing_is_made_up_for_what_a_person_brings() -> None:
    assert set(made(Imagined(resource(document=OPENAI)).give())) == {"support-operator", "support-web-session"}


@pytest.mark.parametrize(("policy", "owned"), [("Retain", False), ("Delete", True)])
def test_who_keeps_the_data_keeps_its_password(policy: str, owned: bool) -> None:
    world = Imagined(resource(document=changed(QUICKSTART, {"spec.deletionPolicy": policy})))
    bodies = {b["metadata"]["name"]: b for b in children.secrets(world.context(), world.seen())}
    assert ("ownerReferences" in bodies["support-postgres"]["metadata"]) is owned
    assert "ownerReferences" in bodies["support-nats"]["metadata"]


def test_a_password_follows_the_policy_when_that_changes() -> None:
    """Found by generated ways: kept data whose password was collected with the deployment."""
    world = Imagined(resource(document=changed(QUICKSTART, {"spec.deletionPolicy": "Delete"})))
    world.rest()
    password = world.secrets["support-postgres"]["password"]
    for policy, owned in (("Retain", False), ("Delete", True)):
        world.change(deletionPolicy=policy)
        assert set(made(world)) == {"support-postgres"}
        world.rest()
        assert ("ownerReferences" in world.made_up["support-postgres"]["metadata"]) is owned
        assert world.secrets["support-postgres"]["password"] == password
        assert made(world) == {}


def test_three_servers_know_each_other() -> None:
    conf = made(Imagined(resource(document=PRODUCTION)).give())["support-nats"]["access.conf"]
    for number in range(3):
        assert f"@support-nats-{number}.support-nats-peers.team.svc:6222" in conf
    assert "cluster" not in made(Imagined())["support-nats"]["access.conf"]


def _digests(data: dict[str, bytes], key: bytes = b"k") -> str:
    world = Imagined()
    found = accepting.digests(world.deployment(), replace(world.seen(), secrets={"s": data, "none": None}), key)
    assert set(found) == {"s"}
    return found["s"]


def test_a_digest_tells_contents_apart_and_nothing_else() -> None:
    assert _digests({"a": b"1", "b": b"2"}) == _digests({"b": b"2", "a": b"1"})
    assert _digests({"a": b"1"}) != _digests({"a": b"2"})
    assert _digests({"a": b"1", "b": b""}) != _digests({"a": b"", "b": b"1"})
    assert _digests({"a": b"bc"}) != _digests({"ab": b"c"})
    assert _digests({"a": b"1"}) != _digests({"a": b"1"}, b"other"), "nobody can try values without the key"


def _annotation(world: Imagined, component: str) -> Object:
    kinds = {"gateway": "Deployment", "agent": "ReplicaSet"}
    template = world.of(kinds[component], component)[0]["spec"]["template"]
    found: Object = template["metadata"]["annotations"]
    return found


def test_another_key_of_a_channel_begins_the_gateway_anew_and_no_worker() -> None:
    world = imagined(QUICKSTART)
    before = {name: dict(_annotation(world, name)) for name in ("gateway", "agent")}
    world.secrets["support-web-session"]["session-key"] = b"another"
    world.rest()
    assert _annotation(world, "gateway") != before["gateway"]
    assert _annotation(world, "agent") == before["agent"]


def test_secrets_of_stored_revisions_are_read_too() -> None:
    world = imagined(OPENAI)
    world.change(inference={"model": "scripted"})
    assert accepting.remembered(world.seen()) == {"a-secret"}
    assert accepting.remembered(Imagined().seen()) == frozenset()


def test_every_key_that_is_lacking_is_named_and_no_value_is_typed() -> None:
    want = Wanted("chat", "spec.channels[0].feishu.secretRef.name", ("app-secret", "encrypt-key", "verification-token"))
    found = lacking(want, "team", {"app-secret": b"x", "encrypt-key": b""})
    assert found is not None
    assert found.problem == "the Secret 'chat' has no key 'encrypt-key' and no key 'verification-token'"
    assert found.command == (
        "kubectl -n team create secret generic chat --from-file=encrypt-key=FILE --from-file=verification-token=FILE "
        "--dry-run=client -o json | kubectl -n team patch secret chat --patch-file=/dev/stdin"
    )
    assert lacking(want, "team", dict.fromkeys(want.keys, b"x")) is None
