"""Real servers for tests, from the recipes that `herald up` uses.

A server is a child of the test process and dies with it, even when that is killed. Start one from the main
thread, as fixtures and tests do: the kernel ties its life to the thread that started it.
"""

import asyncio
import atexit
import functools
import os
import secrets
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import psycopg
from psycopg import sql

from herald_cli import children, guard, processes
from herald_cli.ports import Ports
from herald_cli.servers import milvus, nats, postgres, triton
from herald_cli.servers.program import File, Program
from herald_contracts import settings

REPOSITORY = Path(__file__).parents[1] / "inference" / "local"
_LITTER = f"{guard.PREFIX}test-"


@functools.cache
def _guard() -> children.Guard:
    """One for the whole test process: what it leaves behind when it is killed, the guard ends."""
    made = children.Guard()
    atexit.register(made.farewell)
    return made


class NotReady(AssertionError):
    """A server did not come up; the message ends with its last lines."""


class Server:
    """One running server. `kill`, `pause` and `resume` reach every process it has started."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.log = program.cwd / "server.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._process: processes.Process | None = None
        self.exit_code: int | None = None  # of the last start, once it was ended

    def start(self) -> None:
        """Start it and return once it is ready."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("start servers from the main thread: they die with the thread that started them")
        children.prepare(self.program)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                children.command(self.program),
                cwd=self.program.cwd,
                env=self.program.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._process = processes.look_up(self._child.pid)
        if self._process is not None:
            _guard().watch(self._process, self.program.litter)
        # In a thread with a loop of its own, so that a test's running loop may call this too.
        outcome: list[bool] = []
        waiter = threading.Thread(target=lambda: outcome.append(asyncio.run(self._wait_ready())))
        waiter.start()
        waiter.join()
        if outcome != [True]:
            self.kill()
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
            raise NotReady(f"{self.program.name} did not come up\n{tail}")

    async def restart(self) -> None:
        """Start again what was killed or stopped; its data is what it left."""
        self.start()

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def kill(self) -> None:
        """SIGKILL; returns once all its processes are gone."""
        self._end(signal.SIGKILL, 10)

    def stop(self) -> None:
        """Stop it in good order, and by force when that takes too long."""
        self.resume()
        self._end(self.program.stop_signal, self.program.stop_seconds)

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        stopped: set[processes.Process] = set()
        # Until no look finds another: a child may have been born between a look and its parent's stop.
        while fresh := [process for process in self._tree() if process not in stopped]:
            for process in fresh:
                process.send(signal.SIGSTOP)
            stopped.update(fresh)

    def resume(self) -> None:
        for process in self._tree():
            process.send(signal.SIGCONT)

    def _tree(self) -> tuple[processes.Process, ...]:
        return processes.tree(self._process) if self._process is not None else ()

    def _end(self, number: signal.Signals, seconds: float) -> None:
        if self._child is None or self._process is None:
            return
        members = {*self._tree(), *processes.session(self._process)}
        if number == signal.SIGKILL:
            processes.kill(members)
        else:
            self._process.send(number)
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            members |= {*self._tree(), *processes.session(self._process)}
            processes.kill(members)
            self._child.wait(10)
        if left := processes.wait_gone(members, 5):
            processes.kill(left)
            processes.wait_gone(left, 5)
        guard.sweep(self.program.litter)
        _guard().forget(self._process)
        self.exit_code = self._child.returncode
        self._child = self._process = None

    async def _wait_ready(self) -> bool:
        deadline = time.monotonic() + self.program.start_seconds
        while time.monotonic() < deadline and self.running:
            if await self.program.ready():
                return True
            await asyncio.sleep(0.03)
        return False


class Nats(Server):
    """`url` carries user and password; `settings` is what a service would be given."""

    def __init__(self, folder: Path, *, storage: int = 2**40) -> None:
        ports, user, password = Ports(), "herald", secrets.token_hex(12)
        port = ports.pick()
        super().__init__(
            nats.program(folder, port=port, monitor_port=ports.pick(), user=user, password=password, storage=storage)
        )
        credentials = folder / "credentials"
        for key, value in (("user", user), ("password", password)):
            children.write(File(credentials / key, value))
        self.url = f"nats://{user}:{password}@127.0.0.1:{port}"
        self.settings = settings.Nats(url=f"nats://127.0.0.1:{port}", credentials=credentials)


class Postgres(Server):
    """`dsn` is that of an empty database; `create` makes more of them."""

    def __init__(self, folder: Path) -> None:
        password = secrets.token_hex(12)
        file = File(folder / "password", password, 0o600)
        children.write(file)
        port = Ports().pick()
        super().__init__(postgres.program(folder, port=port, password_file=file.path))
        self.dsn = postgres.dsn(port, password)

    def dsn_of(self, database: str) -> str:
        return self.dsn.rpartition("/")[0] + f"/{database}"

    def create(self, database: str, template: str = "template0") -> str:
        """Make a database as a copy of `template`; its connection string."""
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(database), sql.Identifier(template))
        )
        return self.dsn_of(database)

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement)


class Milvus(Server):
    """`uri` is what a pymilvus client connects to."""

    def __init__(self, folder: Path) -> None:
        port = Ports().pick()
        super().__init__(milvus.program(folder, port=port))
        self.uri = f"http://127.0.0.1:{port}"


class Triton(Server):
    """`grpc` is host:port. Models are those of `inference/local`; `parameters` are its README's."""

    def __init__(self, folder: Path, models: tuple[str, ...], parameters: dict[str, str] | None = None) -> None:
        ports = Ports()
        program = triton.program(
            folder,
            repository=REPOSITORY,
            models=models,
            parameters=parameters or {},
            grpc_port=(port := ports.pick()),
            http_port=ports.pick(),
            litter=f"{_LITTER}{os.getpid()}-{secrets.token_hex(3)}-",
        )
        super().__init__(replace(program, start_seconds=90))
        self.grpc = f"127.0.0.1:{port}"


def sweep_dead_sessions() -> None:
    """Remove what Triton servers of killed test sessions left in shared memory."""
    for path in guard.SHARED_MEMORY.glob(f"{_LITTER}*"):
        pid = path.name.removeprefix(_LITTER).partition("-")[0]
        if pid.isdigit() and processes.look_up(int(pid)) is None:
            path.unlink(missing_ok=True)
