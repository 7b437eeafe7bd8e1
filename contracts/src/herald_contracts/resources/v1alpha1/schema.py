r"""What all parts of the resource share: the base model, its rules, and the kinds of text a field may hold.

A rule is written twice on purpose: as a pydantic validator, which speaks on one machine and inside the operator,
and as a CEL expression, which the API server speaks at `kubectl apply`. A test gives both the same cases. For the
same reason patterns keep to what Go's and Rust's engines read alike (no look-around, no \d, which is Unicode in one
and ASCII in the other), and numbers and booleans are taken as written: "2" is no number on either side.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel


@dataclass(frozen=True, slots=True)
class Rule:
    """One CEL rule of the CRD: `x-kubernetes-validations` of the model that holds it.

    `path` is the field that an error names, such as `.messaging.nats`; empty: the model's own.
    """

    expression: str
    message: str
    path: str = ""


class Resource(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    rules: ClassVar[tuple[Rule, ...]] = ()


_DNS_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_QUALIFIED = r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
_PORT = "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?"
_HOST_PORT = rf"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]){_PORT}"  # of a URL: ASCII, and no user or password
_REST = "([/?#][!-~]*)?"

Label = Annotated[str, StringConstraints(pattern=f"^{_DNS_LABEL}$", max_length=40)]
# Of what others named: any name that Kubernetes allows.
NamespaceName = Annotated[str, StringConstraints(pattern=f"^{_DNS_LABEL}$", max_length=63)]
ObjectName = Annotated[str, StringConstraints(pattern=rf"^{_DNS_LABEL}(\.{_DNS_LABEL})*$", max_length=253)]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=253)]
# Replies carry people's words: plain http only where it cannot leave the machine or the cluster.
ReplyUrl = Annotated[
    str,
    StringConstraints(
        pattern=rf"^(https://{_HOST_PORT}"
        r"|http://(127\.0\.0\.1|localhost|\[::1\]|[a-z0-9-]+\.[a-z0-9-]+\.svc(\.cluster\.local)?)"
        rf"{_PORT}){_REST}$",
        max_length=2_048,
    ),
]
HttpUrl = Annotated[str, StringConstraints(pattern=rf"^https?://{_HOST_PORT}{_REST}$", max_length=2_048)]
NatsUrl = Annotated[str, StringConstraints(pattern=rf"^(nats|tls)://{_HOST_PORT}$", max_length=512)]
Host = Annotated[str, StringConstraints(pattern=rf"^{_DNS_LABEL}(\.{_DNS_LABEL})+$", max_length=253)]
Bytes = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*(Mi|Gi|Ti)$", max_length=16)]
Image = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._/:@-]*$", max_length=512)]
LabelKey = Annotated[str, StringConstraints(pattern=_QUALIFIED, max_length=317)]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)?$", max_length=63)]
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=64)]
Annotations = Annotated[dict[LabelKey, Annotated[str, StringConstraints(max_length=4_096)]], Field(max_length=64)]


def _as_text(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        raise ValueError(f'{value} is a fraction: write it as text, such as "500m" or "{value}"')
    return value


# resource.Quantity, but for its exponents: what people write. `cpu: 2` is YAML's number and as good as "2".
_QuantityText = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$", max_length=32)]
Quantity = Annotated[
    _QuantityText,
    BeforeValidator(_as_text, json_schema_input_type=_QuantityText),
    Field(json_schema_extra={"intOrString": True}),
]
Quantities = Annotated[dict[LabelKey, Quantity], Field(max_length=16)]

_Item = TypeVar("_Item", bound=Hashable)


def _distinct(items: tuple[_Item, ...]) -> tuple[_Item, ...]:
    for number, item in enumerate(items):
        if item in items[:number]:
            raise ValueError(f"{item!r} is there twice")
    return items


# Of a tuple whose order means nothing: x-kubernetes-list-type set, which two appliers may share.
Distinct = AfterValidator(_distinct)

_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


def in_bytes(size: str) -> int:
    """A `Bytes` field as a number."""
    return int(size[:-2]) * _BINARY[size[-2:]]


def amount(quantity: str) -> Decimal:
    """A `Quantity` as a number: "500m" is 0.5, "1Ki" 1024."""
    number = quantity.rstrip("mkKMGTi")
    unit = quantity[len(number) :]
    return Decimal(number) / 1_000 if unit == "m" else Decimal(number) * (_BINARY | _DECIMAL)[unit]


class SecretRef(Resource):
    """A Secret in the same namespace; in local mode a Secret in the same file, or one that `herald up` makes."""

    name: ObjectName = Field(description="name of the Secret")


class ConfigMapKey(Resource):
    """One key of a ConfigMap in the same namespace; in local mode of one in the same file."""

    name: ObjectName = Field(description="name of the ConfigMap")
    key: Key = Field(description="its key")


_MORE = "no request may be more than its limit"


class Resources(Resource):
    """What a container asks for and may use, as in every pod: cpu, memory, ephemeral-storage, nvidia.com/gpu."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.requests) || !has(self.limits) || self.requests.all(key, !(key in self.limits) || "
            "quantity(string(self.requests[key])).compareTo(quantity(string(self.limits[key]))) <= 0)",
            _MORE,
        ),
    )

    requests: Quantities = Field(default_factory=dict, description="kept free for it: cpu, memory")
    limits: Quantities = Field(default_factory=dict, description="the most it may use: cpu, memory")

    @model_validator(mode="after")
    def _ordered(self) -> "Resources":
        for key, request in self.requests.items():
            if key in self.limits and amount(request) > amount(self.limits[key]):
                raise ValueError(f"{_MORE}: {key} {request} > {self.limits[key]}")
        return self


_VALUE = "a toleration with operator Exists takes no value"
_KEYLESS = "a toleration without key tolerates every taint: its operator is Exists"
_SECONDS = "tolerationSeconds needs effect NoExecute"


class Toleration(Resource):
    """As in every pod."""

    # Defaults of what stands in a list are not in the CRD (tools/gen says why): each rule asks first.
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("!has(self.operator) || self.operator != 'Exists' || !has(self.value)", _VALUE),
        Rule("has(self.key) || (has(self.operator) && self.operator == 'Exists')", _KEYLESS),
        Rule("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')", _SECONDS),
    )

    key: LabelKey | None = Field(default=None, description="taint it tolerates; none: every taint")
    operator: Literal["Equal", "Exists"] = Field(default="Equal", description="Exists tolerates every value")
    value: LabelValue | None = Field(default=None, description="the taint's value")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="none: every effect"
    )
    toleration_seconds: StrictInt | None = Field(default=None, ge=0, le=86_400, description="with NoExecute: how long")

    @model_validator(mode="after")
    def _possible(self) -> "Toleration":
        if self.operator == "Exists" and self.value is not None:
            raise ValueError(_VALUE)
        if self.key is None and self.operator != "Exists":
            raise ValueError(_KEYLESS)
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError(_SECONDS)
        return self
