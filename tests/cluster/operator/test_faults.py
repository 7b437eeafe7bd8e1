"""An API server that is busy, broken, slow or behind: everything ends as it should, only later."""

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from tools.cluster import Cluster

from tests.cluster.operator.api import Api
from tests.cluster.operator.operators import Operator, behind
from tests.cluster.operator.places import Place, soon
from tests.cluster.operator.proxy import Call, Proxy
from tests.servers import Nats

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
async def operator(proxied: Proxy, fake_cluster: Cluster, tmp_path: Path, api: Api) -> AsyncIterator[Operator]:
    """Behind the proxy; it looks at everything again every three seconds, whatever its watches say."""
    async with behind(proxied, fake_cluster, tmp_path, api, "--resync=3") as made:
        yield made
    assert [line for line in made.complaints() if '"broke"' in line] == []


def _answers() -> "itertools.cycle[web.Response | None]":
    """None stands for a connection that breaks."""
    statuses = [web.json_response({"message": f"fault {s}", "code": s}, status=s) for s in (429, 500, 503, 409, 504)]
    return itertools.cycle([*statuses, None])


async def test_one_in_twenty_requests_of_each_verb_fails(place: Place, proxied: Proxy, operator: Operator) -> None:
    kinds, asked = _answers(), Counter[str]()

    async def faulty(call: Call) -> web.Response | None:
        if call.watch or "/leases/" in call.path or f"/namespaces/{place.namespace}/" not in call.path:
            return None
        asked[call.method] += 1
        if asked[call.method] % 20 != 1:
            return None
        answer = next(kinds)
        if answer is None:
            raise ConnectionResetError
        return web.json_response(json.loads(str(answer.text)), status=answer.status)

    proxied.before = faulty
    await place.created(deletionPolicy="Delete")
    await place.change(instructions="Other.")
    after = await place.settled()
    assert after["status"]["activeRevision"] == await place.wanted()
    await place.delete()
    proxied.restore()
    assert set(asked) >= {"GET", "PATCH", "DELETE"}


async def test_watches_that_break_all_the_time(place: Place, proxied: Proxy, operator: Operator) -> None:
    async def breaking() -> None:
        while True:
            await asyncio.sleep(0.5)
            await proxied.drop_watches()

    task = asyncio.create_task(breaking())
    try:
        await place.created()
        await place.change(instructions="Other.")
        await place.settled()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert operator.running


async def test_a_history_that_the_server_has_forgotten(place: Place, proxied: Proxy, operator: Operator) -> None:
    """410 Gone, said inside of a watch, as the API server does: everything is listed again."""
    await place.created()
    told = itertools.count()

    async def expired(call: Call) -> web.Response | None:
        if not call.watch or next(told) >= 30:
            return None
        return _forgotten()

    proxied.before = expired
    await proxied.drop_watches()
    await place.change(instructions="Other.")
    await place.settled()
    await soon(lambda: _more_than(told, 20), what="it was told often enough")
    assert operator.running


async def test_what_goes_while_a_watch_begins_anew_is_made_again(
    place: Place, proxied: Proxy, operator: Operator
) -> None:
    """No watch ever tells of it: the list that the new one begins with is without it already."""
    await place.created()
    refused = itertools.count()

    async def expired(call: Call) -> web.Response | None:
        if not call.watch or "/configmaps" not in call.path:
            return None
        next(refused)
        return _forgotten()

    proxied.before = expired
    await proxied.drop_watches()
    await soon(lambda: _more_than(refused, 0), what="it does not hear of ConfigMaps")
    await place.api.delete("ConfigMap", place.namespace, "support-gateway")
    told = _so_far(refused)
    await soon(lambda: _more_than(refused, told + 2), what="it has listed them again")
    proxied.restore()

    async def there() -> bool:
        return await place.find("ConfigMap", "support-gateway") is not None

    await soon(there, what="it is there again")
    assert operator.running


async def test_nothing_is_heard_while_one_goes_and_another_of_that_name_comes(
    place: Place, proxied: Proxy, operator: Operator
) -> None:
    """It goes on with what it knew, and that must not hurt the new one."""
    first = await place.created()
    proxied.watches_open.clear()
    change = {"metadata": {"finalizers": None}}
    await place.api.delete("AgentDeployment", place.namespace, "support")
    await place.api.merge("AgentDeployment", place.namespace, "support", change)
    await place.create(place.document(instructions="Other."))
    seen = len(proxied.calls)
    # Two looks of an operator that has missed all this.
    await soon(lambda: _looked(proxied, seen, 2), what="it looks again")
    proxied.watches_open.set()
    second = await place.settled()
    uids = {r["uid"] for b in (await place.children()).values() for r in b["metadata"].get("ownerReferences", ())}
    assert second["metadata"]["uid"] in uids
    assert first["metadata"]["uid"] not in uids
    assert second["status"]["activeRevision"] == await place.wanted()


async def test_a_server_that_was_away_for_a_while(place: Place, proxied: Proxy, operator: Operator) -> None:
    await place.created()
    proxied.open.clear()
    await proxied.drop_watches()
    await place.change(instructions="Other.")
    await asyncio.sleep(5)  # less than the lease
    proxied.open.set()
    await place.settled()
    assert operator.running


async def test_messaging_goes_away_and_comes_back(place: Place, operator: Operator, own_nats: Nats) -> None:
    """Nothing is switched meanwhile, and nobody who answers is stopped."""
    place.nats = own_nats
    await place.login()
    before = await place.created()
    own_nats.kill()
    await place.change(instructions="Other.")
    said = await place.says("MessagingReady", "False")
    assert "does not answer" in said["message"]
    await place.says("Ready", "False")
    resource = await place.resource()
    assert len(await place.pods("agent")) >= 2
    assert resource["status"]["activeRevision"] in ("", before["status"]["activeRevision"])
    own_nats.start()
    after = await place.settled()
    assert after["status"]["activeRevision"] == await place.wanted()


async def test_one_kind_that_is_refused_for_a_while_keeps_no_other(
    place: Place, proxied: Proxy, operator: Operator
) -> None:
    """As with a webhook that is down: the API server says 500, and says it about this kind only."""

    async def webhook(call: Call) -> web.Response | None:
        if call.method != "PATCH" or "/poddisruptionbudgets/" not in call.path:
            return None
        return web.json_response({"message": "failed calling webhook", "code": 500}, status=500)

    proxied.before = webhook
    await place.create(place.document())
    said = await place.says("Ready", "False", "ApplyFailed")
    assert "PodDisruptionBudget support-gateway: 500: failed calling webhook" in said["message"]
    await soon(lambda: _is_available(place), what="the gateway is there")
    proxied.restore()
    await place.settled()


async def _is_available(place: Place) -> bool:
    found = await place.find("Deployment", "support-gateway")
    return found is not None and found.get("status", {}).get("availableReplicas", 0) == 2


async def _more_than(count: "itertools.count[int]", least: int) -> bool:
    return _so_far(count) > least


def _so_far(count: "itertools.count[int]") -> int:
    return int(repr(count).removeprefix("count(").removesuffix(")"))


def _forgotten() -> web.Response:
    """410 Gone as an API server says it inside of a watch."""
    gone = {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired", "message": "too old"}
    return web.Response(body=json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")


async def _looked(proxied: Proxy, since: int, times: int) -> bool:
    """Each look reads the deployment's Secrets."""
    return len([c for c in proxied.calls[since:] if c.path.endswith("/secrets/support-operator")]) >= times
