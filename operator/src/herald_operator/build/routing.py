"""The way in from outside: an HTTPRoute or an Ingress to the gateway's Service; and who may watch. Pure."""

from herald_operator.build import gateway
from herald_operator.build.context import Context
from herald_operator.build.naming import DEPLOYMENT, Object

COMPONENT = gateway.COMPONENT


def routes(context: Context) -> tuple[Object, ...]:
    """Nothing where no route is asked for."""
    spec = context.deployment.spec.gateway
    if spec.route is None or spec.host is None:
        return ()
    owner, name = context.owner, context.owner.child("gateway")
    if spec.route.http_route is not None:
        parent = spec.route.http_route.parent_ref
        reference = parent.model_dump(by_alias=True, exclude_none=True)
        rule = {"backendRefs": [{"name": name, "port": gateway.PORT}]}
        body = {"parentRefs": [reference], "hostnames": [spec.host], "rules": [rule]}
        return (owner.object("HTTPRoute", "gateway.networking.k8s.io/v1", name, COMPONENT, {"spec": body}),)
    ingress = spec.route.ingress
    assert ingress is not None, "the model makes sure of exactly one"  # noqa: S101
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    rules = [{"host": spec.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
    body = {
        **({"ingressClassName": ingress.class_name} if ingress.class_name else {}),
        **({"tls": [{"hosts": [spec.host], "secretName": ingress.tls_secret}]} if ingress.tls_secret else {}),
        "rules": rules,
    }
    annotations = dict(ingress.annotations) or None
    return (owner.object("Ingress", "networking.k8s.io/v1", name, COMPONENT, {"spec": body}, annotations=annotations),)


def monitors(context: Context) -> tuple[Object, ...]:
    """What the Prometheus Operator reads, where its API exists: gateway and workers."""
    owner = context.owner
    made = []
    for component in ("gateway", "agent"):
        body = {
            "spec": {
                "selector": {"matchLabels": owner.selector(component)},
                "podMetricsEndpoints": [{"port": "health", "path": "/metrics", "interval": "30s"}],
                "podTargetLabels": [DEPLOYMENT],
            }
        }
        made.append(owner.object("PodMonitor", "monitoring.coreos.com/v1", owner.child(component), component, body))
    return tuple(made)
