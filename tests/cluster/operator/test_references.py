"""Secrets and ConfigMaps that people keep: missing, mended, changed. They are asked for, not watched."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.cluster import Cluster

from tests.cluster.operator import operators
from tests.cluster.operator.api import Object
from tests.cluster.operator.documents import LOGIN
from tests.cluster.operator.operators import Operator
from tests.cluster.operator.places import Place, conditions_of, soon

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("operator")]

_HOOKS = [
    {"name": "web", "web": {}},
    {"name": "hooks", "hmac": {"secretRef": {"name": "hooks"}, "replyURL": "https://example.com/replies"}},
]


@pytest.fixture(scope="module")
def operator(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """One that looks again every two seconds, not every minute."""
    with operators.running(tmp_path_factory.mktemp("operator"), kubeconfig, "--resync=2") as made:
        yield made
    assert made.complaints() == []


async def test_a_missing_secret_is_named_with_the_command_that_makes_it(
    place: Place, fake_cluster: Cluster, tmp_path: Path
) -> None:
    await place.create(place.document(channels=_HOOKS))
    said = await place.says("Accepted", "False", "ReferenceMissing")
    assert "spec.channels[1].hmac.secretRef.name" in said["message"]
    assert "there is no Secret 'hooks'" in said["message"]
    assert f"(kubectl -n {place.namespace} create secret generic hooks --from-file=secret=FILE)" in said["message"]
    assert (await place.resource())["status"]["phase"] == "Invalid"
    assert await place.children() == {}
    await place.secret("hooks", other="x")
    lacking = await place.until(lambda r: "has no key 'secret'" in _accepted(r), what="the key is named")
    (tmp_path / "typed").write_text("s3cret\n")
    _type(_accepted(lacking).partition(" (")[2].removesuffix(")").replace("FILE", "typed"), fake_cluster, tmp_path)
    await place.settled()
    data = (await place.get("Secret", "hooks"))["data"]
    assert {key: base64.b64decode(value) for key, value in data.items()} == {"other": b"x", "secret": b"s3cret\n"}


async def test_a_missing_config_map_then_another_text_in_it(place: Place) -> None:
    await place.create(place.document(instructions=None, instructionsFrom={"name": "prompts", "key": "it"}))
    said = await place.says("Accepted", "False", "ReferenceMissing")
    assert f"kubectl -n {place.namespace} create configmap prompts --from-file=it=FILE" in said["message"]
    await place.config_map("prompts", it="You answer IT questions.")
    first = (await place.settled())["status"]["activeRevision"]
    await place.config_map("prompts", it="You answer IT questions, in rhymes.")
    await place.until(lambda r: r["status"]["activeRevision"] not in ("", first), what="the new text answers")
    assert len((await place.settled())["status"]["history"]) == 2
    assert "in rhymes" in (await _settings(place))
    # What is no longer there does not take down what runs.
    await place.api.delete("ConfigMap", place.namespace, "prompts")
    await place.says("Accepted", "False", "ReferenceMissing")
    assert len(await place.pods("agent")) == 2
    await place.config_map("prompts", it="You answer IT questions, in rhymes.")
    await place.says("Ready", "True")


async def test_another_secret_rolls_who_uses_it_and_makes_no_revision(place: Place) -> None:
    await place.secret("hooks", secret="first")
    before = await place.created(channels=_HOOKS)
    gateway, crew = await _beginnings(place, "gateway"), await _beginnings(place, "agent")
    await place.secret("hooks", secret="second")
    await soon(lambda: _others(place, "gateway", gateway), what="new gateways only")
    assert await _beginnings(place, "agent") == crew
    # Workers begin anew with another login, one after the other.
    await place.secret(LOGIN, more="x")
    await soon(lambda: _others(place, "agent", crew), what="new workers only")
    after = await place.settled()
    assert after["status"]["activeRevision"] == before["status"]["activeRevision"]
    assert len(after["status"]["history"]) == 1
    # What stands in annotations says nothing about the Secret to those that may not read it.
    shown = str([p["metadata"].get("annotations") for p in await place.api.list("Pod", place.namespace)])
    assert "second" not in shown


async def test_a_made_up_secret_that_is_deleted_comes_back(place: Place) -> None:
    await place.created()
    before = await place.get("Secret", "support-web-session")
    await place.api.delete("Secret", place.namespace, "support-web-session")

    async def back() -> bool:
        found = await place.find("Secret", "support-web-session")
        return found is not None and found["data"] != before["data"]

    await soon(back, what="a new one")
    await place.settled()


def _accepted(resource: Object) -> str:
    return str(conditions_of(resource)["Accepted"]["message"])


def _type(command: str, cluster: Cluster, folder: Path) -> None:
    """What a status told a person to type, with the name of a file in `folder` in place."""
    kubectl = Path(cluster.settings.program("kubernetes", "kubectl"))
    environment = {"PATH": f"{kubectl.parent}:/usr/bin:/bin", "KUBECONFIG": str(cluster.kubeconfig)}
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], check=True, cwd=folder, env=environment)


async def _settings(place: Place) -> str:
    revision = (await place.status())["activeRevision"]
    text: str = (await place.get("ConfigMap", f"support-{revision}"))["data"]["agent.json"]
    return text


async def _beginnings(place: Place, component: str) -> dict[str, str]:
    """Uid -> digest of the settings and Secrets that it began with."""
    pods = [p for p in await place.pods(component) if not p["metadata"].get("deletionTimestamp")]
    return {str(p["metadata"]["uid"]): p["metadata"]["annotations"]["herald.dev/settings"] for p in pods}


async def _others(place: Place, component: str, before: dict[str, str]) -> bool:
    now = await _beginnings(place, component)
    return len(now) >= len(before) and not set(now) & set(before) and not set(now.values()) & set(before.values())
