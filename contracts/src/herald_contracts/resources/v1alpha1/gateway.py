"""spec.gateway: how many, how they are reached, what a stranger may cost them."""

from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, StrictInt, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from herald_contracts.resources.v1alpha1.schema import (
    Annotations,
    Distinct,
    Host,
    NamespaceName,
    ObjectName,
    Resource,
    Resources,
    Rule,
)
from herald_contracts.settings import Limits

Network = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F.:/]+$", max_length=64)]


class GatewayLimits(Limits):
    """What a stranger may cost the gateway; every default is safe."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class CpuAutoscaling(Resource):
    """Between `min` and `max` replicas, by CPU: a HorizontalPodAutoscaler."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.min <= self.max", "min must not be more than max"),)

    min: StrictInt = Field(default=2, ge=1, le=100, description="never fewer")
    max: StrictInt = Field(ge=1, le=100, description="never more")
    cpu_percent: StrictInt = Field(default=70, ge=10, le=100, description="of what is requested, over all of them")

    @model_validator(mode="after")
    def _ordered(self) -> "CpuAutoscaling":
        if self.min > self.max:
            raise ValueError("min must not be more than max")
        return self


class ParentRef(Resource):
    """A Gateway of the Gateway API."""

    name: ObjectName = Field(description="name of the Gateway")
    namespace: NamespaceName | None = Field(default=None, description="its namespace, where it is another one")
    section_name: ObjectName | None = Field(default=None, description="one of its listeners; none: all that match")


class HttpRoute(Resource):
    """An HTTPRoute of the Gateway API."""

    parent_ref: ParentRef = Field(description="the Gateway that it hangs on")


class Ingress(Resource):
    """An Ingress."""

    class_name: ObjectName | None = Field(default=None, description="ingressClassName; none: the cluster's default")
    tls_secret: ObjectName | None = Field(default=None, description="Secret of type kubernetes.io/tls for the host")
    annotations: Annotations = Field(default_factory=dict, description="for its controller")


class Route(Resource):
    """How the world reaches the gateway: exactly one way."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.httpRoute) != has(self.ingress)", "exactly one of httpRoute, ingress is needed"),
    )

    http_route: HttpRoute | None = Field(default=None, description="by the Gateway API")
    ingress: Ingress | None = Field(default=None, description="by an Ingress")

    @model_validator(mode="after")
    def _exactly_one(self) -> "Route":
        if (self.http_route is None) == (self.ingress is None):
            raise ValueError("exactly one of httpRoute, ingress is needed")
        return self


class Gateway(Resource):
    """What chat platforms talk to."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("!(has(self.autoscaling) && has(self.replicas))", "either replicas or autoscaling, not both"),
        Rule("!has(self.route) || has(self.host)", "route needs host: the name that the world knows"),
    )

    replicas: StrictInt | None = Field(default=None, ge=1, le=100, description="how many; 2 without autoscaling")
    autoscaling: CpuAutoscaling | None = Field(default=None, description="instead of replicas")
    host: Host | None = Field(default=None, description="the name that the world knows it by, as in callback URLs")
    route: Route | None = Field(default=None, description="how the world reaches it; none: only its Service")
    trusted_proxies: Annotated[tuple[Network, ...], Distinct] = Field(
        default=(),
        max_length=32,
        description="addresses or networks whose X-Forwarded-For is believed: those of your ingress",
        json_schema_extra={"listType": "set"},
    )
    limits: GatewayLimits = Field(default=GatewayLimits(), description="what a stranger may cost it")
    resources: Resources | None = Field(default=None, description="of each gateway's container")

    @model_validator(mode="after")
    def _fits(self) -> "Gateway":
        if self.autoscaling is not None and self.replicas is not None:
            raise ValueError("either replicas or autoscaling, not both")
        if self.route is not None and self.host is None:
            raise ValueError("route needs host: the name that the world knows")
        return self
