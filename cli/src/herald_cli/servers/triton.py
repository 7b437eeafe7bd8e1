"""Triton Inference Server on the CPU, from the package nvidia-pytriton: the plain `tritonserver`, without PyTriton.

The Python backend of the package needs some arranging, found by trial: a backend folder with the stub of this
Python's version in it, this Python's shared library on the loader's path, and this environment's `bin` first on
PATH, because the stub finds its packages through `python3`.
"""

import importlib.util
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from herald_cli import guard
from herald_cli.servers import libpython
from herald_cli.servers.probes import LOOPBACK, http_ok
from herald_cli.servers.program import Program
from herald_contracts.errors import ConfigurationError


def program(
    folder: Path,
    *,
    repository: Path,
    models: tuple[str, ...],
    parameters: Mapping[str, str],
    grpc_port: int,
    http_port: int,
    litter: str,
) -> Program:
    """`folder` is the server's own. `models` are loaded from `repository`, whose README names the `parameters`.

    `litter` is how its files in /dev/shm begin: unique on this machine, so that what a killed server left can be
    told from what others use.
    """
    backends = folder / "backends"

    def prepare() -> None:
        guard.sweep(litter)
        _arrange(backends, folder / "lib")

    async def ready() -> bool:
        # Strict readiness: true once every model of the list is loaded.
        return await http_ok(http_port, "/v2/health/ready")

    return Program(
        name="triton",
        argv=(
            str(package() / "bin" / "tritonserver"),
            f"--model-repository={repository}",
            "--model-control-mode=explicit",
            *(f"--load-model={model}" for model in models),
            f"--backend-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={litter}",
            f"--grpc-address={LOOPBACK}",
            f"--grpc-port={grpc_port}",
            f"--http-address={LOOPBACK}",
            f"--http-port={http_port}",
            "--allow-metrics=false",
            "--http-thread-count=2",
            # Clients ping to notice a server that hangs; by default Triton would close on them for it.
            "--grpc-keepalive-permit-without-calls=1",
            "--grpc-http2-min-recv-ping-interval-without-data=1000",
            # Whoever asked is gone by then, and it keeps nothing: no reason to wait for a model that will not unload.
            "--exit-timeout-secs=2",
            "--log-format=ISO8601",
        ),
        cwd=folder,
        env={
            "LD_LIBRARY_PATH": f"{package().parents[1] / 'nvidia_pytriton.libs'}:{folder / 'lib'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            **parameters,
        },
        prepare=prepare,
        ready=ready,
        address=f"{LOOPBACK}:{grpc_port}",
        ports=(grpc_port, http_port),
        start_seconds=300,
        stop_seconds=6,
        litter=litter,
    )


def _arrange(backends: Path, library: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = package() / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        known = ", ".join(sorted(p.name for p in stub.parents[1].iterdir()))
        raise ConfigurationError(f"Triton's package has no stub for Python {version}", hint=f"it has: {known}")
    shutil.rmtree(backends, ignore_errors=True)
    (backends / "python").mkdir(parents=True)
    for file in (*(package() / "backends" / "python").iterdir(), stub):
        shutil.copy2(file, backends / "python")
    (backends / "python" / stub.name).chmod(0o755)
    # A folder with that one library: the system's own folder on the loader's path would shadow Triton's libraries.
    shared = libpython.locate()
    shutil.rmtree(library, ignore_errors=True)
    library.mkdir(parents=True)
    (library / shared.name).symlink_to(shared)


def package() -> Path:
    """The folder of Triton inside its package. Raises ConfigurationError where that is missing."""
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError("the package nvidia-pytriton is not installed", hint="run `make sync`")
    return Path(spec.submodule_search_locations[0]) / "tritonserver"
