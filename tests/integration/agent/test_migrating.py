"""Migrations against a real PostgreSQL: twice, at once, cut off, and on databases they must refuse."""

import concurrent.futures
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from herald_agent.errors import StoreUnavailable
from herald_agent.store.migrate import Migration, main, migrate, migrations, needed
from herald_contracts.errors import ConfigurationError
from herald_contracts.settings import AgentSettings
from tests import servers


@pytest.fixture
def empty(postgres: servers.Postgres) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    yield postgres.create(name)
    postgres.drop(name)


def reached(dsn: str) -> list[int]:
    with psycopg.connect(dsn) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM schema_migrations ORDER BY number")]


def test_an_empty_database_is_brought_up_to_date_once(empty: str) -> None:
    assert migrate(empty) == tuple(range(1, needed() + 1))
    assert migrate(empty) == ()
    assert reached(empty) == list(range(1, needed() + 1))


def test_many_at_once_apply_each_file_once(empty: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        applied = list(pool.map(lambda _: migrate(empty), range(6)))
    assert sorted(applied) == [()] * 5 + [tuple(range(1, needed() + 1))]


def test_a_file_that_fails_leaves_nothing_of_itself(empty: str) -> None:
    known = (Migration(1, "good", "CREATE TABLE a ()"), Migration(2, "bad", "CREATE TABLE b (); SELECT 1 / 0"))
    with pytest.raises(ConfigurationError, match="the database refused: DivisionByZero 22012"):
        migrate(empty, known=known)
    assert reached(empty) == [1]
    with psycopg.connect(empty) as connection:
        row = connection.execute("SELECT to_regclass('a')::text, to_regclass('b')::text").fetchone()
    assert row == ("a", None)
    assert migrate(empty, known=(known[0], Migration(2, "mended", "CREATE TABLE b ()"))) == (2,)


def test_a_newer_or_a_foreign_database_is_refused_and_not_touched(empty: str) -> None:
    newer = (*migrations(), Migration(needed() + 1, "later", "CREATE TABLE later ()"))
    migrate(empty, known=newer)
    with pytest.raises(ConfigurationError, match="run a version at least as new"):
        migrate(empty)
    foreign = (Migration(1, "other", "SELECT 1"), *newer[1:])
    with pytest.raises(ConfigurationError, match="is not the one that was applied"):
        migrate(empty, known=foreign)
    assert reached(empty) == [m.number for m in newer]


def test_a_server_that_is_away_is_waited_for_and_then_named() -> None:
    with pytest.raises(StoreUnavailable, match=r"no PostgreSQL within 0.3 s"):
        migrate("postgresql://herald:hunter2@127.0.0.1:1/herald", wait=0.3)


def test_a_connection_that_is_refused_is_a_clear_error_without_the_password(empty: str) -> None:
    wrong = empty.replace(empty.split("@")[0], "postgresql://herald:hunter2")
    with pytest.raises(ConfigurationError, match="password authentication failed") as caught:
        migrate(wrong)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="does not exist"):
        migrate(f"{empty}_x")


def test_the_command(
    empty: str, agent_settings: AgentSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent_settings.database.dsn_file.write_text(empty)
    file = tmp_path / "agent.json"
    file.write_text(agent_settings.model_dump_json())
    done = subprocess.run(
        [sys.executable, "-m", "herald_agent.store.migrate", "--settings", file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "applied migration 1 (initial)" in done.stdout
    assert main(["--settings", str(file)]) == 0
    agent_settings.database.dsn_file.write_text("")
    assert main(["--settings", str(file)]) == 78
    assert "is empty" in capsys.readouterr().err
    agent_settings.database.dsn_file.write_text("postgresql://herald@127.0.0.1:1/x")
    assert main(["--settings", str(file), "--wait", "0"]) == 75
