"""Herald's own images at work together: the servers, the migration, the gateway and a worker, each from its image.

They share one network, as if all were containers of one pod, and nothing of this machine's Python takes part.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tools.images.unpacked import Unpacked

from herald_contracts import settings
from tests.images.pod import Pod, pod

ETC = Path("/etc/herald")
NATS = """
port: 4222
http: 8222
max_payload: 4194304
jetstream { store_dir: "/data" }
authorization { user: herald, password: "secret" }
"""
STREAMS = """
import asyncio
from pathlib import Path
from herald_contracts import settings, streams, subjects
from herald_operator import messaging
from herald_runtime.connection import connect
async def main():
    client = await connect(settings.Nats(url="nats://127.0.0.1:4222", credentials=Path("/etc/herald/nats")), "test")
    names = subjects.Names("test", "images")
    await messaging.ensure(client, streams.topology(names, web_channels=("web",), storage=2**28))
    await client.close()
asyncio.run(main())
"""


@dataclass(frozen=True)
class Servers:
    network: Pod
    mounts: Mapping[str, Path]


def _files(folder: Path) -> None:
    """What ConfigMaps and Secrets are in a cluster."""
    nats = settings.Nats(url="nats://127.0.0.1:4222", credentials=ETC / "nats")
    web = settings.WebChannel(name="web", secret=ETC / "web")
    gateway = settings.GatewaySettings(
        namespace="test", name="images", nats=nats, port=8080, health_port=9090, channels=(web,)
    )
    agent = settings.AgentSettings(
        namespace="test",
        name="images",
        revision="r1",
        nats=nats,
        database=settings.Database(dsn_file=ETC / "postgres" / "dsn"),
        instructions="Be brief.",
        model=settings.TritonModel(url="127.0.0.1:8001"),
        health_port=9091,
    )
    contents = {
        "settings/gateway.json": gateway.model_dump_json(),
        "settings/agent.json": agent.model_dump_json(),
        "nats/user": "herald",
        "nats/password": "secret",
        "nats/nats.conf": NATS,
        "web/session-key": "0123456789abcdef" * 4,
        "postgres/password": "secret",
        "postgres/dsn": "postgresql://herald:secret@127.0.0.1:5432/herald",
    }
    for name, content in contents.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


@pytest.fixture(scope="module")
def servers(unpacked: Mapping[str, Unpacked], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("etc") / "herald"
    _files(folder)
    mounts = {str(ETC): folder}
    database = {
        "POSTGRES_USER": "herald",
        "POSTGRES_DB": "herald",
        "POSTGRES_PASSWORD_FILE": "/etc/herald/postgres/password",
        "PGDATA": "/var/lib/postgresql/data/pgdata",
    }
    empty = ("/tmp", "/var/run/postgresql", "/var/lib/postgresql/data")
    command = ("nats-server", "-c", "/etc/herald/nats/nats.conf")
    with (
        pod(unpacked["test-nats"], command=command, user=1000, empty=("/data",), mounts=mounts) as nats,
        pod(
            unpacked["test-postgres"], user=999, empty=empty, mounts=mounts, environment=database, beside=nats
        ) as postgres,
    ):
        nats.answers(8222, "/healthz")
        postgres.until("database system is ready to accept connections")
        yield Servers(nats, mounts)


def test_the_migration_runs_from_the_agents_image(unpacked: Mapping[str, Unpacked], servers: Servers) -> None:
    for expected in ("applied migration 1", "up to date"):
        with pod(
            unpacked["agent"],
            command=("python3", "-m", "herald_agent.store.migrate"),
            arguments=("--settings", "/etc/herald/settings/agent.json"),
            mounts=servers.mounts,
            beside=servers.network,
        ) as job:
            assert job.ended() == 0, job.log
            assert expected in job.log


def test_gateway_and_worker_become_ready_and_leave_in_order(unpacked: Mapping[str, Unpacked], servers: Servers) -> None:
    with pod(
        unpacked["cli"], command=("python3", "-c", STREAMS), mounts=servers.mounts, beside=servers.network
    ) as streams:
        assert streams.ended() == 0, streams.log
    chosen = {name: ("--settings", f"/etc/herald/settings/{name}.json") for name in ("gateway", "agent")}
    with (
        pod(unpacked["gateway"], arguments=chosen["gateway"], mounts=servers.mounts, beside=servers.network) as gateway,
        pod(unpacked["agent"], arguments=chosen["agent"], mounts=servers.mounts, beside=servers.network) as agent,
    ):
        gateway.answers(9090, "/healthz/ready")
        agent.answers(9091, "/healthz/live")
        assert "<html" in gateway.answers(8080, "/channels/web/")
        # Under tini, and as the first process of its own, which gets only the signals that it asked for.
        assert gateway.stop() == 0
        assert agent.stop() == 0


@pytest.mark.parametrize("name", ["gateway", "agent"])
def test_settings_that_are_not_there_are_said(unpacked: Mapping[str, Unpacked], name: str) -> None:
    command = ("python3", "-m", f"herald_{name}")
    with pod(unpacked[name], command=command, arguments=("--settings", "/nowhere.json")) as service:
        assert service.ended() == 78  # sysexits.h EX_CONFIG
        assert "/nowhere.json" in service.log
        assert "Traceback" not in service.log


def test_the_operator_starts(unpacked: Mapping[str, Unpacked]) -> None:
    with pod(unpacked["operator"], arguments=("--help",)) as operator:
        assert operator.ended() == 0
        assert "--image-gateway" in operator.log


def test_the_command_works_without_the_servers_of_one_machine(unpacked: Mapping[str, Unpacked]) -> None:
    with pod(unpacked["cli"], arguments=("version", "--json")) as command:
        assert command.ended() == 0
        assert json.loads(command.log)
    with pod(unpacked["cli"], arguments=("status",), environment={"HERALD_STATE": "/tmp/none"}) as command:
        assert command.ended() != 0
        assert "Traceback" not in command.log
