"""Where the client libraries' errors become Herald's: here, once, and nowhere else.

The text of a database error may quote row values (a DETAIL line quotes the key), which are people's messages:
only its class and SQLSTATE go on.
"""

import psycopg
from nats.errors import Error as NatsError

from herald_contracts.errors import PermanentError, TemporaryError


class StoreUnavailable(TemporaryError):
    """PostgreSQL is away, restarting, full or busy. Whether the statement happened is not known."""


class StoreRefused(PermanentError):
    """PostgreSQL can never take this statement with these values."""


class TransportUnavailable(TemporaryError):
    """NATS is away, or does not answer."""


class LeaseLost(PermanentError):
    """Another worker owns it now: whatever this one still has in hand is worth nothing."""


# Appendix A of PostgreSQL's manual. Class 08 connection, 40 rollback (deadlock), 53 resources (disk full), 55P03 lock
# timeout, 57 operator intervention (shutdown, cancel), 58 system error; 25006: a standby that is about to be primary.
_TEMPORARY = ("08", "40", "53", "55P03", "57", "58", "25006")


def from_store(error: psycopg.Error) -> StoreUnavailable | StoreRefused:
    """What a psycopg error means to Herald."""
    state = error.sqlstate
    text = f"{type(error).__name__} {state or ''}".strip()
    if state is not None:
        return StoreUnavailable(text) if state.startswith(_TEMPORARY) else StoreRefused(text)
    # Without a SQLSTATE the server said nothing: the connection failed, or psycopg refused the values.
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StoreUnavailable(text)
    return StoreRefused(text)


def from_transport(error: NatsError | TimeoutError | OSError) -> TransportUnavailable:
    """What an error of nats-py means to Herald: always that trying again is worth it."""
    return TransportUnavailable(type(error).__name__)
