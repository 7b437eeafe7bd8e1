"""etcd, API server and controllers: their identities, their flags, and when they are ready. No root needed.

Flags are a pure function of the state folder and the settings, so that a component can be started again at any time
exactly as it was.
"""

from tools.cluster import pki
from tools.cluster.api import Api
from tools.cluster.processes import Program
from tools.cluster.state import Folder, Settings

PODS = "10.213.0.0/24"
NODE_ADDRESS = "10.213.0.1"  # of the bridge that pods and API server meet on
NODE_NAME = "node1"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"  # the API server's own, the first of SERVICES
DNS_SERVICE = "10.96.0.10"
ISSUER = "https://kubernetes.default.svc"

# Component -> (user, group) it is to the API server. Tools of the cluster itself are administrators.
_CLIENTS = {
    "admin": (pki.CONTEXT, "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
    "provisioner": ("herald-cluster:provisioner", "system:masters"),
    "coredns": ("herald-cluster:coredns", "system:masters"),
    "kwok": ("herald-cluster:kwok", "system:masters"),
}


def prepare(folder: Folder, settings: Settings) -> None:
    """Write every certificate and kubeconfig."""
    authority = pki.Authority(folder.pki, "ca")
    here = ["127.0.0.1", "localhost", settings.address]
    inside = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    authority.issue("apiserver", "kube-apiserver", names=list(dict.fromkeys([*here, FIRST_SERVICE, *inside])))
    authority.issue("apiserver-kubelet", "herald-cluster:kube-apiserver", group="system:masters")
    authority.issue("kubelet-server", NODE_NAME, names=[NODE_NAME, NODE_ADDRESS])
    etcd = pki.Authority(folder.pki, "etcd-ca")
    etcd.issue("etcd", "etcd", names=["127.0.0.1"])
    etcd.issue("apiserver-etcd", "kube-apiserver")
    pki.Authority(folder.pki, "front-proxy-ca").issue("front-proxy", "front-proxy-client")
    pki.signing_pair(folder.pki)
    for name, (user, group) in _CLIENTS.items():
        pair = authority.issue(name, user, group=group)
        path = folder.kubeconfig if name == "admin" else folder.client(name)
        pki.kubeconfig(path, settings.server, authority.certificate, pair, user)


def api(folder: Folder, settings: Settings) -> Api:
    """The API server, as administrator."""
    return Api(settings.server, folder.pki / "ca.crt", folder.pki / "admin.crt", folder.pki / "admin.key")


def programs(folder: Folder, settings: Settings) -> list[Program]:
    """In the order in which they are started. A scheduler and volumes only where there is a node."""
    made = [_etcd(folder, settings), _apiserver(folder, settings), _controller_manager(folder, settings)]
    if settings.node != "none":
        made += [_scheduler(folder, settings), _provisioner(folder, settings)]
    return made


def answers(api: Api) -> bool:
    """Whether the API server serves everything it is there for."""
    return api.get("/readyz") is not None


def controls(api: Api) -> bool:
    """Whether the controllers work: without a default service account no pod can be created."""
    return api.get("/api/v1/namespaces/default/serviceaccounts/default") is not None


def has_node(api: Api, name: str) -> bool:
    """Whether this node is ready to run pods."""
    found = api.read(f"/api/v1/nodes/{name}")
    conditions = found.get("status", {}).get("conditions", []) if found else []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _program(settings: Settings, name: str, *flags: str) -> Program:
    return Program(name, (settings.program("kubernetes", name), *flags))


def _etcd(folder: Folder, settings: Settings) -> Program:
    client, peer = f"https://127.0.0.1:{settings.etcd_port}", f"https://127.0.0.1:{settings.peer_port}"
    keys = folder.pki
    tls = [
        f"--{prefix}{flag}={value}"
        for prefix in ("", "peer-")
        for flag, value in (
            ("cert-file", keys / "etcd.crt"),
            ("key-file", keys / "etcd.key"),
            ("trusted-ca-file", keys / "etcd-ca.crt"),
            ("client-cert-auth", "true"),
        )
    ]
    return _program(
        settings,
        "etcd",
        "--name=herald",
        f"--data-dir={folder.root / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=herald={peer}",
        *tls,
        # A cluster that is thrown away need not survive the loss of power.
        "--unsafe-no-fsync",
        # The only member elects itself: at once, and however slow the machine is.
        "--heartbeat-interval=10",
        "--election-timeout=100",
        "--log-level=warn",
    )


def _apiserver(folder: Folder, settings: Settings) -> Program:
    keys = folder.pki
    flags = [
        f"--bind-address={settings.address}",
        f"--secure-port={settings.api_port}",
        f"--cert-dir={keys}",
        f"--tls-cert-file={keys / 'apiserver.crt'}",
        f"--tls-private-key-file={keys / 'apiserver.key'}",
        f"--client-ca-file={keys / 'ca.crt'}",
        f"--etcd-servers=https://127.0.0.1:{settings.etcd_port}",
        f"--etcd-cafile={keys / 'etcd-ca.crt'}",
        f"--etcd-certfile={keys / 'apiserver-etcd.crt'}",
        f"--etcd-keyfile={keys / 'apiserver-etcd.key'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        f"--service-cluster-ip-range={SERVICES}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={keys / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={keys / 'service-accounts.key'}",
        f"--requestheader-client-ca-file={keys / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={keys / 'front-proxy.crt'}",
        f"--proxy-client-key-file={keys / 'front-proxy.key'}",
    ]
    if settings.node == "real":
        flags += [
            f"--advertise-address={settings.address}",
            f"--kubelet-client-certificate={keys / 'apiserver-kubelet.crt'}",
            f"--kubelet-client-key={keys / 'apiserver-kubelet.key'}",
            f"--kubelet-certificate-authority={keys / 'ca.crt'}",
            # By default it would try to resolve the node's name first, which nobody can.
            "--kubelet-preferred-address-types=InternalIP",
        ]
    else:
        # Said outright, or it asks the machine for its default route, and one that is offline has none.
        flags.append(f"--advertise-address={settings.address}")
        # A loopback address may not stand in the endpoints of the service `kubernetes`, and no pod will look.
        flags.append("--endpoint-reconciler-type=none")
    return _program(settings, "kube-apiserver", *flags)


def _controller_manager(folder: Folder, settings: Settings) -> Program:
    keys, client = folder.pki, folder.client("kube-controller-manager")
    # Kwok gives its pods addresses by itself.
    addresses = ["--allocate-node-cidrs", f"--cluster-cidr={PODS}", "--node-cidr-mask-size=24"]
    return _program(
        settings,
        "kube-controller-manager",
        f"--kubeconfig={client}",
        f"--authentication-kubeconfig={client}",
        f"--authorization-kubeconfig={client}",
        "--use-service-account-credentials",
        f"--root-ca-file={keys / 'ca.crt'}",
        f"--service-account-private-key-file={keys / 'service-accounts.key'}",
        f"--cluster-signing-cert-file={keys / 'ca.crt'}",
        f"--cluster-signing-key-file={keys / 'ca.key'}",
        # Each of its forty controllers makes its own client first; at the default rate that alone takes four seconds.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        *(addresses if settings.node == "real" else []),
        "--secure-port=0",
        "--leader-elect=false",
    )


def _scheduler(folder: Folder, settings: Settings) -> Program:
    client = folder.client("kube-scheduler")
    return _program(
        settings,
        "kube-scheduler",
        f"--kubeconfig={client}",
        f"--authentication-kubeconfig={client}",
        f"--authorization-kubeconfig={client}",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--secure-port=0",
        "--leader-elect=false",
    )


def _provisioner(folder: Folder, settings: Settings) -> Program:
    return _program(settings, "provisioner", f"--kubeconfig={folder.client('provisioner')}", f"--root={folder.volumes}")
