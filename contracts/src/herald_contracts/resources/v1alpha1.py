"""AgentDeployment, herald.dev/v1alpha1: exactly the fields that work today.

The same model validates local mode's file and, later, generates the CRD. A field that does not work yet is
not here, so that writing it is an error with a hint (see `parse`) and never a silent nothing.
Names are camelCase as everywhere in Kubernetes; durations end in Seconds.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from herald_contracts.settings import Generation, Limits

GROUP = "herald.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "AgentDeployment"

Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=40)]
SecretName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
# Replies carry people's words: plain http only where it cannot leave the machine.
ReplyUrl = Annotated[
    str,
    StringConstraints(
        pattern=r"^(https://[^\s/?#@]+|http://(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?)([/?#]\S*)?$",
        max_length=2_048,
    ),
]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+\S*$", max_length=2_048)]


class Resource(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class SecretRef(Resource):
    """A Secret in the same namespace; in local mode a Secret in the same file, or one that `herald up` makes."""

    name: SecretName


class Web(Resource):
    """A chat page that the gateway serves. Its session key is made for it."""

    title: str = Field(default="Herald", min_length=1, max_length=80, description="shown at the top of the page")


class Hmac(Resource):
    """Anything that can sign: HMAC-SHA256 over timestamp and raw body. Key of the Secret: `secret`."""

    secret_ref: SecretRef
    reply_url: ReplyUrl = Field(alias="replyURL", description="where replies are posted, signed the same way")
    on_unknown: Literal["resend", "hold"] = Field(
        default="resend",
        description="when a post's outcome is unknown: resend under the same reply id, or hold and show it as unknown",
    )


class StandardWebhooks(Hmac):
    """standardwebhooks.com, both ways. Key of the Secret: `secret` (whsec_...)."""


class Feishu(Resource):
    """A Feishu or Lark app. Keys of the Secret: `app-secret`, `encrypt-key`, `verification-token`."""

    app_id: str = Field(pattern=r"^cli_[A-Za-z0-9]{4,64}$", description="App ID of the developer console")
    secret_ref: SecretRef
    base_url: HttpUrl = Field(
        default="https://open.feishu.cn", alias="baseURL", description="https://open.larksuite.com for Lark"
    )
    streaming: bool = Field(default=True, description="show the reply while it is written, as a card that grows")


CHANNEL_TYPES = ("web", "hmac", "standardWebhooks", "feishu")


class Channel(Resource):
    """One bot on one chat platform."""

    name: Label
    web: Web | None = None
    hmac: Hmac | None = None
    standard_webhooks: StandardWebhooks | None = None
    feishu: Feishu | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> "Channel":
        given = [t for t, v in zip(CHANNEL_TYPES, self._kinds(), strict=True) if v is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"exactly one of {', '.join(CHANNEL_TYPES)} is needed, found {found}")
        return self

    def _kinds(self) -> tuple[Web | None, Hmac | None, StandardWebhooks | None, Feishu | None]:
        return (self.web, self.hmac, self.standard_webhooks, self.feishu)


class GatewayLimits(Limits):
    """What a stranger may cost the gateway; every default is safe."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Gateway(Resource):
    host: str = Field(default="127.0.0.1", max_length=253, description="address to listen on")
    port: int | None = Field(default=None, ge=1, le=65_535, description="default: 8080, or a free one when it is taken")
    limits: GatewayLimits = GatewayLimits()


class AgentMemory(Resource):
    enabled: bool = True
    recall_milliseconds: int = Field(
        default=50, ge=5, le=5_000, description="recall is skipped beyond this, and counted"
    )


class Agent(Resource):
    replicas: int = Field(default=2, ge=1, le=32)
    concurrency: int = Field(default=16, ge=1, le=512, description="turns in flight per worker")
    per_user: int = Field(default=4, ge=1, le=512, description="turns in flight per user, over all workers")
    turn_seconds: int = Field(
        default=120, ge=1, le=86_400, description="a turn that takes longer becomes a dead letter"
    )
    history_messages: int = Field(default=20, ge=0, le=200, description="earlier messages the model sees")
    memory: AgentMemory = AgentMemory()


class OpenAi(Resource):
    """Any OpenAI-compatible endpoint. Key of the Secret: `api-key`."""

    base_url: HttpUrl = Field(alias="baseURL", description="up to and with /v1")
    secret_ref: SecretRef | None = None


class Inference(Resource):
    model: str = Field(
        min_length=1,
        max_length=512,
        description="HuggingFaceTB/SmolLM2-135M-Instruct, a path to a GGUF file, `scripted` (tests), "
        "or with backend openai the endpoint's own name",
    )
    backend: Literal["triton", "openai"] = "triton"
    openai: OpenAi | None = None
    max_tokens: int = Field(default=Generation().max_tokens, ge=1, le=8_192, description="longest answer")
    max_input_tokens: int = Field(default=Generation().max_input_tokens, ge=128, le=131_072)
    temperature: float = Field(default=Generation().temperature, ge=0, le=2)

    @model_validator(mode="after")
    def _backend_has_its_settings(self) -> "Inference":
        if (self.backend == "openai") != (self.openai is not None):
            raise ValueError("backend openai needs `openai: {baseURL: ...}`, and only that backend takes it")
        return self


class Spec(Resource):
    instructions: str = Field(min_length=1, max_length=32_768, description="the system prompt")
    channels: tuple[Channel, ...] = Field(min_length=1, max_length=16)
    gateway: Gateway = Gateway()
    agent: Agent = Agent()
    inference: Inference
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _channel_names_differ(self) -> "Spec":
        seen: set[str] = set()
        for channel in self.channels:
            if channel.name in seen:
                raise ValueError(f"channels: the name {channel.name!r} is used twice")
            seen.add(channel.name)
        return self


class Metadata(Resource):
    """Of Kubernetes' own metadata, what Herald reads; labels and annotations are carried, not read."""

    name: Label
    namespace: Label = "default"
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class AgentDeployment(Resource):
    api_version: Literal["herald.dev/v1alpha1"]
    kind: Literal["AgentDeployment"]
    metadata: Metadata
    spec: Spec
