"""What all parts of the resource share: the base model, its rules, and the kinds of text a field may hold.

A rule is written twice on purpose: as a pydantic validator, which speaks on one machine and inside the operator,
and as a CEL expression, which the API server speaks at `kubectl apply`. A test gives both the same cases.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel


@dataclass(frozen=True, slots=True)
class Rule:
    """One CEL rule of the CRD: `x-kubernetes-validations` of the model that holds it."""

    expression: str
    message: str


class Resource(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    rules: ClassVar[tuple[Rule, ...]] = ()


Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=40)]
ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=253)]
# Replies carry people's words: plain http only where it cannot leave the machine or the cluster.
ReplyUrl = Annotated[
    str,
    StringConstraints(
        pattern=r"^(https://[^\s/?#@]+"
        r"|http://(127\.0\.0\.1|localhost|\[::1\]|[a-z0-9-]+\.[a-z0-9-]+\.svc(\.cluster\.local)?)(:\d{1,5})?)"
        r"([/?#]\S*)?$",
        max_length=2_048,
    ),
]
HttpUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+\S*$", max_length=2_048)]
Host = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$", max_length=253)
]
# resource.Quantity, but for its exponents: what people write.
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$", max_length=32)]
Bytes = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*(Mi|Gi|Ti)$", max_length=16)]
Image = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._/:@-]*$", max_length=512)]
LabelKey = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$", max_length=317)
]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$", max_length=63)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=64)]

_UNITS = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def in_bytes(size: str) -> int:
    """A `Bytes` field as a number."""
    return int(size[:-2]) * _UNITS[size[-2:]]


class SecretRef(Resource):
    """A Secret in the same namespace; in local mode a Secret in the same file, or one that `herald up` makes."""

    name: ObjectName = Field(description="name of the Secret")


class ConfigMapKey(Resource):
    """One key of a ConfigMap in the same namespace; in local mode of one in the same file."""

    name: ObjectName = Field(description="name of the ConfigMap")
    key: Key = Field(description="its key")


class Resources(Resource):
    """What a container asks for and may use, as in every pod: cpu, memory, ephemeral-storage, nvidia.com/gpu."""

    requests: Annotated[dict[LabelKey, Quantity], Field(max_length=16)] = Field(
        default_factory=dict, description="kept free for it: cpu, memory"
    )
    limits: Annotated[dict[LabelKey, Quantity], Field(max_length=16)] = Field(
        default_factory=dict, description="the most it may use: cpu, memory"
    )


class Toleration(Resource):
    """As in every pod."""

    key: LabelKey | None = Field(default=None, description="taint it tolerates; none: every taint")
    operator: str = Field(default="Equal", pattern="^(Equal|Exists)$", description="Equal or Exists")
    value: LabelValue | None = Field(default=None, description="the taint's value")
    effect: str | None = Field(
        default=None, pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$", description="none: every effect"
    )
    toleration_seconds: int | None = Field(default=None, ge=0, le=86_400, description="with NoExecute: how long")
