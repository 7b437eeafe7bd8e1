"""What an API server's answers mean to us: again later, never, gone. Asked of a small HTTP server."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from herald_contracts.errors import TemporaryError
from herald_operator.build.naming import Object
from herald_operator.cluster import Cluster, NameTaken, Refused, Unavailable

WANTED: Object = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "a",
        "namespace": "team",
        "uid": "u",
        "resourceVersion": "5",
        "labels": {"herald.dev/deployment": "support"},
        "ownerReferences": [{"uid": "uid-1", "controller": True}],
    },
}
AGENT: Object = {"kind": "AgentDeployment", "metadata": {**WANTED["metadata"], "name": "support"}}


class Server:
    """Answers what it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status, self.body = 200, json.dumps(WANTED)
        self.found: Object | None = None  # for GET, when it is not the same
        self.pages: list[str] = []  # before all else
        self.asked: list[tuple[str, str, dict[str, str], str, Any]] = []
        self.accepted: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        text = await request.text()
        kind = request.headers.get("Content-Type", "")
        self.asked.append((request.method, request.path, dict(request.query), kind, json.loads(text) if text else None))
        self.accepted.append(request.headers["Accept"])
        if self.pages:
            return web.Response(text=self.pages.pop(0))
        if request.method == "GET" and self.found is not None:
            return web.Response(text=json.dumps(self.found))
        return web.Response(status=self.status, text=self.body, content_type="application/json")

    def says(self, status: int, message: str = "") -> None:
        self.status, self.body = status, json.dumps({"kind": "Status", "message": message})


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def cluster(server: Server) -> AsyncIterator[Cluster]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    async with TestServer(app) as running:
        configuration = Configuration(host=str(running.make_url("")).rstrip("/"))
        async with ApiClient(configuration) as client:
            yield Cluster(client, lambda: None)


Ask = Callable[[Cluster], Awaitable[Any]]
WRITES: dict[str, Ask] = {
    "apply": lambda c: c.apply(WANTED, new=False),
    "status": lambda c: c.patch_status(AGENT, {"phase": "Ready"}),
    "metadata": lambda c: c.patch_metadata(AGENT, finalizers=[]),
    "event": lambda c: c.event(AGENT, "Normal", "Ready", "it is"),
}


@pytest.mark.parametrize("name", [*WRITES, "get"])
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
async def test_what_passes_is_tried_again(cluster: Cluster, server: Server, name: str, status: int) -> None:
    server.says(status, "not now")
    with pytest.raises(Unavailable, match=f"{status}: not now"):
        await ({"get": lambda c: c.get("ConfigMap", "team", "a")} | WRITES)[name](cluster)


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("status", [400, 401, 403, 422])
async def test_what_is_refused_says_so_in_the_servers_words(
    cluster: Cluster, server: Server, name: str, status: int
) -> None:
    server.says(status, "spec.x:\n   must not be")
    with pytest.raises(Refused, match=f"{status}: spec.x: must not be"):
        await WRITES[name](cluster)


async def test_a_field_that_a_type_does_not_have_is_refused_with_what_to_do(cluster: Cluster, server: Server) -> None:
    server.says(500, "failed to create typed patch object (a): .spec.b: field not declared in schema")
    with pytest.raises(Refused, match=r"\.spec\.b: field not declared in schema .* update what brought it"):
        await WRITES["apply"](cluster)


@pytest.mark.parametrize("body", ["", "<html>bad gateway</html>", "[]", "null", '{"message": null}'])
async def test_an_answer_that_is_no_status_is_still_an_error(cluster: Cluster, server: Server, body: str) -> None:
    server.status, server.body = 503, body
    with pytest.raises(Unavailable, match="503"):
        await cluster.get("ConfigMap", "team", "a")


@pytest.mark.parametrize("status", [404, 410])
async def test_what_is_gone_is_gone(cluster: Cluster, server: Server, status: int) -> None:
    server.says(status)
    assert await cluster.get("ConfigMap", "team", "a") is None
    assert await cluster.patch_metadata(AGENT, finalizers=[]) is None
    await cluster.delete(WANTED)
    with pytest.raises(Refused):
        await cluster.apply(WANTED, new=False)


async def test_a_removal_means_this_very_object(cluster: Cluster, server: Server) -> None:
    server.says(409, "the UID in the precondition does not match")
    await cluster.delete(WANTED)
    method, path, _, _, body = server.asked[0]
    assert (method, path) == ("DELETE", "/api/v1/namespaces/team/configmaps/a")
    assert body == {"preconditions": {"uid": "u"}, "propagationPolicy": "Background"}
    server.says(403, "no")
    with pytest.raises(Refused):
        await cluster.delete(WANTED)
    server.says(503, "no")
    with pytest.raises(Unavailable):
        await cluster.delete(WANTED)


async def test_nobody_there_is_a_reason_to_try_again() -> None:
    async with ApiClient(Configuration(host="http://127.0.0.1:9")) as client:
        with pytest.raises(Unavailable, match="does not answer"):
            await Cluster(client, lambda: None).get("ConfigMap", "team", "a")


async def test_the_guard_is_asked_before_every_write_and_only_then(server: Server, cluster: Cluster) -> None:
    class Stop(TemporaryError):
        pass

    def guard() -> None:
        raise Stop("the lease has run out")

    cluster._guard = guard
    await cluster.get("ConfigMap", "team", "a")
    more: dict[str, Ask] = {
        "delete": lambda c: c.delete(WANTED),
        "patch": lambda c: c.patch(WANTED, {}),
        "scale": lambda c: c.scale(SCALED, 3),
    }
    for write in (WRITES | more).values():
        with pytest.raises(Stop):
            await write(cluster)
    assert [method for method, *_ in server.asked] == ["GET"]


SCALED: Object = {"kind": "ReplicaSet", "metadata": {**WANTED["metadata"], "generation": 3}, "spec": {"replicas": 1}}


async def test_a_scale_is_known_before_the_watch_tells(server: Server, cluster: Cluster) -> None:
    server.body = json.dumps({"metadata": {"resourceVersion": "6"}})
    answer = await cluster.scale(SCALED, 3)
    assert (answer["spec"], answer["metadata"]["resourceVersion"]) == ({"replicas": 3}, "6")
    method, path, _, kind, body = server.asked[0]
    assert (method, path) == ("PATCH", "/apis/apps/v1/namespaces/team/replicasets/a/scale")
    assert (kind, body) == ("application/merge-patch+json", {"spec": {"replicas": 3}})


async def test_an_apply_is_forced_under_our_name(server: Server, cluster: Cluster) -> None:
    await cluster.apply(WANTED, new=False)
    await cluster.patch_status(AGENT, {"phase": "Ready"})
    (_, _, query, kind, body), (_, path, other, _, _) = server.asked
    assert (query, kind) == ({"fieldManager": "herald", "force": "true"}, "application/apply-patch+yaml")
    assert body == WANTED
    assert path == "/apis/herald.dev/v1alpha1/namespaces/team/agentdeployments/support/status"
    assert other["fieldManager"] == "herald-status"


@pytest.mark.parametrize(
    ("labels", "owners", "taken"),
    [
        ({"herald.dev/deployment": "support"}, [{"uid": "uid-1", "controller": True}], False),
        ({"herald.dev/deployment": "support"}, [], False),
        ({"herald.dev/deployment": "support"}, [{"uid": "uid-0", "controller": True}], True),
        ({"herald.dev/deployment": "other"}, [], True),
        ({}, [], True),
        (None, None, True),
    ],
)
async def test_what_belongs_to_somebody_else_is_not_taken_over(
    server: Server, cluster: Cluster, labels: Any, owners: Any, taken: bool
) -> None:
    server.found = {**WANTED, "metadata": {"name": "a", "labels": labels, "ownerReferences": owners}}
    if taken:
        with pytest.raises(NameTaken, match="there is already a ConfigMap 'a' that is not ours"):
            await cluster.apply(WANTED, new=True)
    else:
        await cluster.apply(WANTED, new=True)
    assert [method for method, *_ in server.asked] == (["GET"] if taken else ["GET", "PATCH"])


async def test_finalizers_and_annotations_are_changed_only_as_they_were_seen(server: Server, cluster: Cluster) -> None:
    await cluster.patch_metadata(AGENT, finalizers=["a"], drop=("herald.dev/promote",))
    change = server.asked[0][4]["metadata"]
    assert change == {
        "uid": "u",
        "resourceVersion": "5",
        "finalizers": ["a"],
        "annotations": {"herald.dev/promote": None},
    }


async def test_a_change_is_merged_into_exactly_what_was_seen(server: Server, cluster: Cluster) -> None:
    await cluster.patch(WANTED, {"metadata": {"ownerReferences": []}})
    assert server.asked[0][:2] == ("PATCH", "/api/v1/namespaces/team/configmaps/a")
    assert server.asked[0][3:] == (
        "application/merge-patch+json",
        {"metadata": {"ownerReferences": [], "uid": "u"}},
    )
    server.says(404)
    with pytest.raises(Unavailable):
        await cluster.patch(WANTED, {})


async def test_a_list_is_read_page_by_page_and_its_items_say_what_they_are(server: Server, cluster: Cluster) -> None:
    pages = [
        {"metadata": {"resourceVersion": "7", "continue": "more"}, "items": [{"metadata": {"name": "a"}}]},
        {"metadata": {"resourceVersion": "8", "continue": "even more"}, "items": None},
        {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "b"}}]},
    ]
    server.pages = [json.dumps(page) for page in pages]
    items, version = await cluster.listed("Job", "team", {"a": "b", "c": "d"}) or ((), 0)
    assert [(i["kind"], i["apiVersion"], i["metadata"]["name"]) for i in items] == [
        ("Job", "batch/v1", "a"),
        ("Job", "batch/v1", "b"),
    ]
    assert version == 7, "what came later was not looked at"
    first = {"labelSelector": "a=b,c=d", "limit": "500"}
    assert [asked[1:3] for asked in server.asked] == [
        ("/apis/batch/v1/namespaces/team/jobs", first),
        ("/apis/batch/v1/namespaces/team/jobs", {**first, "continue": "more"}),
        ("/apis/batch/v1/namespaces/team/jobs", {**first, "continue": "even more"}),
    ]


async def test_a_list_of_everywhere_that_expires_is_none(server: Server, cluster: Cluster) -> None:
    server.says(410)
    assert await cluster.listed("Pod", None, {}, whole=False) is None
    assert server.asked[0][1:3] == ("/api/v1/pods", {"limit": "500"})
    assert "as=PartialObjectMetadataList" in server.accepted[0]


async def test_which_kinds_are_served_is_asked_of_the_server(server: Server, cluster: Cluster) -> None:
    names = [("httproutes", "HTTPRoute"), ("httproutes/status", "PodMonitor"), ("gateways", "Gateway")]
    server.body = json.dumps({"resources": [{"name": name, "kind": kind} for name, kind in names]})
    assert await cluster.served() == {"HTTPRoute"}
    server.says(404)
    assert await cluster.served() == frozenset()
