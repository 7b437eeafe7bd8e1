"""The settings of each service: the one model that the renderer writes and the service reads.

The operator writes them into a ConfigMap and local mode into a file, from the same renderer
(herald_operator.build.settings), so a deployment that works on one machine works on a cluster. Secrets are
never in here: a settings file names folders of secret files, as Kubernetes mounts them.

Durations are seconds, sizes bytes, unless the name says otherwise.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, ValidationError

from herald_contracts.errors import ConfigurationError
from herald_contracts.subjects import Names


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a rendered settings file (JSON). Raises ConfigurationError naming the file and the field."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ConfigurationError(f"no settings file at {path}", hint="was it rendered?") from None
        except ValidationError as e:
            first = e.errors(include_input=False, include_url=False)[0]
            raise ConfigurationError(first["msg"], path=f"{path}: {'.'.join(map(str, first['loc']))}") from None


class Nats(Settings):
    url: str = Field(description="nats://host:port, or tls://host:port")
    credentials: Path | None = Field(default=None, description="folder with the files `user` and `password`")
    ca: Path | None = Field(default=None, description="PEM file; TLS only, and only with a server that it vouches for")


class WebChannel(Settings):
    type: Literal["web"] = "web"
    name: str
    secret: Path = Field(description="folder; `session-key` signs the session cookie")
    title: str = "Herald"


class HmacChannel(Settings):
    type: Literal["hmac"] = "hmac"
    name: str
    secret: Path = Field(description="folder; `secret`, and `secret-previous` during a rotation")
    reply_url: str
    on_unknown: Literal["resend", "hold"] = "resend"


class StandardWebhooksChannel(Settings):
    type: Literal["standardWebhooks"] = "standardWebhooks"
    name: str
    secret: Path = Field(description="folder; `secret` (whsec_...), and `secret-previous` during a rotation")
    reply_url: str
    on_unknown: Literal["resend", "hold"] = "resend"


class FeishuChannel(Settings):
    type: Literal["feishu"] = "feishu"
    name: str
    secret: Path = Field(description="folder; `app-secret`, `encrypt-key`, `verification-token`, each with -previous")
    app_id: str
    base_url: str = "https://open.feishu.cn"
    streaming: bool = True


Channel = Annotated[WebChannel | HmacChannel | StandardWebhooksChannel | FeishuChannel, Field(discriminator="type")]


class Limits(Settings):
    """What a stranger may cost the gateway. Each refusal is counted by its reason."""

    body_bytes: StrictInt = Field(default=1_048_576, ge=1_024, le=16_777_216, description="of one request; more is 413")
    header_bytes: StrictInt = Field(
        default=32_768, ge=1_024, le=262_144, description="all headers of one request; more is 431"
    )
    header_seconds: StrictFloat = Field(default=5.0, gt=0, le=60, description="from connect to the last header byte")
    body_seconds: StrictFloat = Field(
        default=10.0, gt=0, le=120, description="from the last header byte to the last body byte"
    )
    connections_per_address: StrictInt = Field(
        default=256, ge=1, le=65_536, description="open at the same time from one address"
    )
    connections: StrictInt = Field(
        default=4_096, ge=1, le=65_536, description="open at the same time, per replica of the gateway"
    )
    json_depth: StrictInt = Field(default=32, ge=2, le=200, description="levels of nesting in a body; more is 400")
    json_keys: StrictInt = Field(default=2_000, ge=10, le=100_000, description="over the whole document")


class GatewaySettings(Settings):
    namespace: str
    name: str
    nats: Nats
    host: str = "127.0.0.1"
    port: int = Field(ge=0, le=65_535)
    channels: tuple[Channel, ...] = Field(min_length=1)
    limits: Limits = Limits()
    publish_deadline: float = Field(default=2.5, gt=0, description="from the request to a durable PubAck, else 503")
    deliver_for: float = Field(default=86_400, gt=0, description="how long a reply is tried before it is a dead letter")
    deliveries_in_flight: int = Field(default=64, ge=1, le=1_000)
    drain_seconds: float = Field(default=20, gt=0)
    trusted_proxies: tuple[str, ...] = Field(default=(), description="addresses whose X-Forwarded-For is believed")
    public_hosts: tuple[str, ...] = Field(
        default=(), description="hosts, without ports, by which the chat page may be asked for; none: any"
    )
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=0, ge=0, le=65_535, description="probes and metrics; 0: a free one, as logged")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def names(self) -> Names:
        return Names(self.namespace, self.name)


class Database(Settings):
    """Where PostgreSQL is. `dsn_file` holds a libpq connection string, password included, and is never logged."""

    dsn_file: Path
    pool_max: int = Field(default=50, ge=1, le=500)
    pool_min: int = Field(default=5, ge=0, le=500)
    pool_max_lifetime: float = Field(default=1_800, gt=0)
    pool_wait: float = Field(default=30, gt=0, description="longest wait for a free connection")


class TritonModel(Settings):
    backend: Literal["triton"] = "triton"
    url: str = Field(description="host:port of Triton's gRPC service")
    model: str = Field(default="tensorrt_llm", description="Triton's name for the model")
    template: Path | None = Field(default=None, description="Jinja chat template; none: Herald's plain one")


class OpenAiModel(Settings):
    backend: Literal["openai"] = "openai"
    base_url: str = Field(description="up to and with /v1")
    model: str
    secret: Path | None = Field(default=None, description="folder; `api-key`")


class Generation(Settings):
    max_tokens: int = Field(default=256, ge=1, le=8_192)
    temperature: float = Field(default=0.2, ge=0, le=2)
    max_input_tokens: int = Field(default=3_072, ge=128, le=1_000_000)
    first_token_seconds: float = Field(default=60, gt=0, description="longest silence before the first token")
    idle_seconds: float = Field(default=30, gt=0, description="longest silence between two tokens")


class Memory(Settings):
    milvus_uri: str = Field(description="http://host:port, or https://host:port")
    credentials: Path | None = Field(default=None, description="folder; `token` for Milvus: user:password, or a key")
    embedder_url: str = Field(description="host:port of Triton's gRPC service")
    embedder: str = "embedder"
    recall_seconds: float = Field(default=0.05, gt=0, le=5, description="then recall is skipped and counted")
    recall_limit: int = Field(default=5, ge=1, le=50)


class AgentSettings(Settings):
    namespace: str
    name: str
    revision: str = Field(min_length=1, max_length=63)
    nats: Nats
    database: Database
    instructions: str = Field(min_length=1, max_length=32_768)
    model: Annotated[TritonModel | OpenAiModel, Field(discriminator="backend")]
    generation: Generation = Generation()
    memory: Memory | None = None
    concurrency: int = Field(default=16, ge=1, le=512, description="turns in flight per worker")
    per_user: int = Field(default=4, ge=1, le=512, description="turns in flight per user over all workers")
    turn_seconds: float = Field(default=120, gt=0, description="from its first start to a reply, retries included")
    lease_seconds: float = Field(default=6, ge=1, description="a turn not renewed for this long is adopted by another")
    history_messages: int = Field(default=20, ge=0, le=200)
    drain_seconds: float = Field(default=20, gt=0)
    health_host: str = "127.0.0.1"
    health_port: int = Field(ge=0, le=65_535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def names(self) -> Names:
        return Names(self.namespace, self.name)
