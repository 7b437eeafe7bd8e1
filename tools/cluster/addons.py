"""Objects that every cluster with a node finds in itself: a default storage class, DNS, and the nodes of kwok."""

from tools.cluster.api import Object
from tools.cluster.control_plane import DNS_SERVICE, NODE_ADDRESS

STORAGE_CLASS = "standard"
_SYSTEM = "kube-system"


def storage_class() -> Object:
    """The default one: each claim gets a folder of this machine, at once."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "herald.dev/folders",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def dns() -> list[Object]:
    """The service under which pods ask for names. What answers is no pod, so it is written down by hand."""
    ports = [{"name": f"dns-{protocol.lower()}", "protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": _SYSTEM, "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": DNS_SERVICE, "ports": ports},
    }
    slice_: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns",
            "namespace": _SYSTEM,
            "labels": {"kubernetes.io/service-name": "kube-dns", "endpointslice.kubernetes.io/managed-by": "herald"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return [service, slice_]


def fake_node(name: str) -> Object:
    """A node that kwok plays; kwok gives it room for more pods than anybody will ask for."""
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    metadata = {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": labels}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
