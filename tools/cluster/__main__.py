"""`python -m tools.cluster up|down|status|load|build`: see docs/cluster.md."""

import argparse
import os
import shlex
import signal
import sys
import time
from pathlib import Path

from tools.cluster import binaries
from tools.cluster.cluster import Cluster
from tools.cluster.lifecycle import attach, start
from tools.cluster.state import DEFAULT, NODE_KINDS, NodeKind
from tools.cluster.teardown import stop
from tools.cluster.trouble import Trouble

_EXIT_INTERRUPTED = 130
_NODE = """none: control plane only, needs no root. fake: pods are scheduled and claim to run (kwok), no root.
real: containerd and kubelet, real pods; needs root. auto: real for root, else none (default: auto)"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.cluster",
        description="A Kubernetes of your own on this machine, from packages only: no Docker, no image registry.",
        epilog="The first start builds Kubernetes from source (about 5 minutes on two cores); later ones take seconds.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    state = argparse.ArgumentParser(add_help=False)
    state.add_argument("--state", type=Path, default=DEFAULT, metavar="DIR", help=f"state folder (default: {DEFAULT})")
    up = commands.add_parser("up", parents=[state], help="start a cluster, and print how to reach it")
    up.add_argument("--node", choices=("auto", *NODE_KINDS), default="auto", help=_NODE)
    up.add_argument("--install", action="store_true", help="install the Debian packages that a real node lacks")
    commands.add_parser("down", parents=[state], help="end it and remove all but its logs")
    commands.add_parser("status", parents=[state], help="what runs; exit code 0 only when all of it does")
    load = commands.add_parser("load", parents=[state], help="bring images into the real node, and print their names")
    load.add_argument(
        "archive", nargs="+", type=Path, help="of `buildah push NAME oci-archive:FILE:NAME`, `docker save`"
    )
    build = commands.add_parser("build", help="build programs without starting any, and print where they are")
    build.add_argument("module", nargs="*", help=f"what to build (default: all): {', '.join(binaries.MODULES)}")
    return parser


def _up(arguments: argparse.Namespace) -> int:
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:5.1f} s  {text}", file=sys.stderr, flush=True)

    already = attach(arguments.state)
    cluster = start(arguments.state, node=_kind(arguments.node), install=arguments.install, say=say)
    if already is not None and already.settings == cluster.settings:
        print(f"already up, with --node {cluster.settings.node}", file=sys.stderr)
    print(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    if stop(arguments.state):
        print(f"ended; its logs are in {arguments.state / 'logs'}", file=sys.stderr)
    else:
        print(f"nothing runs from {arguments.state}", file=sys.stderr)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    cluster = attach(arguments.state)
    if cluster is None:
        print(f"nothing runs from {arguments.state}\n  start it: python -m tools.cluster up --state {arguments.state}")
        return 1
    answers = cluster.ready()
    for line in _report(cluster, answers):
        print(line)
    return 0 if answers else 1


def _report(cluster: Cluster, answers: bool) -> list[str]:
    recorded, missing = cluster.processes(), cluster.missing()
    width = max(map(len, cluster.programs))
    lines = []
    for name in cluster.programs:
        gone = f"gone, see {cluster.folder.processes.log(name)}"
        lines.append(f"{name:<{width}}  {gone if name in missing else f'runs, pid {recorded[name].pid}'}")
    kubernetes = binaries.MODULES["kubernetes"].version()
    return [
        *lines,
        "",
        f"Kubernetes  {kubernetes}, --node {cluster.settings.node}: {'ready' if answers else 'NOT READY'}",
        f"API server  {cluster.server}",
        f"kubeconfig  {cluster.kubeconfig}",
        f"kubectl     {cluster.settings.program('kubernetes', 'kubectl')}",
    ]


def _load(arguments: argparse.Namespace) -> int:
    cluster = attach(arguments.state)
    if cluster is None:
        raise Trouble(f"nothing runs from {arguments.state}", "start it: python -m tools.cluster up --node real")
    for archive in arguments.archive:
        print("\n".join(cluster.load_image(archive)))
    return 0


def _build(arguments: argparse.Namespace) -> int:
    unknown = [name for name in arguments.module if name not in binaries.MODULES]
    if unknown:
        raise Trouble(f"no module {unknown[0]!r}", f"there is: {', '.join(binaries.MODULES)}")
    for name in arguments.module or binaries.MODULES:
        print(binaries.build(name))
    return 0


def _kind(wanted: str) -> NodeKind:
    if wanted == "auto":
        return "real" if os.geteuid() == 0 else "none"
    return next(kind for kind in NODE_KINDS if kind == wanted)


_COMMANDS = {"up": _up, "down": _down, "status": _status, "load": _load, "build": _build}


def main() -> int:
    # Whoever ends us politely gets what Ctrl-C gets: everything that was started is ended first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = _parser().parse_args()
    try:
        return _COMMANDS[arguments.command](arguments)
    except Trouble as e:
        print(f"cluster: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    except BrokenPipeError:
        # Somebody closed the pipe, as `head` does: nothing is wrong.
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
