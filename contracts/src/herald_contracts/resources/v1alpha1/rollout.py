"""spec.rollout, and the few switches that a person has over the whole deployment."""

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from herald_contracts.resources.v1alpha1.schema import Distinct, Image, ObjectName, Resource


class Rollout(Resource):
    """How a new revision takes over from the one that answers."""

    auto_promote: StrictBool = Field(
        default=True, description="switch as soon as the candidate is available; false waits for a person's promote"
    )
    progress_deadline_seconds: StrictInt = Field(
        default=600, ge=10, le=86_400, description="a candidate not available by then is given up; the old one stays"
    )
    drain_deadline_seconds: StrictInt = Field(
        default=300, ge=5, le=86_400, description="how long workers of the old revision may finish their turns"
    )
    scale_down_delay_seconds: StrictInt = Field(
        default=30, ge=0, le=86_400, description="how long the old revision stays ready for a quick way back"
    )
    revision_history_limit: StrictInt = Field(
        default=3, ge=1, le=20, description="how many successful revisions are kept to go back to"
    )


class Images(Resource):
    """Other images than those that this version of the operator brings; none needs to be given."""

    gateway: Image | None = Field(default=None, description="of the gateway")
    agent: Image | None = Field(default=None, description="of the workers and the migration")
    inference: Image | None = Field(default=None, description="of Triton")
    nats: Image | None = Field(default=None, description="of the managed NATS")
    postgres: Image | None = Field(
        default=None, description="of PostgreSQL: the managed one, or one that CloudNativePG can run"
    )
    milvus: Image | None = Field(default=None, description="of the managed Milvus")
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = Field(
        default="IfNotPresent", description="as in every pod"
    )
    pull_secrets: Annotated[tuple[ObjectName, ...], Distinct] = Field(
        default=(),
        max_length=8,
        description="Secrets of type kubernetes.io/dockerconfigjson",
        json_schema_extra={"listType": "set"},
    )


class Local(Resource):
    """Where `herald up` listens on one machine. A cluster knows no such field."""

    host: str = Field(default="127.0.0.1", max_length=253, description="address to listen on")
    port: StrictInt | None = Field(
        default=None, ge=1, le=65_535, description="default: 8080, or a free one when it is taken"
    )
