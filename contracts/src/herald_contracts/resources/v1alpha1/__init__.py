"""AgentDeployment, herald.dev/v1alpha1: exactly the fields that work today.

The same model validates local mode's file, generates the CRD and is what the operator reads. A field that does not
work yet is not here, so that writing it is an error with a hint (see `parse`) and never a silent nothing.
Names are camelCase as everywhere in Kubernetes; durations end in Seconds.
"""

from typing import ClassVar, Literal

from pydantic import Field, StrictBool, model_validator

from herald_contracts.resources.v1alpha1.agent import Agent
from herald_contracts.resources.v1alpha1.channels import Channel
from herald_contracts.resources.v1alpha1.gateway import Gateway
from herald_contracts.resources.v1alpha1.inference import Inference
from herald_contracts.resources.v1alpha1.rollout import Images, Local, Rollout
from herald_contracts.resources.v1alpha1.schema import ConfigMapKey, Label, NamespaceName, Resource, Rule
from herald_contracts.resources.v1alpha1.servers import KEPT, Database, Messaging

GROUP = "herald.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "AgentDeployment"
PLURAL = "agentdeployments"
MAX_INSTRUCTIONS = 32_768  # characters

# Images of what does not run here: what is said of each, by its field.
_IDLE_IMAGES = {
    "nats": "images.nats is for a managed NATS, and messaging.nats.external is yours: leave it out",
    "postgres": "images.postgres is for a managed PostgreSQL, and database.external is yours: leave it out",
    "milvus": "images.milvus is for a managed Milvus, and agent.memory.milvus.external is yours: leave it out",
    "inference": "images.inference is for Triton, which backend openai without memory does not need: leave it out",
}


def _idle(image: str, where: str) -> Rule:
    return Rule(f"!(self.?images.{image}.hasValue() && {where})", _IDLE_IMAGES[image], f".images.{image}")


class Spec(Resource):
    """What is wanted."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.instructions) != has(self.instructionsFrom)",
            "exactly one of instructions, instructionsFrom is needed",
        ),
        *KEPT,
        _idle("nats", "self.?messaging.nats.external.hasValue()"),
        _idle("postgres", "self.?database.external.hasValue()"),
        _idle("milvus", "self.?agent.memory.milvus.external.hasValue()"),
        _idle("inference", "self.inference.backend == 'openai' && !self.?agent.memory.enabled.orValue(true)"),
    )

    instructions: str | None = Field(
        default=None, min_length=1, max_length=MAX_INSTRUCTIONS, description="the system prompt"
    )
    instructions_from: ConfigMapKey | None = Field(default=None, description="the system prompt, from a ConfigMap")
    channels: tuple[Channel, ...] = Field(
        min_length=1,
        max_length=16,
        description="one bot on one chat platform each",
        json_schema_extra={"listKey": "name"},
    )
    gateway: Gateway = Field(default=Gateway(), description="what chat platforms talk to")
    messaging: Messaging = Field(default=Messaging(), description="the way between gateway and workers")
    database: Database = Field(default=Database(), description="PostgreSQL: the truth about every turn")
    agent: Agent = Field(default=Agent(), description="the workers")
    inference: Inference = Field(description="the model, and what serves it")
    rollout: Rollout = Field(default=Rollout(), description="how a new revision takes over")
    images: Images = Field(default=Images(), description="other images than the operator's own")
    deletion_policy: Literal["Retain", "Delete"] = Field(
        default="Retain", description="what becomes of the volumes and made-up secrets when this is deleted"
    )
    suspend: StrictBool = Field(
        default=False, description="stop gateway, workers and inference, keep all data; platforms get 503 and try again"
    )
    paused: StrictBool = Field(default=False, description="the operator changes nothing until this is false again")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="of Herald's own parts")
    local: Local = Field(
        default=Local(), description="where `herald up` listens", json_schema_extra={"localOnly": True}
    )

    @model_validator(mode="after")
    def _one_source_of_instructions(self) -> "Spec":
        if (self.instructions is None) == (self.instructions_from is None):
            raise ValueError("exactly one of instructions, instructionsFrom is needed")
        return self

    @model_validator(mode="after")
    def _channel_names_differ(self) -> "Spec":
        seen: set[str] = set()
        for channel in self.channels:
            if channel.name in seen:
                raise ValueError(f"channels: the name {channel.name!r} is used twice")
            seen.add(channel.name)
        return self

    @model_validator(mode="after")
    def _images_are_in_use(self) -> "Spec":
        elsewhere = {
            "nats": self.messaging.nats.external is not None,
            "postgres": self.database.external is not None,
            "milvus": self.agent.memory.milvus.external is not None,
            "inference": self.inference.backend == "openai" and not self.agent.memory.enabled,
        }
        for image, problem in _IDLE_IMAGES.items():
            if elsewhere[image] and getattr(self.images, image) is not None:
                raise ValueError(problem)
        return self


class Metadata(Resource):
    """Of Kubernetes' own metadata, what Herald reads; labels and annotations are carried, not read."""

    name: Label
    namespace: NamespaceName = "default"
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class AgentDeployment(Resource):
    """An agent in a team's chat, with everything that it needs to run."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.metadata.name.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
            "metadata.name: lower-case letters, digits and '-'",
        ),
    )

    api_version: Literal["herald.dev/v1alpha1"]
    kind: Literal["AgentDeployment"]
    metadata: Metadata
    spec: Spec
