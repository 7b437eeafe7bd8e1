"""The servers' recipes: each comes up, does its job, survives a kill and leaves nothing behind."""

import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import psycopg
import pytest
from nats.js.api import StorageType

from herald_cli import guard, processes
from herald_cli.servers.program import Program
from herald_contracts.errors import ConfigurationError
from herald_runtime.connection import connect
from tests import servers
from tests.waiting import eventually_sync


def listeners(root: processes.Process) -> set[str]:
    """Addresses that a process tree listens on, as ss(8) reads them: /proc/net/tcp{,6}."""
    inodes: set[str] = set()
    for process in processes.tree(root):
        for handle in Path(f"/proc/{process.pid}/fd").iterdir():
            target = str(handle.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found: set[str] = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                raw = bytes.fromhex(fields[1].partition(":")[0])
                words = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
                found.add(socket.inet_ntop(family, words).removeprefix("::ffff:"))
    return found


async def test_nats_keeps_what_it_acknowledged_through_a_kill(own_nats: servers.Nats) -> None:
    client = await connect(own_nats.settings, "test")
    await client.jetstream().add_stream(name="KEPT", subjects=["kept"], storage=StorageType.FILE)
    for number in range(20):
        await client.jetstream().publish("kept", str(number).encode())
    await client.close()

    own_nats.kill()
    await own_nats.restart()

    client = await connect(own_nats.settings, "test")
    info = await client.jsm().stream_info("KEPT")
    await client.close()
    assert info.state.messages == 20


async def test_postgres_keeps_what_it_committed_through_a_kill(own_postgres: servers.Postgres) -> None:
    with psycopg.connect(own_postgres.dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")

    own_postgres.kill()
    await own_postgres.restart()

    with psycopg.connect(own_postgres.dsn) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert connection.execute("SHOW max_connections").fetchone() == ("120",)


async def test_a_paused_server_answers_nothing_until_it_is_resumed(own_postgres: servers.Postgres) -> None:
    own_postgres.pause()
    assert not await own_postgres.program.ready()
    own_postgres.resume()
    assert await own_postgres.program.ready()


@pytest.mark.parametrize("name", ["nats", "postgres", "milvus", "triton"])
def test_listens_on_this_machine_only(name: str, request: pytest.FixtureRequest) -> None:
    server: servers.Server = request.getfixturevalue(name)
    root = processes.look_up(server.pid)
    assert root is not None
    assert listeners(root) == {"127.0.0.1"}


@pytest.mark.parametrize("name", ["nats", "postgres"])
def test_no_secret_is_on_the_command_line(name: str, request: pytest.FixtureRequest) -> None:
    server: servers.Nats | servers.Postgres = request.getfixturevalue(name)
    address = server.url if isinstance(server, servers.Nats) else server.dsn
    password = address.partition("@")[0].rpartition(":")[2]
    root = processes.look_up(server.pid)
    assert root is not None
    for process in processes.tree(root):
        assert password not in Path(f"/proc/{process.pid}/cmdline").read_text()
        assert password not in Path(f"/proc/{process.pid}/environ").read_text(errors="replace")


def test_nats_refuses_a_stranger(nats: servers.Nats) -> None:
    with socket.create_connection(("127.0.0.1", nats.program.ports[0]), 5) as stranger:
        stranger.recv(4096)
        stranger.sendall(b'CONNECT {"verbose":true}\r\nPING\r\n')
        assert b"Authorization Violation" in stranger.recv(4096)


def test_postgres_refuses_a_stranger(postgres: servers.Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgres.dsn.replace("herald:", "herald:not-", 1))


def test_data_of_another_postgres_is_refused_with_a_way_out(tmp_path: Path) -> None:
    server = servers.Postgres(tmp_path / "postgres")
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(ConfigurationError, match="PostgreSQL 16, this Herald brings PostgreSQL 18") as refused:
        server.start()
    assert str(data) in str(refused.value)
    assert refused.value.hint


def test_a_broken_initdb_leaves_no_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = servers.Postgres(tmp_path / "postgres")
    (tmp_path / "postgres" / "password").write_text("")  # initdb refuses an empty one
    with pytest.raises(ConfigurationError, match="initdb failed"):
        server.start()
    assert not (tmp_path / "postgres" / "data").exists()


async def test_milvus_comes_back_after_a_kill(own_milvus: servers.Milvus) -> None:
    own_milvus.kill()
    assert not await own_milvus.program.ready()
    await own_milvus.restart()
    assert await own_milvus.program.ready()


def litter(server: servers.Server) -> list[str]:
    return [path.name for path in guard.SHARED_MEMORY.glob(f"{server.program.litter}*")]


async def test_triton_leaves_no_shared_memory_and_no_process(own_triton: servers.Triton) -> None:
    assert litter(own_triton), "it uses shared memory under our prefix while it runs"
    root = processes.look_up(own_triton.pid)
    assert root is not None
    family = processes.tree(root)
    assert len(family) > 1, "its models are processes of their own"
    own_triton.kill()
    assert processes.wait_gone(family, 0) == ()
    assert litter(own_triton) == []
    await own_triton.restart()
    assert await own_triton.program.ready()


@pytest.mark.parametrize("kind", ["nats", "postgres", "milvus", "triton"])
def test_dies_with_the_process_that_started_it(kind: str, tmp_path: Path) -> None:
    """SIGKILL the parent: nothing of the server is left."""
    script = f"""
        import os, signal, sys
        from pathlib import Path
        from tests import servers
        made = {{
            "nats": lambda f: servers.Nats(f),
            "postgres": lambda f: servers.Postgres(f),
            "milvus": lambda f: servers.Milvus(f),
            "triton": lambda f: servers.Triton(f, ("scripted",)),
        }}[{kind!r}](Path({str(tmp_path / kind)!r}))
        made.start()
        print(made.pid, flush=True)
        signal.pause()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    ) as parent:
        assert parent.stdout is not None
        root = processes.look_up(int(parent.stdout.readline()))
        assert root is not None
        family = processes.tree(root)
        parent.kill()
        assert processes.wait_gone(family, 15) == ()
        prefix = f"{guard.PREFIX}test-{parent.pid}-"
        eventually_sync(lambda: not list(guard.SHARED_MEMORY.glob(f"{prefix}*")), what="no litter")


def test_a_program_sees_no_more_of_our_environment_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "not for children")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    seen = Program(name="any", argv=("true",), cwd=Path(), env={"OWN": "1"}).environment()
    assert "GITHUB_TOKEN" not in seen
    assert seen["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert "127.0.0.1" in seen["NO_PROXY"]
    assert seen["OWN"] == "1"
