"""spec.agent: the workers, and what they remember."""

from typing import ClassVar

from pydantic import Field, StrictBool, StrictInt, model_validator

from herald_contracts.resources.v1alpha1.schema import Resource, Resources, Rule
from herald_contracts.resources.v1alpha1.servers import Milvus


class LagAutoscaling(Resource):
    """Between `min` and `max` workers, by how many messages wait: a ScaledObject where KEDA is, otherwise by CPU."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.min <= self.max", "min must not be more than max"),)

    min: StrictInt = Field(default=2, ge=1, le=32, description="never fewer")
    max: StrictInt = Field(ge=1, le=32, description="never more")
    lag_threshold: StrictInt = Field(default=20, ge=1, le=10_000, description="messages waiting per worker (KEDA)")
    cpu_percent: StrictInt = Field(default=70, ge=10, le=100, description="of what is requested, where KEDA is not")

    @model_validator(mode="after")
    def _ordered(self) -> "LagAutoscaling":
        if self.min > self.max:
            raise ValueError("min must not be more than max")
        return self


class AgentMemory(Resource):
    """What is remembered of people beyond a conversation."""

    enabled: StrictBool = Field(default=True, description="remember, and recall")
    recall_milliseconds: StrictInt = Field(
        default=50, ge=5, le=5_000, description="recall is skipped beyond this, and counted"
    )
    milvus: Milvus = Field(default=Milvus(), description="where the vectors live")


class Agent(Resource):
    """The workers: each runs many turns at a time."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("!(has(self.autoscaling) && has(self.replicas))", "either replicas or autoscaling, not both"),
    )

    replicas: StrictInt | None = Field(default=None, ge=1, le=32, description="how many; 2 without autoscaling")
    autoscaling: LagAutoscaling | None = Field(default=None, description="instead of replicas")
    concurrency: StrictInt = Field(default=16, ge=1, le=512, description="turns in flight per worker")
    per_user: StrictInt = Field(default=4, ge=1, le=512, description="turns in flight per user, over all workers")
    turn_seconds: StrictInt = Field(
        default=120, ge=1, le=86_400, description="a turn that takes longer becomes a dead letter"
    )
    history_messages: StrictInt = Field(default=20, ge=0, le=200, description="earlier messages the model sees")
    memory: AgentMemory = Field(default=AgentMemory(), description="what is remembered of people")
    resources: Resources | None = Field(default=None, description="of each worker's container")

    @property
    def most(self) -> int:
        """The most workers of one revision that may run at the same time."""
        return self.autoscaling.max if self.autoscaling is not None else self.replicas or 2

    @property
    def least(self) -> int:
        """How many are started."""
        return self.autoscaling.min if self.autoscaling is not None else self.replicas or 2

    @model_validator(mode="after")
    def _fits(self) -> "Agent":
        if self.autoscaling is not None and self.replicas is not None:
            raise ValueError("either replicas or autoscaling, not both")
        return self
