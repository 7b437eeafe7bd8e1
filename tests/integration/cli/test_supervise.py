"""The supervisor with small programs: order, readiness, restarts, refusals, and ends that children do not want."""

import asyncio
import contextlib
import json
import re
import signal
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from herald_cli import processes
from herald_cli.board import Board
from herald_cli.keeper import StartFailed
from herald_cli.servers.program import File, Program
from herald_cli.state import Component
from herald_cli.supervise import Step, Supervisor
from herald_contracts.errors import ConfigurationError, TemporaryError
from tests.unit.cli.deployments import snapshot
from tests.waiting import eventually


def program(folder: Path, name: str, code: str, *, needs: tuple[str, ...] = (), **changes: object) -> Program:
    """A child that runs `code`; it is ready once it has made the file `<name>.ready`."""
    mark = folder / f"{name}.ready"

    async def ready() -> bool:
        return mark.exists()

    text = f"import os, pathlib, signal, sys, time\nmark = pathlib.Path({str(mark)!r})\n{textwrap.dedent(code)}"
    script = folder / f"{name}.py"
    made = Program(
        name=name,
        argv=(sys.executable, str(script)),
        cwd=folder,
        files=(File(script, text),),
        ready=ready,
        needs=needs,
        start_seconds=20,
        stop_seconds=10,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


SERVE = "mark.touch()\nsignal.pause()\n"


class Running:
    """A supervisor in a task. `board` shows how its parts are."""

    def __init__(self, folder: Path, programs: tuple[Program, ...], steps: tuple[Step, ...] = ()) -> None:
        self.folder = folder
        components = [Component(name=name) for name in (*(s.name for s in steps), *(p.name for p in programs))]
        self.board = Board(snapshot(*components, phase="starting"))
        self.seen: list[tuple[str, str]] = []
        self.board.tell(lambda s: self.seen.extend((c.name, c.state) for c in s.components))
        self.stop, self.hurry = asyncio.Event(), asyncio.Event()
        order = tuple((p.name,) for p in reversed(programs))
        supervisor = Supervisor(programs, steps, order, self.board, folder / "logs")
        self.task = asyncio.create_task(supervisor.run(self.stop, self.hurry))

    async def until(self, name: str, state: str) -> Component:
        return await eventually(
            lambda: c if (c := self.board.component(name)).state == state else None, what=f"{name} {state}"
        )

    async def up(self) -> None:
        async def look() -> bool:
            if self.task.done():
                await self.task
            return self.board.snapshot.phase == "running"

        await eventually(look, what="running")

    async def down(self) -> None:
        self.stop.set()
        async with asyncio.timeout(30):
            await self.task

    def log(self, name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (self.folder / "logs" / f"{name}.log").read_text().splitlines()]


Start = Callable[..., Running]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    made: list[Running] = []

    def begin(*programs: Program, steps: tuple[Step, ...] = ()) -> Running:
        made.append(Running(tmp_path, programs, steps))
        return made[-1]

    yield begin
    for running in made:
        running.stop.set()
        running.hurry.set()
        with contextlib.suppress(StartFailed, ConfigurationError, TemporaryError, TimeoutError):
            await running.task


def step(name: str, needs: tuple[str, ...], do: Callable[[], Awaitable[None]]) -> Step:
    return Step(name, needs, do)


async def test_what_needs_something_starts_after_it(start: Start, tmp_path: Path) -> None:
    async def once() -> None:
        assert (tmp_path / "server.ready").exists()
        assert not (tmp_path / "service.ready").exists()

    running = start(
        program(tmp_path, "server", SERVE),
        program(tmp_path, "service", SERVE, needs=("migrate",)),
        steps=(step("migrate", ("server",), once),),
    )
    await running.up()
    ready = [name for name, state in running.seen if state == "ready"]
    assert list(dict.fromkeys(ready)) == ["server", "migrate", "service"]
    await running.down()
    assert {c.state for c in running.board.snapshot.components} == {"stopped", "ready"}


async def test_a_part_that_says_that_only_a_restart_can_mend_it_gets_one(start: Start, tmp_path: Path) -> None:
    code = """
        if not mark.exists():
            mark.touch()
            time.sleep(0.1)
            print("something else", flush=True)
            print("disk trouble: stuck for ever", flush=True)
        signal.pause()
    """
    running = start(program(tmp_path, "server", code, hopeless=re.compile("stuck for ever")))
    await running.up()
    await eventually(lambda: running.board.component("server").restarts == 1, what="one restart")
    restarted = await running.until("server", "ready")
    assert "disk trouble: stuck for ever" in restarted.last_error
    assert restarted.restarts == 1
    await running.down()


async def test_a_step_is_tried_again_while_it_can_still_work(start: Start, tmp_path: Path) -> None:
    tries: list[int] = []

    async def third() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise TemporaryError("not yet")

    running = start(program(tmp_path, "server", SERVE), steps=(step("migrate", ("server",), third),))
    await running.up()
    assert len(tries) == 3
    assert running.board.component("migrate").last_error == ""


async def test_a_step_that_cannot_work_ends_the_start(start: Start, tmp_path: Path) -> None:
    async def never() -> None:
        raise ConfigurationError("the database is newer than this version")

    running = start(program(tmp_path, "server", SERVE), steps=(step("migrate", ("server",), never),))
    with pytest.raises(ConfigurationError, match="newer than this version"):
        await running.task
    assert running.board.component("server").state == "stopped"


async def test_what_dies_is_started_again_and_the_reason_kept(start: Start, tmp_path: Path) -> None:
    running = start(program(tmp_path, "server", SERVE))
    await running.up()
    first = running.board.component("server")
    assert first.process is not None
    (tmp_path / "server.ready").unlink()
    processes.kill([first.process])
    again = await eventually(
        lambda: c if (c := running.board.component("server")).state == "ready" and c.pid != first.pid else None
    )
    assert again.restarts == 1
    assert again.last_error == "killed by SIGKILL"
    assert "ended: killed by SIGKILL" in [entry["event"] for entry in running.log("server")]


async def test_a_part_that_never_comes_up_is_given_up_with_its_last_words(start: Start, tmp_path: Path) -> None:
    running = start(program(tmp_path, "server", "print('thinking'); sys.exit('ERROR: no such thing')"))
    with pytest.raises(StartFailed, match="server did not start: exit code 1: ERROR: no such thing") as failed:
        await running.task
    assert "thinking" in str(failed.value)
    assert running.board.component("server").state == "failed"
    assert len([e for e in running.log("server") if e["event"] == "thinking"]) == 3, "it had three tries"


async def test_a_part_that_takes_too_long_is_given_up(start: Start, tmp_path: Path) -> None:
    running = start(program(tmp_path, "server", "signal.pause()", start_seconds=0.3))
    with pytest.raises(StartFailed, match=r"not ready within 0\.3 s"):
        await running.task


async def test_a_refused_configuration_is_not_tried_again(start: Start, tmp_path: Path) -> None:
    running = start(program(tmp_path, "server", "print('herald server: spec.x: bad'); sys.exit(78)"))
    with pytest.raises(StartFailed, match=r"configuration refused: herald server: spec\.x: bad"):
        await running.task
    assert len([e for e in running.log("server") if e["event"].startswith("herald server")]) == 1


async def test_a_part_that_refuses_later_stays_down_and_the_others_go_on(start: Start, tmp_path: Path) -> None:
    code = """
        if mark.exists():
            print("herald service: the Secret is gone", file=sys.stderr)
            sys.exit(78)
        mark.touch()
        signal.pause()
    """
    running = start(program(tmp_path, "server", SERVE), program(tmp_path, "service", code))
    await running.up()
    process = running.board.component("service").process
    assert process is not None
    processes.kill([process])
    refused = await running.until("service", "refused")
    assert "the Secret is gone" in refused.last_error
    assert running.board.component("server").state == "ready"
    assert not running.task.done()
    await running.down()


async def test_what_cannot_be_prepared_ends_the_start(start: Start, tmp_path: Path) -> None:
    def prepare() -> None:
        raise ConfigurationError("holds other data", path="/data")

    running = start(program(tmp_path, "server", SERVE, prepare=prepare))
    with pytest.raises(ConfigurationError, match="holds other data"):
        await running.task
    assert running.board.component("server").state == "refused"


async def test_a_full_disk_while_preparing_is_explained(start: Start, tmp_path: Path) -> None:
    def prepare() -> None:
        with Path("/dev/full").open("w") as full:
            full.write("x")

    running = start(program(tmp_path, "server", SERVE, prepare=prepare))
    with pytest.raises(ConfigurationError, match="the disk is full"):
        await running.task


STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nmark.touch()\nwhile True: time.sleep(1)\n"


async def test_a_child_that_will_not_stop_is_killed(start: Start, tmp_path: Path) -> None:
    running = start(program(tmp_path, "server", STUBBORN, stop_seconds=0.2))
    await running.up()
    process = running.board.component("server").process
    assert process is not None
    await running.down()
    assert not process.alive()
    assert "does not stop: killed" in [entry["event"] for entry in running.log("server")]


async def test_who_is_in_a_hurry_does_not_wait(start: Start, tmp_path: Path) -> None:
    running = start(program(tmp_path, "server", STUBBORN, stop_seconds=600))
    await running.up()
    running.hurry.set()
    await running.down()


async def test_a_frozen_child_is_stopped_too(start: Start, tmp_path: Path) -> None:
    running = start(program(tmp_path, "server", SERVE))
    await running.up()
    process = running.board.component("server").process
    assert process is not None
    process.send(signal.SIGSTOP)
    await running.down()
    assert not process.alive()


async def test_grandchildren_do_not_survive(start: Start, tmp_path: Path) -> None:
    """Triton's models are such: they would keep the memory of a model that nobody asks any more."""
    code = f"""
        import subprocess
        below = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        pathlib.Path({str(tmp_path / "below")!r}).write_text(str(below.pid))
        mark.touch()
        signal.pause()
    """
    running = start(program(tmp_path, "server", code))
    await running.up()
    below = processes.look_up(int((tmp_path / "below").read_text()))
    main = running.board.component("server").process
    assert below is not None
    assert main is not None
    processes.kill([main])
    await eventually(lambda: not below.alive(), what="the grandchild is gone")
    await running.down()


async def test_output_in_odd_pieces_is_all_logged(start: Start, tmp_path: Path) -> None:
    code = """
        sys.stdout.buffer.write(b"half"); sys.stdout.flush()
        sys.stdout.buffer.write(b" a line\\n\\xff\\xfe not text\\n" + b"x" * 200_000 + b"\\n")
        sys.stdout.flush()
        print('{"event": "own", "level": "warning", "timestamp": "2026-01-01T00:00:00Z", "component": "me"}')
        mark.touch()
        signal.pause()
    """
    running = start(program(tmp_path, "server", code))
    await running.up()
    await running.down()
    entries = running.log("server")
    events = [entry["event"] for entry in entries]
    assert "half a line" in events
    assert "\ufffd\ufffd not text" in events
    assert sum(event.count("x") for event in events if set(event) == {"x"}) == 200_000
    own = next(entry for entry in entries if entry["event"] == "own")
    assert (own["component"], own["level"]) == ("server", "warning")


async def test_one_that_stops_answering_is_shown_and_left_alone(start: Start, tmp_path: Path) -> None:
    running = start(program(tmp_path, "server", SERVE))
    await running.up()
    pid = running.board.component("server").pid
    (tmp_path / "server.ready").unlink()
    await running.until("server", "unready")
    (tmp_path / "server.ready").touch()
    assert (await running.until("server", "ready")).pid == pid
    await running.down()
