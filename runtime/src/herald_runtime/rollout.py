"""Reading, switching and following the rollout record (herald_contracts.rollout).

The key-value bucket is the truth; a plain NATS message says that looking now is worth it. nats-py's own watch is not
used: after a restart of the server, or with a bucket that is made anew, it stays silent for ever and says nothing
(measured with nats-py 2.16). One small read every two seconds costs less than being wrong about that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from herald_contracts.errors import MalformedMessage, PermanentError, TemporaryError
from herald_contracts.rollout import Rollout
from herald_contracts.subjects import Names
from herald_runtime import logs
from herald_runtime.acks import NotStored, OutcomeUnknown
from herald_runtime.waking import Bell

# JetStream error codes (nats-server errors.json): the last sequence of this subject is not the expected one.
_MOVED = frozenset({10071, 10164})
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_DELETED = "KV-Operation"  # this header is on the marker that a deletion leaves (NATS ADR-8)
_SECONDS = 2.0  # for one answer
_AGAIN = 2.0  # seconds between reads while nobody says that something changed
_ATTEMPTS = 5
_NEVER = datetime.min.replace(tzinfo=UTC)
log = logs.get("rollout")


class Conflict(TemporaryError):
    """Somebody else has written the record since it was read. Nothing was written; read again and decide again."""


class UnreadableRecord(PermanentError):
    """What stands in the bucket is no rollout record. `revision` is what a `switch` that replaces it expects."""

    def __init__(self, problem: str, revision: int) -> None:
        super().__init__(problem)
        self.revision = revision


class Disconnected(TemporaryError):
    """There is no connection to NATS at this moment."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the server holds under the key: `data` None after a deletion, `revision` 0 when there never was one."""

    data: bytes | None
    revision: int
    written: datetime

    def newer_than(self, known: "_Entry") -> bool:
        # A recreated bucket counts from 1 again, so its clock decides; another leader's clock may be behind, so the
        # count does. An old state that a server shows again is behind in both.
        return self.revision > known.revision or self.written > known.written


_NOTHING = _Entry(None, 0, _NEVER)


async def read(client: Client, names: Names) -> tuple[Rollout | None, int]:
    """The record and its revision in the bucket, for `switch`; None where there is no record, or no bucket.

    Asks the stream's leader, so what was written before is seen. Raises UnreadableRecord, or a NatsError.
    """
    entry = await _look(client, names)
    return _parse(entry), entry.revision


async def switch(client: Client, names: Names, expected: int, new: Rollout) -> int:
    """Write `new` if nobody has written since `expected` was read (0: there is none yet); its revision.

    One write: it happens as a whole or not at all, and of two at the same time one wins. Raises Conflict when it
    lost, NotStored when it was refused, OutcomeUnknown when nobody answered: then only reading tells.
    """
    subject = f"$KV.{names.rollout_bucket}.{names.rollout_key}"
    try:
        stored = await client.jetstream(timeout=_SECONDS).publish(
            subject, new.to_wire(), headers={_EXPECTED: str(expected)}
        )
    except APIError as e:
        if e.err_code in _MOVED:
            raise Conflict("the rollout record has changed meanwhile") from None
        raise NotStored(f"{e.err_code}: {e.description}") from None
    except NoStreamResponseError:
        raise NotStored(f"there is no bucket {names.rollout_bucket}") from None
    except (NatsError, TimeoutError, OSError) as e:
        raise OutcomeUnknown(type(e).__name__) from None
    log.info("switched", active=new.active, generation=new.generation)
    await _tell(client, names)
    return int(stored.seq)


async def activate(client: Client, names: Names, revision: str) -> Rollout:
    """Make `revision` the active one, whatever was before: for where nobody checks a candidate. The record in force.

    Raises a NatsError, or what `switch` raises; a Conflict only when others keep writing.
    """
    for _ in range(_ATTEMPTS):
        try:
            known, at = await read(client, names)
        except UnreadableRecord as e:
            log.warning("replacing a rollout record that this version cannot read", problem=str(e))
            known, at = None, e.revision
        if known is not None and known.active == revision:
            return known
        new = Rollout(active=revision, generation=1) if known is None else known.then(revision)
        try:
            await switch(client, names, at, new)
        except Conflict:
            continue
        return new
    raise Conflict("others keep changing the rollout record")


class Following:
    """Follows the record for the life of a process: `start`, then `once` again and again from one loop.

    `told` hears of each record once, the newest last. A bucket that is gone, a server that is away or a record that
    cannot be read change nothing: the last known one counts.
    """

    def __init__(self, client: Client, names: Names, told: Callable[[Rollout], None]) -> None:
        self._client = client
        self._names = names
        self._told = told
        self._bell = Bell(_AGAIN)
        self._known = _NOTHING
        self._subscription: Subscription | None = None
        self._looked = False

    async def start(self) -> None:
        """Have the next look ring at a switch. A subscription outlives reconnects."""
        self._subscription = await self._client.subscribe(self._names.rollout_changed, cb=self._rung)

    async def once(self) -> None:
        """Wait until looking is worth it, then look. Raises temporary errors, after which it looks at once."""
        if self._looked:
            await self._bell.wait()
        self._looked = False
        if not self._client.is_connected:
            raise Disconnected("not connected")
        self._take(await _look(self._client, self._names))
        self._looked = True

    def _take(self, entry: _Entry) -> None:
        if entry == self._known or not entry.newer_than(self._known):
            if entry.revision == 0 and self._known.revision:
                log.debug("no rollout record, the last known one counts")
            return
        self._known = entry
        try:
            record = _parse(entry)
        except UnreadableRecord as e:
            log.error("the last known rollout record counts", problem=str(e))
            return
        if record is None:
            log.warning("the rollout record was deleted, the last known one counts")
            return
        self._told(record)

    async def _rung(self, _: Msg) -> None:
        self._bell.ring()


async def _look(client: Client, names: Names) -> _Entry:
    subject = f"$KV.{names.rollout_bucket}.{names.rollout_key}"
    try:
        found = await client.jetstream(timeout=_SECONDS).get_msg(f"KV_{names.rollout_bucket}", subject=subject)
    except NotFoundError:
        return _NOTHING
    gone = bool(found.headers and _DELETED in found.headers)
    return _Entry(None if gone else found.data or b"", found.seq or 0, found.time or _NEVER)


def _parse(entry: _Entry) -> Rollout | None:
    if entry.data is None:
        return None
    try:
        return Rollout.from_wire(entry.data)
    except MalformedMessage as e:
        raise UnreadableRecord(str(e), entry.revision) from None


async def _tell(client: Client, names: Names) -> None:
    """Followers read within two seconds anyway: a message that is lost changes nothing about the switch."""
    try:
        await client.publish(names.rollout_changed, b"")
        await client.flush(timeout=int(_SECONDS))
    except (NatsError, TimeoutError, OSError) as e:
        log.debug("nobody was told", error=type(e).__name__)
