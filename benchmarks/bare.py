"""The skeleton as a running whole: its own nats-server, PostgreSQL, gateway and worker."""

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import servers
from benchmarks.processes import Child, tree_cpu_seconds
from herald_cli.ports import Ports

PATH = "/events"


@dataclass(frozen=True, slots=True)
class Skeleton:
    """`port` is the webhook's."""

    port: int
    parts: tuple[Child, ...]

    def cpu_seconds(self) -> dict[str, float]:
        """CPU so far of each process and all it has started."""
        return {part.name: tree_cpu_seconds(part.pid) for part in self.parts}


@contextmanager
def running(folder: Path, *, ports: Ports, reply_url: str, secret: str) -> Iterator[Skeleton]:
    """Start it all, give its address, stop it all. Raises Failed."""
    with ExitStack() as stack:
        nats = servers.start_nats(folder, sync="always", ports=ports)
        stack.enter_context(nats.child)
        postgres = servers.start_postgres(folder / "pg", ports=ports)
        stack.enter_context(postgres.child)
        port, settings, ready = ports.pick(), folder / "settings.json", folder / "ready"
        settings.touch(0o600)
        settings.write_text(
            json.dumps(
                {
                    "nats": nats.settings.url,
                    "credentials": str(nats.settings.credentials),
                    "dsn": postgres.dsn,
                    "secret": secret,
                    "port": port,
                    "reply": reply_url,
                    "ready": str(ready),
                }
            )
        )
        argv = [sys.executable, "-m", "benchmarks.skeleton"]
        log = folder / "skeleton.log"
        worker = stack.enter_context(Child("skeleton worker", [*argv, "worker", "--settings", str(settings)], log=log))
        gateway = stack.enter_context(
            Child("skeleton gateway", [*argv, "gateway", "--settings", str(settings)], log=log)
        )
        worker.wait_until(ready.exists)
        gateway.wait_until(lambda: listening(port))
        yield Skeleton(port, (nats.child, postgres.child, worker, gateway))


def listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 0.2).close()
    except OSError:
        return False
    return True
