"""What the operator reports about an AgentDeployment: the shape of `status`, for the CRD and for those who read it."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from herald_contracts.resources.v1alpha1.schema import Label, Resource

Word = Annotated[str, Field(max_length=128)]
Sentence = Annotated[str, Field(max_length=4_096)]
Time = Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]


class Condition(Resource):
    """As in all of Kubernetes."""

    type: Word = Field(description="what is true, false or unknown")
    status: Literal["True", "False", "Unknown"] = Field(description="True is good, always")
    observed_generation: StrictInt = Field(default=0, ge=0, description="of the spec that it speaks about")
    last_transition_time: Time = Field(description="when status changed last")
    reason: Word = Field(description="one CamelCase word, for machines")
    message: Sentence = Field(default="", description="one sentence for people, with the next step")


class Component(Resource):
    """One part of the deployment."""

    name: Word = Field(description="nats, postgres, milvus, migration, inference, gateway, agents")
    ready: StrictBool = Field(description="whether it does its work")
    message: Sentence = Field(default="", description="how far it is, or what it waits for and what to do")


class ChannelStatus(Resource):
    """One channel."""

    name: Label = Field(description="as in spec.channels")
    type: Word = Field(description="its platform")
    callback_url: Annotated[str, Field(max_length=2_048)] = Field(
        default="", alias="callbackURL", description="what to tell the platform; needs spec.gateway.host"
    )


class HistoryEntry(Resource):
    """One revision that was tried."""

    revision: Word = Field(description="its name, also the end of its ReplicaSet's name")
    number: StrictInt = Field(default=0, ge=0, description="counts up")
    promoted_at: Time | None = Field(default=None, description="when it began to answer")
    outcome: Literal["InFlight", "Successful", "Failed", "Superseded"] = Field(description="what became of it")
    message: Sentence = Field(default="", description="why it failed")


class Status(Resource):
    """What is, as the operator last saw it."""

    observed_generation: StrictInt = Field(default=0, ge=0, description="of the spec that this speaks about")
    phase: Word = Field(default="", description="one word for people; machines read conditions")
    active_revision: Word = Field(default="", description="answers now")
    candidate_revision: Word = Field(default="", description="is being started or checked")
    stable_revision: Word = Field(default="", description="last one that proved itself")
    history: tuple[HistoryEntry, ...] = Field(default=(), max_length=32, description="newest first")
    channels: tuple[ChannelStatus, ...] = Field(default=(), max_length=16, description="as in spec.channels")
    channel_names: Sentence = Field(
        default="", description="names of all channels, joined by commas: a printer column shows no list"
    )
    components: tuple[Component, ...] = Field(
        default=(),
        max_length=16,
        description="its parts, in order of their start",
    )
    replicas: StrictInt = Field(default=0, ge=0, description="workers of the active revision")
    selector: Annotated[str, Field(max_length=512)] = Field(default="", description="finds them (scale subresource)")
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=32, description="what machines wait for", json_schema_extra={"listKey": "type"}
    )
