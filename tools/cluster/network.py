"""The one network that a node has on its machine: an address for pods and API server to meet on, and a way out.

Pods hang on the host by a cable each (CNI `ptp`), not on a shared switch: then all that they say to each other passes
the host's own rules, and Services work on kernels without br_netfilter. Network policies are not enforced.
"""

import json
import socket
import subprocess
from pathlib import Path

from tools.cluster import packages
from tools.cluster.control_plane import NODE_ADDRESS, PODS, SERVICES
from tools.cluster.trouble import Trouble

LINK = "herald0"
_TABLE = "herald-cluster"
_RULES = f"""
table ip {_TABLE} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat
        ip saddr {PODS} ip daddr != {PODS} masquerade
    }}
}}
"""
_OF_KUBE_PROXY = "kube-proxy"  # its tables, one for each family
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")


def up() -> None:
    """Bring address and rules up. Raises Trouble, also when this machine is a Kubernetes node already."""
    if f"table ip {_OF_KUBE_PROXY}" in _nft("list tables"):
        raise Trouble(
            "another kube-proxy keeps its rules on this machine: it is a Kubernetes node already",
            "take --node none or --node fake here; if that node is long gone: nft delete table ip kube-proxy",
        )
    _ip("link", "add", LINK, "type", "bridge")
    _ip("address", "add", f"{NODE_ADDRESS}/32", "dev", LINK)
    _ip("link", "set", LINK, "up")
    # The host itself reaches Services too, also on a machine that is offline and has no other way to send them.
    _ip("route", "add", SERVICES, "dev", LINK)
    # Left on afterwards: something else may have come to rely on it.
    _FORWARD.write_text("1\n")
    _nft(_RULES)


def down() -> None:
    """Take away what `up` and kube-proxy made; what is not there is no error."""
    there = _nft("list tables").splitlines()
    ours = [f"table {family} {name}" for family in ("ip", "ip6") for name in (_TABLE, _OF_KUBE_PROXY)]
    for table in ours:
        if table in there:
            _nft(f"delete {table}")
    if is_up():
        _ip("link", "delete", LINK)


def is_up() -> bool:
    """Whether the link is there."""
    return LINK in (name for _, name in socket.if_nameindex())


def cni(name: str, data: Path) -> str:
    """Configuration of the network `name` for containerd; `data` is where addresses are noted down."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": PODS, "gateway": NODE_ADDRESS}]], "dataDir": str(data)}
    ptp = {"type": "ptp", "ipMasq": False, "ipam": {**ipam, "routes": [{"dst": "0.0.0.0/0"}]}}
    return json.dumps({"cniVersion": "1.0.0", "name": name, "plugins": [ptp]}, indent=2)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _nft(commands: str) -> str:
    return _run("nft", "-f", "-", stdin=commands)


def _run(program: str, *arguments: str, stdin: str = "") -> str:
    done = subprocess.run([packages.find(program), *arguments], input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise Trouble(f"{program} {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
