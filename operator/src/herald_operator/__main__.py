"""`python -m herald_operator`: the control loop."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from herald_contracts.errors import ConfigurationError, HeraldError
from herald_operator.build.context import DefaultImages
from herald_runtime import logs, metrics, process

EXIT_FAILED = 70  # sysexits.h EX_SOFTWARE
# Flag, default, whose image it is. The chart says all of them.
_IMAGES = (
    ("gateway", "herald/gateway", "the gateway"),
    ("agent", "herald/agent", "the workers and the migration"),
    ("inference-cpu", "herald/inference-cpu", "Triton on CPUs"),
    ("inference-gpu", "nvcr.io/nvidia/tritonserver:25.12-trtllm-python-py3", "Triton with TensorRT-LLM"),
    ("nats", "nats:2.15", "the managed NATS"),
    ("postgres", "postgres:18", "the managed PostgreSQL"),
    ("milvus", "milvusdb/milvus:v2.6.0", "the managed Milvus"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    logs.configure("operator", chosen.log_level)
    metrics.configure("operator", chosen.lease_namespace, "operator")
    # Late: --help and --version should not wait for it.
    from herald_operator.main import Options, quiet, serve

    quiet()
    images = DefaultImages(
        **{field: getattr(chosen, f"image_{field}") for field in (name.replace("-", "_") for name, _, _ in _IMAGES)},
        pull_secrets=_names(chosen.image_pull_secrets),
    )
    options = Options(
        images=images,
        namespaces=_names(chosen.namespaces),
        lease_namespace=chosen.lease_namespace,
        host=chosen.host,
        health_port=chosen.health_port,
        metrics_port=chosen.metrics_port,
        workers=chosen.workers,
        resync=chosen.resync,
    )
    log = logs.get("operator")

    async def lead(stop: asyncio.Event) -> None:
        try:
            await serve(options, stop)
        except ConfigurationError:
            raise
        except HeraldError as e:
            log.error("ended", problem=str(e), kind=type(e).__name__)
            _end(EXIT_FAILED)
        except Exception:
            # A bug: its place goes to the log, and another operator takes the lease.
            log.exception("broke")
            _end(EXIT_FAILED)
        _end(0)

    return process.run("operator", lead)


def _end(code: int) -> None:
    """Now, the lease is given back: the loop would first wait for what kopf has left in it, and that may never end."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m herald_operator", description="Herald's operator: turns AgentDeployments into what runs."
    )
    parser.add_argument("--version", action="version", version=f"herald-operator {version('herald-operator')}")
    parser.add_argument("--namespaces", default="", metavar="A,B", help="watch only these (default: all)")
    parser.add_argument(
        "--lease-namespace",
        default=os.environ.get("POD_NAMESPACE", "default"),
        metavar="NAME",
        help="where the Lease is by which one of several operators leads (default: $POD_NAMESPACE)",
    )
    parser.add_argument("--host", default="0.0.0.0", help="address for probes and metrics")  # noqa: S104
    parser.add_argument("--health-port", type=int, default=8081, help="/healthz/live and /healthz/ready (8081)")
    parser.add_argument("--metrics-port", type=int, default=9090, help="/metrics (9090)")
    parser.add_argument("--workers", type=int, default=8, help="deployments looked at at the same time (8)")
    parser.add_argument(
        "--resync",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="look at everything again after so long: Secrets, ConfigMaps and which APIs there are (60)",
    )
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    for name, image, what in _IMAGES:
        parser.add_argument(f"--image-{name}", default=image, metavar="IMAGE", help=f"of {what} ({image})")
    parser.add_argument("--image-pull-secrets", default="", metavar="A,B", help="of every pod that is made")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ConfigurationError as e:
        print(f"herald operator: {e}", file=sys.stderr)  # noqa: T201 - a command's answer
        sys.exit(process.EXIT_CONFIGURATION)
