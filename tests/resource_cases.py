"""What may stand in an AgentDeployment and what not, once for two judges: our models and a real API server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.resource_documents import GONE, SMALLEST, Document, changed

_MANAGED_AND_EXTERNAL = "either managed or external, not both"
_ONE_DATABASE = "at most one of managed, cloudNativePG, external"
_SECRET = {"name": "x"}
_HOOK = {"secretRef": _SECRET, "replyURL": "https://example.com/"}


@dataclass(frozen=True, slots=True)
class Case:
    """`refused` is what both say about it, or nothing where both take it; `models` is what ours say instead."""

    name: str
    changes: Mapping[str, Any] = field(hash=False)
    refused: str = ""
    models: str = ""

    @property
    def document(self) -> Document:
        return changed(SMALLEST, self.changes)


def _route(**ways: Any) -> dict[str, Any]:
    return {"spec.gateway": {"host": "a.example", "route": ways}}


def _tolerating(**toleration: Any) -> dict[str, Any]:
    return {"spec.inference.engine": "llmapi", "spec.inference.gpu": {"tolerations": [toleration]}}


def _resources(requests: dict[str, Any], limits: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"spec.agent": {"resources": {"requests": requests} | ({"limits": limits} if limits else {})}}


def _replying(url: str) -> dict[str, Any]:
    return {"spec.channels.0": {"name": "a", "hmac": {"secretRef": _SECRET, "replyURL": url}}}


_ONE_TEXT = "exactly one of instructions, instructionsFrom is needed"
_ONE_CHANNEL = "exactly one of web, hmac, standardWebhooks, feishu is needed"
_ONE_ROUTE = "exactly one of httpRoute, ingress is needed"
_COUNT = "either replicas or autoscaling, not both"
_OPENAI = "backend openai needs `openai: {baseURL: ...}`, and only that backend takes it"
_GPU = "engine llmapi needs `gpu`, and only that engine takes it"
_ELSEWHERE = "backend openai computes elsewhere: engine, gpu, cache and secretRef are Triton's"
_NOT_HERE = "backend openai computes elsewhere: leave out replicas, maxBatchSize and resources, which are Triton's"
_BATCH = "maxBatchSize is for engine llmapi: leave it out, or take that engine"
_TOKEN = "secretRef is for gated models that engine llmapi downloads: leave it out, or take that engine"
_PARENT = {"parentRef": {"name": "public"}}
_AN_OPENAI = {"spec.inference.backend": "openai", "spec.inference.openai": {"baseURL": "https://example.com/v1"}}
_A_CACHE = {"volume": {"size": "50Gi"}}
_GPUS = {"spec.inference.engine": "llmapi", "spec.inference.gpu": {}}
_SOME = {"limits": {"cpu": 2}}


def _image(**images: str) -> dict[str, Any]:
    return {"spec.images": images}


CASES = (
    Case("the smallest", {}),
    # Names.
    Case("a name of 40 characters", {"metadata.name": "a" * 40}),
    Case(
        "a name of 41 characters",
        {"metadata.name": "a" * 41},
        "metadata.name: Too long: may not be more than 40 bytes",
        models="metadata.name",
    ),
    Case(
        "a name with a dot",
        {"metadata.name": "a.b"},
        "metadata.name: lower-case letters, digits and '-'",
        models="metadata.name",
    ),
    # What to say.
    Case("two instructions", {"spec.instructionsFrom": {"name": "a", "key": "b"}}, _ONE_TEXT),
    Case("no instructions", {"spec.instructions": GONE}, _ONE_TEXT),
    Case(
        "instructions from elsewhere",
        {"spec.instructions": GONE, "spec.instructionsFrom": {"name": "a", "key": "b"}},
    ),
    # Channels.
    Case("a channel of no platform", {"spec.channels.0": {"name": "web"}}, _ONE_CHANNEL),
    Case("a channel of two platforms", {"spec.channels.0.hmac": _HOOK}, _ONE_CHANNEL),
    Case("a platform that is empty", {"spec.channels.0": {"name": "web", "web": None}}, "spec.channels[0]"),
    Case(
        "two channels of one name",
        {"spec.channels": [{"name": "web", "web": {}}, {"name": "web", "hmac": _HOOK}]},
        "Duplicate value",
        models="is used twice",
    ),
    Case(
        "two channels of one platform",
        {"spec.channels": [{"name": "a", "web": {}}, {"name": "b", "web": {}}]},
    ),
    Case("a reply over https", _replying("https://example.com:8443/a?b=c")),
    Case("a reply within the cluster", _replying("http://bot.team.svc.cluster.local:8080/a")),
    Case("a reply to this machine", _replying("http://[::1]:8080/")),
    Case("a reply in the clear", _replying("http://example.com/"), "spec.channels[0].hmac.replyURL"),
    Case("a reply to a look-alike", _replying("http://localhost.example.com/"), "spec.channels[0].hmac.replyURL"),
    Case("a password in a URL", _replying("https://u:p@example.com/"), "spec.channels[0].hmac.replyURL"),
    Case("a URL with a space", _replying("https://example.com/a b"), "spec.channels[0].hmac.replyURL"),
    Case("a URL with a no-break space", _replying("https://example.com/a\u00a0b"), "spec.channels[0].hmac.replyURL"),
    Case("a port that is none", _replying("https://example.com:65536/"), "spec.channels[0].hmac.replyURL"),
    Case("a port that is a word", _replying("https://example.com:Pf"), "spec.channels[0].hmac.replyURL"),
    Case("brackets anywhere in a host", _replying("https://[a]b]:1/"), "spec.channels[0].hmac.replyURL"),
    Case("a port in Arabic digits", _replying("http://localhost:\u0661"), "spec.channels[0].hmac.replyURL"),
    # The gateway.
    Case("gateways by number and by load", {"spec.gateway": {"replicas": 2, "autoscaling": {"max": 3}}}, _COUNT),
    Case("gateways by load", {"spec.gateway": {"autoscaling": {"max": 3}}}),
    Case(
        "gateways from 3 to 2", {"spec.gateway": {"autoscaling": {"min": 3, "max": 2}}}, "min must not be more than max"
    ),
    Case("fewer gateways than min's default", {"spec.gateway": {"autoscaling": {"max": 1}}}, "min must not be more"),
    Case("a route to nowhere", {"spec.gateway": {"route": {"ingress": {}}}}, "route needs host"),
    Case("no kind of route", _route(), _ONE_ROUTE),
    Case("two kinds of route", _route(ingress={}, httpRoute=_PARENT), _ONE_ROUTE),
    Case("a route", _route(httpRoute=_PARENT)),
    Case("an Ingress with a sentence as annotation", _route(ingress={"annotations": {"a.b/c": "proxy: 8m; more"}})),
    Case("a host that is no name", {"spec.gateway": {"host": "chat_1.example.com"}}, "spec.gateway.host"),
    Case("a host of one word", {"spec.gateway": {"host": "chat"}}, "spec.gateway.host"),
    Case(
        "the same proxy twice",
        {"spec.gateway": {"trustedProxies": ["10.0.0.1", "10.0.0.1"]}},
        "spec.gateway.trustedProxies",
    ),
    # Servers.
    Case(
        "two NATS",
        {"spec.messaging.nats": {"managed": {}, "external": {"url": "nats://a:4222"}}},
        _MANAGED_AND_EXTERNAL,
    ),
    Case(
        "my NATS at two ports",
        {"spec.messaging.nats": {"external": {"url": "nats://a:1:2"}}},
        "spec.messaging.nats.external.url",
    ),
    Case("my NATS by its IPv6 address", {"spec.messaging.nats": {"external": {"url": "nats://[2001:db8::1]:65535"}}}),
    Case("my NATS", {"spec.messaging.nats": {"external": {"url": "nats://a:4222"}}}),
    Case(
        "two NATS servers",
        {"spec.messaging.nats": {"managed": {"replicas": 2}}},
        "spec.messaging.nats.managed.replicas",
    ),
    Case(
        "two PostgreSQL",
        {"spec.database": {"managed": {}, "external": {"secretRef": _SECRET}}},
        _ONE_DATABASE,
    ),
    Case(
        "two PostgreSQL, one of them CloudNativePG's",
        {"spec.database": {"managed": {}, "cloudNativePG": {}}},
        _ONE_DATABASE,
    ),
    Case(
        "my PostgreSQL and CloudNativePG's",
        {"spec.database": {"cloudNativePG": {}, "external": {"secretRef": _SECRET}}},
        _ONE_DATABASE,
    ),
    Case("CloudNativePG's", {"spec.database": {"cloudNativePG": {}}}),
    Case(
        "no instance",
        {"spec.database": {"cloudNativePG": {"instances": 0}}},
        "spec.database.cloudNativePG.instances",
    ),
    Case(
        "ten instances",
        {"spec.database": {"cloudNativePG": {"instances": 10}}},
        "spec.database.cloudNativePG.instances",
    ),
    Case("my PostgreSQL", {"spec.database": {"external": {"secretRef": _SECRET}}}),
    Case(
        "two Milvus",
        {"spec.agent.memory.milvus": {"managed": {}, "external": {"url": "http://a:1"}}},
        _MANAGED_AND_EXTERNAL,
    ),
    Case("my Milvus", {"spec.agent.memory.milvus": {"external": {"url": "http://a:1"}}}),
    Case("a volume in plain bytes", {"spec.database": {"managed": {"storage": {"size": "100"}}}}, "storage.size"),
    Case("a name with two dots", {"spec.database": {"external": {"secretRef": {"name": "a..b"}}}}, "secretRef.name"),
    # Workers.
    Case("workers by number and by lag", {"spec.agent": {"replicas": 2, "autoscaling": {"max": 3}}}, _COUNT),
    Case("workers by lag", {"spec.agent": {"autoscaling": {"max": 3}}}),
    Case("workers from 3 to 2", {"spec.agent": {"autoscaling": {"min": 3, "max": 2}}}, "min must not be more than max"),
    # The model.
    Case("openai without an address", {"spec.inference.backend": "openai"}, _OPENAI),
    Case("an address without openai", {"spec.inference.openai": {"baseURL": "https://example.com/v1"}}, _OPENAI),
    Case("openai", _AN_OPENAI),
    Case("openai with a cache", _AN_OPENAI | {"spec.inference.cache": _A_CACHE}, _ELSEWHERE),
    Case("openai with a Hugging Face token", _AN_OPENAI | {"spec.inference.secretRef": _SECRET}, _ELSEWHERE),
    Case(
        "openai with GPUs",
        _AN_OPENAI | {"spec.inference.engine": "llmapi", "spec.inference.gpu": {}},
        _ELSEWHERE,
    ),
    Case("llmapi without GPUs", {"spec.inference.engine": "llmapi"}, _GPU),
    Case("GPUs without llmapi", {"spec.inference.gpu": {"count": 1}}, _GPU),
    Case("GPUs", {"spec.inference.engine": "llmapi", "spec.inference.gpu": {}}),
    Case(
        "GPUs and a cache",
        {"spec.inference.engine": "llmapi", "spec.inference.gpu": {}, "spec.inference.cache": _A_CACHE},
    ),
    # What would mean nothing with this engine is refused; a default that is written out is no choice.
    Case("openai with replicas", _AN_OPENAI | {"spec.inference.replicas": 2}, _NOT_HERE),
    Case("openai with a batch size", _AN_OPENAI | {"spec.inference.maxBatchSize": 8}, _NOT_HERE),
    Case("openai with resources", _AN_OPENAI | {"spec.inference.resources": _SOME}, _NOT_HERE),
    Case("openai and defaults", _AN_OPENAI | {"spec.inference.replicas": 1, "spec.inference.maxBatchSize": 32}),
    Case("a batch size on CPUs", {"spec.inference.maxBatchSize": 8}, _BATCH),
    Case("the default batch size on CPUs", {"spec.inference.maxBatchSize": 32}),
    Case("a batch size on GPUs", _GPUS | {"spec.inference.maxBatchSize": 8}),
    Case("a Hugging Face token on CPUs", {"spec.inference.secretRef": _SECRET}, _TOKEN),
    Case("a Hugging Face token on GPUs", _GPUS | {"spec.inference.secretRef": _SECRET}),
    Case("replicas and resources on CPUs", {"spec.inference.replicas": 2, "spec.inference.resources": _SOME}),
    Case(
        "an image for my NATS",
        _image(nats="nats:1") | {"spec.messaging.nats": {"external": {"url": "nats://a:4222"}}},
        "images.nats is for a managed NATS, and messaging.nats.external is yours: leave it out",
    ),
    Case(
        "an image for my PostgreSQL",
        _image(postgres="postgres:1") | {"spec.database": {"external": {"secretRef": _SECRET}}},
        "images.postgres is for a managed PostgreSQL, and database.external is yours: leave it out",
    ),
    Case(
        "an image for my Milvus",
        _image(milvus="milvus:1") | {"spec.agent.memory.milvus": {"external": {"url": "http://a:1"}}},
        "images.milvus is for a managed Milvus, and agent.memory.milvus.external is yours: leave it out",
    ),
    Case("images of what is managed", _image(nats="nats:1", postgres="postgres:1", milvus="milvus:1")),
    Case(
        "an image for a Triton that nobody needs",
        _AN_OPENAI | _image(inference="triton:1") | {"spec.agent.memory": {"enabled": False}},
        "images.inference is for Triton, which backend openai without memory does not need: leave it out",
    ),
    Case("an image for the embedder", _AN_OPENAI | _image(inference="triton:1")),
    Case("an image for a memory that is off", _image(milvus="milvus:1") | {"spec.agent.memory": {"enabled": False}}),
    Case("a value for any value", _tolerating(key="a", operator="Exists", value="b"), "operator Exists takes no value"),
    Case("every taint of one value", _tolerating(value="b"), "a toleration without key tolerates every taint"),
    Case("every taint", _tolerating(operator="Exists")),
    Case("seconds for nothing", _tolerating(key="a", tolerationSeconds=1), "tolerationSeconds needs effect NoExecute"),
    Case("seconds", _tolerating(key="a", effect="NoExecute", tolerationSeconds=1)),
    Case(
        "a label that is none",
        {"spec.inference.engine": "llmapi", "spec.inference.gpu": {"nodeSelector": {"not a key": "b"}}},
        "spec.inference.gpu.nodeSelector",
    ),
    Case(
        "a label that is too long",
        {"spec.inference.engine": "llmapi", "spec.inference.gpu": {"nodeSelector": {"a" * 318: "b"}}},
        "spec.inference.gpu.nodeSelector",
    ),
    # Resources.
    Case("quantities", _resources({"cpu": 1, "memory": "1.5Gi"}, {"cpu": "1000m", "memory": "2Gi"})),
    Case("more than the limit", _resources({"cpu": "1001m"}, {"cpu": 1}), "no request may be more than its limit"),
    Case(
        "binary against decimal",
        _resources({"memory": "1Gi"}, {"memory": "1G"}),
        "no request may be more than its limit",
    ),
    Case("a fraction", _resources({"cpu": 0.5}), "spec.agent.resources.requests.cpu"),
    Case("less than nothing", _resources({"cpu": -1}), "spec.agent.resources.requests.cpu"),
    Case("a truth as quantity", _resources({"cpu": True}), "spec.agent.resources.requests.cpu"),
    Case("a unit that is none", _resources({"memory": "1GB"}), "spec.agent.resources.requests.memory"),
    # As written: nothing is read as what it is not.
    Case("a number as text", {"spec.agent": {"replicas": "2"}}, "spec.agent.replicas"),
    Case("a truth as text", {"spec.suspend": "true"}, "spec.suspend"),
    Case("a truth as number", {"spec.suspend": 1}, "spec.suspend"),
    Case("a fraction as text", {"spec.inference.temperature": "0.2"}, "spec.inference.temperature"),
    Case("a whole number as fraction", {"spec.inference.temperature": 1}),
    Case("text as a number", {"spec.instructions": 1}, "spec.instructions"),
    Case("the same pull secret twice", {"spec.images": {"pullSecrets": ["a", "a"]}}, "spec.images.pullSecrets"),
    Case(
        "a field that is not there",
        {"spec.agent": {"replica": 2}},
        'unknown field "spec.agent.replica"',
        models="did you mean replicas?",
    ),
)
