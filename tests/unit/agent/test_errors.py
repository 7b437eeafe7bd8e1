"""Which errors of PostgreSQL are worth another try, and that none of them quotes what people wrote."""

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout

from herald_agent.errors import StoreRefused, StoreUnavailable, from_store, from_transport
from herald_contracts.errors import HeraldError


@pytest.mark.parametrize(
    ("error", "temporary"),
    [
        (errors.AdminShutdown(), True),
        (errors.CannotConnectNow(), True),
        (errors.ConnectionFailure(), True),
        (errors.DeadlockDetected(), True),
        (errors.DiskFull(), True),
        (errors.TooManyConnections(), True),
        (errors.LockNotAvailable(), True),
        (errors.QueryCanceled(), True),
        (errors.ReadOnlySqlTransaction(), True),
        (errors.IoError(), True),
        (psycopg.OperationalError("server closed the connection unexpectedly"), True),
        (psycopg.InterfaceError("the connection is closed"), True),
        (PoolTimeout("couldn't get a connection after 30.00 sec"), True),
        (PoolClosed("the pool is closed"), True),
        (errors.UniqueViolation(), False),
        (errors.UndefinedTable(), False),
        (errors.InvalidTextRepresentation(), False),
        (errors.UntranslatableCharacter(), False),
        (errors.InsufficientPrivilege(), False),
        (psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), False),
    ],
)
def test_what_is_worth_another_try(error: psycopg.Error, temporary: bool) -> None:
    mapped = from_store(error)
    assert isinstance(mapped, StoreUnavailable if temporary else StoreRefused)
    assert mapped.retryable is temporary


def test_no_text_of_the_database_goes_on() -> None:
    mapped = from_store(errors.UniqueViolation("Key (content)=(my secret) already exists"))
    assert str(mapped) == "UniqueViolation 23505"
    assert "secret" not in repr(mapped)


def test_whatever_nats_says_is_temporary() -> None:
    mapped: HeraldError = from_transport(TimeoutError("x"))
    assert mapped.retryable
