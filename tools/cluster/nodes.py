"""A real node of its own making: containerd, kubelet, kube-proxy and DNS, every file of theirs under the state folder.

There can be one on a machine, because it has one set of addresses and rules. It never touches the system's containerd.
"""

import json
import socket
import subprocess
from pathlib import Path

from tools.cluster import cgroups, images, mounts, network, packages
from tools.cluster.control_plane import DNS_SERVICE, NODE_ADDRESS, NODE_NAME, PODS
from tools.cluster.processes import Program
from tools.cluster.state import Folder, Settings
from tools.cluster.trouble import Trouble

_KUBELET_PORT = 10250
_NAMESPACE = "k8s.io"  # containerd's own word for what the kubelet sees
_RESOLVERS = Path("/etc/resolv.conf")


def prepare(folder: Folder, settings: Settings) -> None:
    """Write every configuration file, and make the control group."""
    for path in (folder.node, folder.run, folder.node / "cni"):
        path.mkdir(parents=True, exist_ok=True)
    cgroups.make(folder.id)
    # The kubelet makes sockets in its folder, whose paths must be short; what pods write there belongs on the disk.
    mounts.bind(folder.node / "kubelet", folder.kubelet)
    (folder.node / "cni" / "herald.conflist").write_text(network.cni(f"herald-{folder.id}", folder.node / "addresses"))
    (folder.node / "containerd.toml").write_text(containerd_config(folder))
    (folder.node / "kubelet.json").write_text(json.dumps(kubelet_config(folder), indent=2))
    (folder.node / "resolv.conf").write_text(f"nameserver {NODE_ADDRESS}\n")
    (folder.node / "Corefile").write_text(corefile(folder, _RESOLVERS.read_text() if _RESOLVERS.exists() else ""))
    images.archive(images.PAUSE, {"/pause": Path(settings.program("pause"))}, ["/pause"], _pause(folder), user="65535")


def programs(folder: Folder, settings: Settings) -> list[Program]:
    """In the order in which they are started."""
    kubelet = Program(
        "kubelet",
        (
            settings.program("kubernetes", "kubelet"),
            f"--config={folder.node / 'kubelet.json'}",
            f"--kubeconfig={folder.client('kubelet')}",
            f"--root-dir={folder.kubelet}",
            f"--cert-dir={folder.pki}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE_ADDRESS}",
        ),
    )
    proxy = Program(
        "kube-proxy",
        (
            settings.program("kubernetes", "kube-proxy"),
            f"--kubeconfig={folder.client('kube-proxy')}",
            f"--hostname-override={NODE_NAME}",
            "--proxy-mode=nftables",
            f"--cluster-cidr={PODS}",
            f"--healthz-bind-address={NODE_ADDRESS}:10256",
            f"--metrics-bind-address={NODE_ADDRESS}:10249",
            # The machine's own limits are not ours to change.
            "--conntrack-max-per-core=0",
            "--oom-score-adj=0",
        ),
    )
    dns = Program("coredns", (settings.program("coredns"), "-conf", str(folder.node / "Corefile")))
    return [containerd(folder), kubelet, proxy, dns]


def containerd(folder: Folder) -> Program:
    return Program("containerd", (packages.find("containerd"), "--config", str(folder.node / "containerd.toml")))


def load(folder: Folder, archive: Path) -> list[str]:
    """Bring the images of an archive (OCI or Docker) into the node; their names. Raises Trouble."""
    if not archive.is_file():
        raise Trouble(f"{archive} is not there")
    said = _ctr(folder, "images", "import", str(archive))
    names = [line.split()[1] for line in said.splitlines() if line.startswith("unpacking ")]
    # The kubelet sees an image once containerd's CRI half has noticed it, a moment later.
    folder.processes.wait("images", lambda: all(_noticed(folder, name) for name in names), ["containerd"])
    return names


def load_pause(folder: Folder) -> None:
    """The image that every pod begins with. containerd must run."""
    load(folder, _pause(folder))


def listens(folder: Folder) -> bool:
    """Whether containerd answers."""
    return _call(folder, "version").returncode == 0


def resolves() -> bool:
    """Whether DNS answers under its service address: then CoreDNS and kube-proxy both work."""
    try:
        with socket.create_connection((DNS_SERVICE, 53), timeout=1):
            return True
    except OSError:
        return False


def containerd_config(folder: Folder) -> str:
    """containerd's configuration, with everything of its own under the state folder. Pure."""
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = "{folder.node / "containerd"}"
state = "{folder.run / "containerd"}"
# Without these there is nothing under /opt, and no complaint about file systems that nobody uses.
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]

[grpc]
address = "{_socket(folder)}"

[{cri}]
sandbox_image = "{images.PAUSE}"
# Without the right to lower it (CAP_SYS_RESOURCE) runc would die of the attempt.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"

[{cri}.containerd]
snapshotter = "overlayfs"

[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[{cri}.containerd.runtimes.runc.options]
Root = "{folder.run / "runc"}"
BinaryName = "{packages.find("runc")}"

[{cri}.cni]
bin_dir = "{packages.plugins()}"
conf_dir = "{folder.node / "cni"}"
max_conf_num = 1
"""


def kubelet_config(folder: Folder) -> dict[str, object]:
    """The kubelet's configuration. Pure."""
    keys = folder.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{_socket(folder)}",
        "address": NODE_ADDRESS,
        "port": _KUBELET_PORT,
        "healthzPort": 0,
        "tlsCertFile": str(keys / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(keys / "kubelet-server.key"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(keys / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_SERVICE],
        # The host's own may name a resolver on 127.0.0.53, which a pod cannot reach.
        "resolvConf": str(folder.node / "resolv.conf"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.name(folder.id),
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        # An image that was loaded by hand cannot be pulled again, so a full disk must not make it go.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": dict.fromkeys(("nodefs.available", "nodefs.inodesFree", "imagefs.available"), "0%"),
        "podLogsDir": str(folder.node / "pod-logs"),
        "volumePluginDir": str(folder.node / "plugins"),
    }


def corefile(folder: Folder, resolvers: str) -> str:
    """CoreDNS: the cluster's names itself, all others from where this machine asks (`resolvers`, resolv.conf). Pure."""
    others = "" if "nameserver" not in resolvers else f"\n    forward . {_RESOLVERS}"
    return f""".:53 {{
    bind {NODE_ADDRESS}
    errors
    ready {NODE_ADDRESS}:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {folder.client("coredns")}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}{others}
    cache 5
}}
"""


def _socket(folder: Folder) -> Path:
    return folder.run / "containerd.sock"


def _pause(folder: Folder) -> Path:
    return folder.node / "pause.tar"


def _noticed(folder: Folder, name: str) -> bool:
    return "io.cri-containerd.image=managed" in _ctr(folder, "images", "list", f"name=={name}")


def _ctr(folder: Folder, *arguments: str) -> str:
    done = _call(folder, "--namespace", _NAMESPACE, *arguments)
    if done.returncode != 0:
        raise Trouble(f"ctr {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def _call(folder: Folder, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [packages.find("ctr"), "--address", str(_socket(folder)), "--connect-timeout", "2s", *arguments]
    return subprocess.run(command, capture_output=True, text=True)
