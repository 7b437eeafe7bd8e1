"""Numbered SQL files, applied once each, in order: what a database looks like is what the files say.

Safe to run twice and at once: an advisory lock lets one in at a time, and each file is one transaction together
with the row that says it was applied. A file that was applied never changes again; the next change is a new file.
"""

import argparse
import hashlib
import logging
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import psycopg

from herald_agent.errors import StoreUnavailable, from_store
from herald_contracts.errors import ConfigurationError, HeraldError
from herald_contracts.settings import AgentSettings

_LOCK = 4_851_207_733_101  # any number that nobody else takes on this database
_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
# A refused connection comes without a SQLSTATE. Its text also names user and host: only these words go on.
_REFUSALS = ("password authentication failed", "no password supplied", "no pg_hba.conf entry", "does not exist")
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""
log = logging.getLogger("herald.migrate")


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> tuple[Migration, ...]:
    """The files that come with this version, in order: 1, 2, 3, ... without a gap."""
    found = []
    for file in resources.files("herald_agent.store").joinpath("migrations").iterdir():
        match = _NAME.match(file.name)
        if match:
            found.append(Migration(int(match[1]), match[2], file.read_text(encoding="utf-8")))
    found.sort(key=lambda m: m.number)
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise ConfigurationError(f"migrations are numbered {[m.number for m in found]}", hint="1, 2, 3, ... each once")
    return tuple(found)


def needed() -> int:
    """The number a database must have reached for this version's workers."""
    return migrations()[-1].number


def pending(known: Sequence[Migration], applied: Sequence[tuple[int, str]]) -> tuple[Migration, ...]:
    """What is still to be applied, given (number, sha256) of what was. Pure.

    Raises ConfigurationError for a database that is newer than `known`, or that another version's file made.
    """
    by_number = {m.number: m for m in known}
    done = {number for number, _ in applied}
    for number, sha256 in sorted(applied):
        migration = by_number.get(number)
        if migration is None:
            raise ConfigurationError(
                f"the database is at migration {number}, this version knows {max(by_number, default=0)}",
                hint="run a version at least as new as the one that made the database",
            )
        if migration.sha256 != sha256:
            raise ConfigurationError(
                f"migration {number} ({migration.name}) is not the one that was applied to this database",
                hint="a released migration never changes: use the version that made the database, or an empty one",
            )
    return tuple(m for m in known if m.number not in done)


def migrate(dsn: str, *, wait: float = 30, known: Sequence[Migration] | None = None) -> tuple[int, ...]:
    """Bring the database up to date; returns the numbers applied now, () when there was nothing to do.

    Waits up to `wait` seconds for the server to come up, and as long as it takes for another migration that is
    under way. Raises ConfigurationError (newer or foreign database, refused SQL) or StoreUnavailable.
    """
    files = migrations() if known is None else known
    deadline = time.monotonic() + wait
    while True:
        try:
            with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
                return _apply(connection, files)
        except psycopg.Error as e:
            error = from_store(e)
            if not error.retryable:
                hint = "does the user own the schema?"
                raise ConfigurationError(f"the database refused: {error}", hint=hint) from None
            refusal = next((text for text in _REFUSALS if text in str(e)), None)
            if refusal is not None:
                hint = "check the connection string in the secret"
                raise ConfigurationError(f"PostgreSQL refuses the connection: {refusal}", hint=hint) from None
            if time.monotonic() >= deadline:
                raise StoreUnavailable(f"no PostgreSQL within {wait:g} s ({error})") from None
        time.sleep(0.2)


def version(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    """The number the database has reached; 0 for an empty one."""
    row = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL").fetchone()
    if row is None or not row[0]:
        return 0
    row = connection.execute("SELECT coalesce(max(number), 0) FROM schema_migrations").fetchone()
    return int(str(row[0])) if row else 0


def _apply(connection: psycopg.Connection[tuple[object, ...]], files: Sequence[Migration]) -> tuple[int, ...]:
    # Held by this session until it closes, so also through the end of each transaction.
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    connection.execute(_TABLE)
    rows = connection.execute("SELECT number, sha256 FROM schema_migrations").fetchall()
    todo = pending(files, [(int(str(number)), str(sha256)) for number, sha256 in rows])
    for migration in todo:
        with connection.transaction():
            connection.execute(migration.sql.encode())
            connection.execute(
                "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, %s, %s)",
                (migration.number, migration.name, migration.sha256),
            )
        log.info("applied migration %d (%s)", migration.number, migration.name)
    return tuple(m.number for m in todo)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m herald_agent.store.migrate", description="Bring the database of an agent deployment up to date."
    )
    parser.add_argument("--settings", type=Path, required=True, metavar="FILE", help="the agent's rendered settings")
    parser.add_argument("--wait", type=float, default=30, metavar="SECONDS", help="for the server to come up (30)")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        applied = migrate(read_dsn(AgentSettings.load(chosen.settings).database.dsn_file), wait=chosen.wait)
    except HeraldError as e:
        print(f"herald migrate: {e}", file=sys.stderr)  # noqa: T201 - a command's answer
        return 78 if isinstance(e, ConfigurationError) else 75  # sysexits.h EX_CONFIG, EX_TEMPFAIL
    log.info("up to date" if not applied else "up to date now")
    return 0


def read_dsn(file: Path) -> str:
    """The libpq connection string in `file`. Raises ConfigurationError that never quotes it."""
    try:
        dsn = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigurationError(f"cannot be read ({type(e).__name__})", path=str(file)) from None
    if not dsn:
        raise ConfigurationError("is empty", path=str(file), hint="a libpq connection string")
    return dsn


if __name__ == "__main__":
    sys.exit(main())
