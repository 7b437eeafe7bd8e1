"""Milvus Lite, from the package milvus-lite, as a server of its own: one process that holds the vectors.

A process of its own because Milvus Lite lets only one process open a data folder, and there are several workers.
"""

import signal
import sys
from pathlib import Path

from herald_cli.servers.probes import LOOPBACK, port_open
from herald_cli.servers.program import Program


def program(folder: Path, *, port: int) -> Program:
    """`folder` is the server's own."""

    async def ready() -> bool:
        # It opens its data before it listens.
        return await port_open(port)

    return Program(
        name="milvus",
        argv=(
            sys.executable,
            "-m",
            "milvus_lite",
            "server",
            "--data-dir",
            str(folder / "data"),
            "--host",
            LOOPBACK,
            "--port",
            str(port),
        ),
        cwd=folder,
        # FAISS would otherwise take every core for searches of a millisecond.
        env={"OMP_NUM_THREADS": "1"},
        ready=ready,
        address=f"http://{LOOPBACK}:{port}",
        ports=(port,),
        stop_signal=signal.SIGINT,
        stop_seconds=10,
    )
