"""The stand-ins for others' images keep what our manifests rely on."""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.images.unpacked import Unpacked

from tests.images.pod import pod

RIGHTS_OF_ROOT = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETGID", "CAP_SETUID")
POSTGRES = ("/tmp", "/var/run/postgresql")
NATS = """
port: 4222
http: 8222
jetstream { store_dir: "/data" }
authorization { user: herald, password: "secret" }
"""
PUBLISH = """
import asyncio, nats
async def main():
    client = await nats.connect("nats://127.0.0.1:4222", user="herald", password="secret")
    await client.jetstream().add_stream(name="S", subjects=["s"])
    print((await client.jetstream().publish("s", b"x")).seq)
    await client.close()
asyncio.run(main())
"""
LOGIN = """
import sys, psycopg
try:
    with psycopg.connect(sys.argv[1], connect_timeout=5) as c:
        print(c.execute("SELECT current_database(), current_user, current_setting('max_connections')").fetchone())
except psycopg.OperationalError as e:
    print(e)
"""
VECTORS = """
import sys
from pymilvus import MilvusClient
client = MilvusClient("http://127.0.0.1:19530")
if sys.argv[1] == "write":
    client.create_collection("c", dimension=4)
    client.insert("c", [{"id": 7, "vector": [1, 0, 0, 0]}])
    client.flush("c")
client.load_collection("c")
print(client.search("c", data=[[1, 0, 0, 0]], limit=1)[0][0]["id"])
"""


def test_nats_takes_a_configuration(unpacked: Mapping[str, Unpacked], tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "nats.conf").write_text(NATS)
    command = ("nats-server", "-c", "/etc/nats-config/nats.conf")
    image, volumes = unpacked["test-nats"], {"/etc/nats-config": folder}
    with pod(image, command=command, user=1000, empty=("/data",), mounts=volumes) as running:
        running.answers(8222, "/healthz")
        assert running.outside(sys.executable, "-c", PUBLISH) == "1\n"
        assert running.stop() == 0


def test_nats_alone(unpacked: Mapping[str, Unpacked]) -> None:
    with pod(unpacked["test-nats"]) as running:
        running.answers(8222, "/healthz")


def _volume(folder: Path, owner: int) -> Path:
    folder.mkdir()
    os.chown(folder, owner, owner)
    return folder


def test_postgres_makes_its_data_once(unpacked: Mapping[str, Unpacked], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "password").write_text('it\'s "secret"\n')
    data = _volume(tmp_path / "data", 999)
    image, volumes = unpacked["test-postgres"], {"/var/lib/postgresql": data, "/etc/secret": secret}
    environment = {
        "POSTGRES_USER": "herald",
        "POSTGRES_DB": "tickets",
        "POSTGRES_PASSWORD_FILE": "/etc/secret/password",
        "PGDATA": "/var/lib/postgresql/18/docker",
    }
    # Not 127.0.0.1, from where the image that this one stands in for lets everybody in.
    address = "host=10.9.9.9 user=herald dbname=tickets password='it\\'s \"secret\"'"
    for start in (1, 2):
        with pod(
            image,
            arguments=("-c", "max_connections=31"),
            user=999,
            empty=POSTGRES,
            mounts=volumes,
            environment=environment,
        ) as running:
            running.until("database system is ready to accept connections")
            running.outside("ip", "address", "add", "10.9.9.9/32", "dev", "lo")
            assert ("init process complete" in running.log) == (start == 1)
            assert running.outside(sys.executable, "-c", LOGIN, address) == "('tickets', 'herald', '31')\n"
            wrong = running.outside(sys.executable, "-c", LOGIN, address.replace("secret", "guess"))
            assert "password authentication failed" in wrong
            assert "accepting connections" in running.inside("pg_isready", "--username=herald")
            assert running.inside("psql", "-U", "herald", "-d", "tickets", "-Atc", "SELECT 1") == "1\n"
            assert running.stop(signal.SIGINT) == 0


def test_postgres_as_root_becomes_its_user(unpacked: Mapping[str, Unpacked], tmp_path: Path) -> None:
    volumes = {"/var/lib/postgresql": _volume(tmp_path / "data", 0)}
    environment = {"POSTGRES_PASSWORD": "secret"}
    image = unpacked["test-postgres"]
    with pod(
        image, user=0, empty=POSTGRES, mounts=volumes, environment=environment, capabilities=RIGHTS_OF_ROOT
    ) as running:
        running.until("database system is ready to accept connections")
        address = "host=127.0.0.1 user=postgres password=secret"
        assert "('postgres', 'postgres'," in running.outside(sys.executable, "-c", LOGIN, address)
        assert "Uid:\t999" in running.inside("cat", "/proc/1/status")


def test_postgres_without_a_password_does_not_start(unpacked: Mapping[str, Unpacked], tmp_path: Path) -> None:
    image, volumes = unpacked["test-postgres"], {"/var/lib/postgresql": _volume(tmp_path / "data", 999)}
    with pod(image, user=999, empty=POSTGRES, mounts=volumes) as running:
        assert running.ended() == 1
        assert "POSTGRES_PASSWORD_FILE" in running.log


def test_milvus_keeps_its_vectors(unpacked: Mapping[str, Unpacked], tmp_path: Path) -> None:
    image, volumes = unpacked["test-milvus"], {"/var/lib/milvus": _volume(tmp_path / "data", 65532)}
    for doing in ("write", "read"):
        with pod(image, command=("milvus", "run", "standalone"), mounts=volumes) as running:
            assert running.answers(9091, "/healthz") == "OK"
            assert running.outside(sys.executable, "-W", "ignore", "-c", VECTORS, doing) == "7\n"
            assert running.stop() == 0
