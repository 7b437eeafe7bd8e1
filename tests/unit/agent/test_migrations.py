"""Which migrations are still to be applied, and which databases are refused."""

import pytest

from herald_agent.store.migrate import Migration, migrations, needed, pending
from herald_contracts.errors import ConfigurationError

A, B, C = (Migration(n, name, f"SELECT {n}") for n, name in enumerate("abc", 1))


def test_the_files_are_numbered_without_a_gap() -> None:
    assert [m.number for m in migrations()] == list(range(1, needed() + 1))


@pytest.mark.parametrize(
    ("applied", "expected"),
    [((), (A, B, C)), ((A,), (B, C)), ((A, B, C), ()), ((B, A), (C,))],
)
def test_what_is_missing_comes_in_order(applied: tuple[Migration, ...], expected: tuple[Migration, ...]) -> None:
    assert pending((A, B, C), [(m.number, m.sha256) for m in applied]) == expected


def test_a_newer_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the database is at migration 3, this version knows 2"):
        pending((A, B), [(m.number, m.sha256) for m in (A, B, C)])


def test_a_file_that_changed_after_it_was_applied_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"migration 1 \(a\) is not the one that was applied"):
        pending((A, B), [(1, "0" * 64)])
