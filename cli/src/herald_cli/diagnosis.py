"""What `herald doctor` finds out: each part is used for real, not just asked whether it is well.

A check returns what it saw; anything it raises is a failure with its text. Checks run at the same time, each with
its own deadline, so that a part that hangs is one line and not a command that never ends.
"""

import asyncio
import importlib
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from herald_cli import guard
from herald_cli.quiet import hush
from herald_cli.state import StateFolder
from herald_contracts.errors import HeraldError, PermanentError

Verdict = Literal["ok", "warning", "failed"]
SECONDS = 30.0
_MIB, _GIB = 2**20, 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """`next` is what to do about it, as a command where there is one."""

    check: str
    verdict: Verdict
    seen: str
    next: str = ""


class Trouble(PermanentError):
    """A part does not do its work; `next` is what to do about it."""

    def __init__(self, text: str, next_: str = "") -> None:
        super().__init__(text)
        self.next = next_


Check = Callable[[], Awaitable[str | Finding]]


# Loaded before the first check begins: loading them takes seconds on a busy machine, which a check that measures, or
# that has only so much time, must not pay for.
_LIBRARIES = (
    "aiohttp",
    "herald_agent.models.create",
    "herald_agent.store.ledger",
    "nats.js.api",
    "pymilvus",
    "tritonclient.grpc.aio",
)


def load(*, parts: bool) -> None:
    """Import what the checks use; blocking. `parts` for those of a running Herald."""
    hush()
    for module in _LIBRARIES if parts else ():
        importlib.import_module(module)


async def examine(checks: dict[str, tuple[Check, str]], *, seconds: float = SECONDS) -> list[Finding]:
    """Run all checks at once, each for so many seconds; each comes with what to do when it fails."""

    async def one(name: str, check: Check, advice: str) -> Finding:
        try:
            async with asyncio.timeout(seconds):
                seen = await check()
        except TimeoutError:
            return Finding(name, "failed", f"no answer within {seconds:g} s", advice)
        except Trouble as e:
            return Finding(name, "failed", str(e), e.next or advice)
        except HeraldError as e:
            return Finding(name, "failed", str(e), advice)
        except Exception as e:  # a client library's own error: the check failed, the others go on
            return Finding(name, "failed", f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}", advice)
        return seen if isinstance(seen, Finding) else Finding(name, "ok", seen)

    return list(await asyncio.gather(*(one(name, check, advice) for name, (check, advice) in checks.items())))


def machine(folder: StateFolder) -> dict[str, tuple[Check, str]]:
    """What can be said about this machine, whether Herald runs or not."""

    async def disk() -> str | Finding:
        where = next(p for p in (folder.root, *folder.root.parents) if p.exists())
        free = shutil.disk_usage(where).free
        seen = f"{free / _GIB:.1f} GiB free at {where}"
        if free < _GIB // 2:
            raise Trouble(seen)
        return Finding("disk", "warning", seen, "free some space") if free < 2 * _GIB else seen

    async def shared_memory() -> str:
        free = shutil.disk_usage(guard.SHARED_MEMORY).free
        if free < 16 * _MIB:
            raise Trouble(f"{free // _MIB} MiB free in {guard.SHARED_MEMORY}, Triton needs 16")
        return f"{free // _MIB} MiB free in {guard.SHARED_MEMORY}"

    async def packages() -> str:
        from herald_cli.servers import libpython, nats, postgres, triton

        if shutil.which("setpriv") is None:
            raise Trouble("the command setpriv is missing", "install the package util-linux")
        nats.binary()
        postgres.binaries()
        triton.package()
        library = await asyncio.to_thread(libpython.locate)
        return f"NATS, PostgreSQL, Triton and {library.name} are there"

    async def state() -> str:
        if not folder.root.exists():
            return f"{folder.root} does not exist yet; `herald up` makes it"
        mode = folder.root.stat().st_mode & 0o777
        if mode & 0o077:
            raise Trouble(f"{folder.root} can be read by others (mode {mode:o})", f"chmod 700 {folder.root}")
        return f"{folder.root}, readable by its owner only"

    return {
        "disk": (disk, "free some space, or name another folder with --state"),
        "shared memory": (shared_memory, "free some, or give the container more (--shm-size)"),
        "packages": (packages, "run `make sync`"),
        "state folder": (state, "name another folder with --state"),
    }
