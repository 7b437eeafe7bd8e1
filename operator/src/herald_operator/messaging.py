"""Streams, consumers and buckets: brings a NATS server to what herald_contracts.streams.topology describes.

Safe to run again and from several places at once: what is missing is created, what has drifted is repaired, what
is right is left alone. Nothing is made smaller than it is, because that would delete accepted messages; such a
difference is reported and left for a person.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import nats.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamSource,
)
from nats.js.errors import APIError, NotFoundError

from herald_contracts.errors import ConfigurationError, TemporaryError
from herald_contracts.streams import DUPLICATE_WINDOW, Bucket, Consumer, Stream, Topology

# JetStream error codes (nats-server, errors.json).
_STREAM_EXISTS = 10058  # in use with a different configuration
_NO_SPACE = frozenset({10023, 10028, 10047, 10120, 10122})
_ATTEMPTS = 5


class MessagingUnavailable(TemporaryError):
    """NATS or its JetStream does not answer, or somebody else keeps changing what we repair."""


@dataclass(frozen=True, slots=True)
class Change:
    """What `ensure` did to one thing. `kept` are differences left alone because repairing them would lose messages."""

    name: str
    action: Literal["created", "repaired", "unchanged"]
    kept: tuple[str, ...] = ()


async def ensure(client: Client, wanted: Topology, *, timeout: float = 10) -> tuple[Change, ...]:
    """Create or repair everything in `wanted`; what was done, in order. `timeout` is seconds for each request.

    Raises MessagingUnavailable, or ConfigurationError when the server's limits or an immutable difference are in
    the way.
    """
    js = client.jetstream(timeout=timeout)
    try:
        return (
            *[await _ensure_stream(js, stream_config(s, wanted.replicas)) for s in wanted.streams],
            *[await _ensure_bucket(js, bucket, wanted.replicas) for bucket in wanted.buckets],
            *[await _ensure_consumer(js, consumer) for consumer in wanted.consumers],
        )
    except (nats.errors.Error, TimeoutError, OSError) as e:
        raise MessagingUnavailable(f"JetStream does not answer ({type(e).__name__})") from None


def stream_config(stream: Stream, replicas: int) -> StreamConfig:
    """The configuration of one stream, as the server is asked for it."""
    return StreamConfig(
        name=stream.name,
        subjects=list(stream.subjects) or None,
        sources=[StreamSource(name=s.stream, filter_subject=s.filter_subject) for s in stream.sources] or None,
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW if stream.discard_new else DiscardPolicy.OLD,
        max_age=stream.max_age,
        max_bytes=stream.max_bytes,
        duplicate_window=DUPLICATE_WINDOW,
        num_replicas=replicas,
    )


def bucket_config(bucket: Bucket, replicas: int) -> StreamConfig:
    """A key-value bucket as the stream it is (NATS ADR-8)."""
    return StreamConfig(
        name=f"KV_{bucket.name}",
        subjects=[f"$KV.{bucket.name}.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_age=bucket.ttl,
        max_bytes=bucket.max_bytes,
        max_msgs_per_subject=bucket.history,
        duplicate_window=120,
        num_replicas=replicas,
        allow_rollup_hdrs=True,
        allow_direct=True,
        deny_delete=True,
    )


def consumer_config(consumer: Consumer) -> ConsumerConfig:
    """The configuration of one durable pull consumer."""
    return ConsumerConfig(
        name=consumer.name,
        durable_name=consumer.name,
        filter_subject=consumer.filter_subject if consumer.filter_subject != ">" else None,
        ack_policy=AckPolicy.EXPLICIT,
        deliver_policy=DeliverPolicy.ALL,
        ack_wait=consumer.ack_wait,
        max_deliver=consumer.max_deliver,
        max_ack_pending=consumer.max_ack_pending,
    )


@dataclass(frozen=True, slots=True)
class Repair:
    """What to send to the server, None when all is right, and the differences left as they are."""

    config: StreamConfig | None
    kept: tuple[str, ...]


def repair(wanted: StreamConfig, found: StreamConfig) -> Repair:
    """Decide how to bring a stream to `wanted` without losing a message. Pure.

    Raises ConfigurationError for a difference that the server can never change.
    """
    for field in ("storage", "retention"):
        if getattr(found, field) != getattr(wanted, field):
            raise ConfigurationError(
                f"has {field} {getattr(found, field)}, needs {getattr(wanted, field)}, and that cannot be changed",
                path=f"stream {wanted.name}",
                hint="back it up and delete it, or name the deployment differently",
            )
    changes: dict[str, object] = {}
    kept: list[str] = []
    for field in ("max_bytes", "max_age"):
        is_, want = getattr(found, field) or -1, getattr(wanted, field) or -1
        if _limit(is_) > _limit(want):
            kept.append(f"{field} stays {is_:g}: {want:g} would be less")
        elif _limit(is_) < _limit(want):
            changes[field] = want
    for field in ("discard", "num_replicas", "duplicate_window", "allow_direct", "allow_rollup_hdrs"):
        want = getattr(wanted, field)
        if want is not None and getattr(found, field) != want:
            changes[field] = want
    if (found.max_msgs_per_subject or -1) != (wanted.max_msgs_per_subject or -1):
        changes["max_msgs_per_subject"] = wanted.max_msgs_per_subject
    for field in ("max_msgs", "max_msg_size", "max_consumers"):
        if (getattr(found, field) or -1) > 0:
            changes[field] = -1  # a limit of someone else's
    if set(found.subjects or ()) != set(wanted.subjects or ()):
        changes["subjects"] = wanted.subjects
    if _sources(found.sources) != _sources(wanted.sources):
        changes["sources"] = wanted.sources
    return Repair(found.evolve(**changes) if changes else None, tuple(kept))


def _limit(value: float) -> float:
    return value if value > 0 else float("inf")


def _sources(sources: Iterable[StreamSource] | None) -> set[tuple[str, str]]:
    return {(source.name, source.filter_subject or "") for source in sources or ()}


async def _ensure_stream(js: JetStreamContext, wanted: StreamConfig) -> Change:
    assert wanted.name is not None  # noqa: S101 - built above
    for _ in range(_ATTEMPTS):
        try:
            found = (await js.stream_info(wanted.name)).config
        except NotFoundError:
            try:
                await js.add_stream(wanted)
            except APIError as e:
                if e.err_code == _STREAM_EXISTS:  # made by someone else in between
                    continue
                raise _refused(e, wanted) from None
            return Change(wanted.name, "created")
        plan = repair(wanted, found)
        if plan.config is None:
            return Change(wanted.name, "unchanged", plan.kept)
        try:
            await js.update_stream(plan.config)
        except NotFoundError:
            continue
        except APIError as e:
            raise _refused(e, wanted) from None
        return Change(wanted.name, "repaired", plan.kept)
    raise MessagingUnavailable(f"stream {wanted.name} keeps changing under us")


async def _ensure_bucket(js: JetStreamContext, bucket: Bucket, replicas: int) -> Change:
    change = await _ensure_stream(js, bucket_config(bucket, replicas))
    return Change(bucket.name, change.action, change.kept)


async def _ensure_consumer(js: JetStreamContext, consumer: Consumer) -> Change:
    wanted = consumer_config(consumer)
    name = f"{consumer.stream}/{consumer.name}"
    fields = ("filter_subject", "ack_policy", "ack_wait", "max_deliver", "max_ack_pending")
    try:
        try:
            found = (await js.consumer_info(consumer.stream, consumer.name)).config
        except NotFoundError:
            # Creating it twice with the same configuration is one creation, so two callers may both get here.
            await js.add_consumer(consumer.stream, wanted)
            return Change(name, "created")
        if all((getattr(found, field) or None) == (getattr(wanted, field) or None) for field in fields):
            return Change(name, "unchanged")
        if found.ack_policy != wanted.ack_policy or found.deliver_subject:
            raise ConfigurationError(
                "is of another kind, and that cannot be changed", path=f"consumer {name}", hint="delete it"
            )
        # An update keeps what was acknowledged: nothing is delivered anew.
        await js.add_consumer(consumer.stream, wanted)
    except APIError as e:
        raise ConfigurationError(f"{e.description} ({e.err_code})", path=f"consumer {name}") from None
    return Change(name, "repaired")


def _refused(error: APIError, wanted: StreamConfig) -> ConfigurationError | MessagingUnavailable:
    path = f"stream {wanted.name}"
    if error.err_code in _NO_SPACE:
        return ConfigurationError(
            f"NATS has no room for the {wanted.max_bytes or 0:,} bytes it may hold: {error.description}",
            path=path,
            hint="raise JetStream's max_file_store, or free what other streams reserve",
        )
    if error.code == 503:
        return MessagingUnavailable(f"{path}: {error.description}")
    return ConfigurationError(f"{error.description} ({error.err_code})", path=path)
