"""`kubectl herald` on a node with real pods: what goes through a worker's pod, through the gateway, and the logs."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.e2e.team import Team, team
from tests.plugin import Plugin

pytestmark = pytest.mark.timeout(900)
_WEB = {"name": "web", "web": {}}
# What a person gets who may look and no more.
_LOOKER = "looker"


def _plugin(site: Site, namespace: str, kubeconfig: Path | None = None) -> Plugin:
    return Plugin(kubeconfig or site.client.kubeconfig, namespace, site.client.program("kubectl").parent)


async def test_say_something_and_see_what_became_of_it(site: Site, tmp_path: Path) -> None:
    async with team(site, "plugin") as mine:
        herald = _plugin(site, mine.namespace)
        wanted = mine.resource(channels=[_WEB, mine.channel()], agent={"replicas": 1, "memory": {"enabled": False}})
        site.apply(wanted, namespace=mine.namespace)
        done = await herald("rollout", "status", "--watch", "--timeout", "240", within=300)
        assert done.code == 0, done.out + done.err + site.state(mine.namespace)

        said = await herald("send", "How are you, chat page?", "--json")
        assert said.code == 0, said
        assert "How are you, chat page?" in said.json["reply"]["text"], "the scripted model says it again"
        assert (said.json["channel"], said.json["state"]) == ("web", "answered")

        said = await herald("send", "How are you, hook?", "-c", "hooks", "--json")
        assert said.code == 0, said
        assert said.json["record"]["channel"] == "hooks"
        await mine.outside.caught_up()
        assert [answer.text for answer in mine.platform.inbox()] == [said.json["reply"]["text"]]

        counted = await herald("ledger", "--messages", "--json")
        assert counted.code == 0
        assert (counted.json["accepted"], counted.json["answered"], counted.json["balanced"]) == (2, 2, True)
        assert counted.json["complete"]
        assert {row["channel"] for row in counted.json["messages"]} == {"web", "hooks"}
        letters = await herald("dead-letters", "list", "--json")
        assert (letters.code, letters.json["letters"]) == (0, [])
        absent = await herald("dead-letters", "replay", "7")
        assert (absent.code, "there is no dead letter 7" in absent.err) == (1, True)

        await _logs(mine, herald)
        healthy = await herald("doctor", "--json", within=120)
        assert healthy.json["healthy"], healthy.out
        volumes = next(check for check in healthy.json["checks"] if check["check"] == "volumes")
        assert volumes["seen"].endswith("claims are bound"), "those of NATS and PostgreSQL"
        assert healthy.code == 0
        await _as_a_looker(site, mine, tmp_path)


async def _logs(mine: Team, herald: Plugin) -> None:
    entries = [json.loads(line) for line in (await herald("logs", "--json", "--lines", "200")).out.splitlines()]
    parts = {entry["component"].partition("-")[0] for entry in entries}
    assert {"gateway", "agent", "inference", "nats", "postgres", "migration"} <= parts
    assert entries == sorted(entries, key=lambda entry: entry["timestamp"])
    operator = await herald("logs", "operator", "--json")
    about = {json.loads(line).get("deployment") for line in operator.out.splitlines()}
    assert about <= {None, f"{mine.namespace}/{mine.name}"}
    following = asyncio.create_task(herald("logs", "agent", "-f", "--lines", "0", "--json", within=25))
    assert (await herald("rollout", "restart")).code == 0
    followed = await following
    assert followed.code == 130
    events = {json.loads(line)["event"] for line in followed.out.splitlines()}
    assert "stopped" in events or "started" in events, "those that leave, and those that come"
    await asyncio.to_thread(mine.wait_ready)


async def _as_a_looker(site: Site, mine: Team, tmp_path: Path) -> None:
    """With the rights of ClusterRole `view`: what may be seen is seen, everything else says what is missing."""
    inside = ("-n", mine.namespace)
    site.kubectl("create", "serviceaccount", _LOOKER, *inside)
    account = f"--serviceaccount={mine.namespace}:{_LOOKER}"
    site.kubectl("create", "rolebinding", _LOOKER, "--clusterrole=view", account, *inside)
    token = site.kubectl("create", "token", _LOOKER, *inside).strip()
    config = json.loads(site.kubectl("config", "view", "--raw", "--flatten", "-o", "json"))
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    file = tmp_path / "looker"
    file.write_text(json.dumps(config))
    looker = _plugin(site, mine.namespace, file)
    assert (await looker("status")).code == 0
    assert (await looker("logs", "--lines", "1")).code == 0
    for command in (("ledger",), ("send", "hi"), ("send", "hi", "-c", "hooks"), ("rollout", "restart")):
        answer = await looker(*command)
        assert answer.code == 1, command
        assert answer.err.startswith("herald: you may not"), answer.err
    found = await looker("doctor", "--json")
    assert found.code == 0, "what may not be looked at is not known to be bad"
    rights = next(check for check in found.json["checks"] if check["check"] == "your rights")
    assert rights["verdict"] == "warning"
    assert "create pods/exec" in rights["seen"]
