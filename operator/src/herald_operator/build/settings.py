"""The one renderer of every service's settings: AgentDeployment and places in, settings out. Pure.

Local mode writes the result into files and a cluster into ConfigMaps, so a deployment that works on one machine
means the same thing everywhere.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from herald_contracts import settings
from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_contracts.resources.v1alpha1.channels import Channel
from herald_contracts.resources.v1alpha1.inference import Inference

SCRIPTED = "scripted"  # spec.inference.model, and the model's name in Triton
CHAT_MODEL = "tensorrt_llm"
EMBEDDER = "embedder"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of one deployment are.

    `secrets` holds one folder per Secret. `connections` is how many database connections all workers may use
    together. `milvus_uri` may be empty only where memory is off, `triton` (host:port) only where neither memory
    nor the model needs it. `embedder` is where the embedder runs when that is another Triton.
    """

    nats: settings.Nats
    dsn_file: Path
    secrets: Path
    triton: str
    milvus_uri: str
    embedder: str = ""
    milvus_credentials: Path | None = None
    connections: int = 100
    chat_template: Path | None = None


def gateway(
    deployment: AgentDeployment,
    places: Places,
    *,
    host: str,
    port: int,
    health_port: int,
    health_host: str = "127.0.0.1",
    public_hosts: tuple[str, ...] = (),
) -> settings.GatewaySettings:
    """What the gateway is given. Its page answers to the names in `public_hosts`, to all where there are none."""
    spec = deployment.spec
    return settings.GatewaySettings(
        namespace=deployment.metadata.namespace,
        name=deployment.metadata.name,
        nats=places.nats,
        host=host,
        port=port,
        health_host=health_host,
        health_port=health_port,
        public_hosts=public_hosts,
        trusted_proxies=spec.gateway.trusted_proxies,
        channels=tuple(_channel(channel, deployment, places.secrets) for channel in spec.channels),
        limits=settings.Limits.model_validate(spec.gateway.limits.model_dump()),
        log_level=spec.log_level,
    )


def agent(deployment: AgentDeployment, places: Places, *, health_port: int) -> settings.AgentSettings:
    """What one worker is given; `health_port` differs between workers that share a machine."""
    spec = deployment.spec
    most: int = settings.Database.model_fields["pool_max"].default
    pool_max = max(2, min(most, places.connections // spec.agent.most))
    memory = spec.agent.memory
    return settings.AgentSettings(
        namespace=deployment.metadata.namespace,
        name=deployment.metadata.name,
        revision=revision(deployment),
        nats=places.nats,
        database=settings.Database(dsn_file=places.dsn_file, pool_max=pool_max, pool_min=min(5, pool_max)),
        instructions=instructions(deployment),
        model=_model(spec.inference, places),
        generation=settings.Generation(
            max_tokens=spec.inference.max_tokens,
            temperature=spec.inference.temperature,
            max_input_tokens=spec.inference.max_input_tokens,
        ),
        memory=settings.Memory(
            milvus_uri=places.milvus_uri,
            embedder_url=places.embedder or places.triton,
            credentials=places.milvus_credentials,
            embedder=EMBEDDER,
            recall_seconds=memory.recall_milliseconds / 1_000,
        )
        if memory.enabled
        else None,
        concurrency=spec.agent.concurrency,
        per_user=spec.agent.per_user,
        turn_seconds=spec.agent.turn_seconds,
        history_messages=spec.agent.history_messages,
        health_port=health_port,
        log_level=spec.log_level,
    )


def instructions(deployment: AgentDeployment) -> str:
    """The system prompt. Whoever read the ConfigMap of `instructionsFrom` has put its text in place (`resolved`)."""
    assert deployment.spec.instructions is not None, "resolve the deployment first"  # noqa: S101
    return deployment.spec.instructions


def revision(deployment: AgentDeployment) -> str:
    """`v1-` and 12 characters: the same for two deployments exactly when the same things shape their answers.

    The fields are listed one by one, and the list has a version: a field that a later Herald adds must not give
    every running deployment a new revision. Scale, ports, limits and secrets are left out on purpose.
    """
    spec = deployment.spec
    shapes: dict[str, object] = {
        "instructions": instructions(deployment),
        "model": spec.inference.model,
        "backend": spec.inference.backend,
        "endpoint": spec.inference.openai.base_url if spec.inference.openai else None,
        "maxTokens": spec.inference.max_tokens,
        "maxInputTokens": spec.inference.max_input_tokens,
        "temperature": spec.inference.temperature,
        "historyMessages": spec.agent.history_messages,
        "memory": spec.agent.memory.enabled,
        "recallMilliseconds": spec.agent.memory.recall_milliseconds if spec.agent.memory.enabled else None,
    }
    # What most deployments do not say must not be in the list, or it would have changed their revision.
    if spec.inference.gpu is not None:
        shapes["llmapi"] = {"gpus": spec.inference.gpu.count, "maxBatchSize": spec.inference.max_batch_size}
    images = {"agent": spec.images.agent, "inference": spec.images.inference}
    if any(images.values()):
        shapes["images"] = images
    text = json.dumps(shapes, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = base64.b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()
    return f"v1-{digest[:12]}"


def session_secret(deployment: AgentDeployment, channel: str) -> str:
    """Name of the Secret that signs a chat page's sessions: nobody writes it, it is made."""
    return f"{deployment.metadata.name}-{channel}-session"


def triton_models(deployment: AgentDeployment) -> tuple[str, ...]:
    """The models that Triton has to load for it; none when it needs no Triton."""
    spec = deployment.spec
    chat = () if spec.inference.backend == "openai" else (_chat_model(spec.inference),)
    return (*chat, *((EMBEDDER,) if spec.agent.memory.enabled else ()))


def _chat_model(inference: Inference) -> str:
    return SCRIPTED if inference.model == SCRIPTED else CHAT_MODEL


def _model(inference: Inference, places: Places) -> settings.TritonModel | settings.OpenAiModel:
    if inference.openai is not None:
        reference = inference.openai.secret_ref
        return settings.OpenAiModel(
            base_url=inference.openai.base_url,
            model=inference.model,
            secret=places.secrets / reference.name if reference else None,
        )
    return settings.TritonModel(url=places.triton, model=_chat_model(inference), template=places.chat_template)


def _channel(channel: Channel, deployment: AgentDeployment, secrets: Path) -> settings.Channel:
    if channel.web is not None:
        secret = secrets / session_secret(deployment, channel.name)
        return settings.WebChannel(name=channel.name, secret=secret, title=channel.web.title)
    if channel.hmac is not None:
        return settings.HmacChannel(
            name=channel.name,
            secret=secrets / channel.hmac.secret_ref.name,
            reply_url=channel.hmac.reply_url,
            on_unknown=channel.hmac.on_unknown,
        )
    if channel.standard_webhooks is not None:
        return settings.StandardWebhooksChannel(
            name=channel.name,
            secret=secrets / channel.standard_webhooks.secret_ref.name,
            reply_url=channel.standard_webhooks.reply_url,
            on_unknown=channel.standard_webhooks.on_unknown,
        )
    assert channel.feishu is not None, "the model makes sure of exactly one"  # noqa: S101
    return settings.FeishuChannel(
        name=channel.name,
        secret=secrets / channel.feishu.secret_ref.name,
        app_id=channel.feishu.app_id,
        base_url=channel.feishu.base_url,
        streaming=channel.feishu.streaming,
    )
