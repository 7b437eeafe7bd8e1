"""The one description of the streams, consumers and buckets of an agent deployment.

Pure data: the operator and local mode create and repair them from it (herald_operator.messaging), tests
compare a server with it. Durations are seconds, sizes bytes.

Why Limits retention everywhere: a work queue forgets the ids of acknowledged messages at a restart, and a
platform's retry would then be accepted again. Why `discard: new`: a full stream must refuse (the gateway
answers 503 and the platform retries), never drop what was accepted.
"""

from dataclasses import dataclass

from herald_contracts.subjects import Names

DAY = 86_400
PLATFORM_RETRY_SPAN = 8 * DAY  # WhatsApp retries for 7 days, the longest of all platforms
# A message may hold 200,000 characters of up to 4 bytes, and JSON escapes on top.
MAX_PAYLOAD = 4 * 2**20
DUPLICATE_WINDOW = 600  # saves work; the unique key in PostgreSQL is what guarantees
# How long a reply in the hands of a gateway that was killed waits for another one. A gateway that lives says so
# three times in this span, however slow the platform is.
SENDER_ACK_WAIT = 10.0
ROLLOUT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """Messages of another stream that this one copies, with their subjects unchanged."""

    stream: str
    filter_subject: str


@dataclass(frozen=True, slots=True)
class Stream:
    name: str
    subjects: tuple[str, ...]
    max_age: int
    max_bytes: int
    discard_new: bool = True
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Consumer:
    """A durable pull consumer with explicit acknowledgement. `max_deliver` -1 is without limit."""

    stream: str
    name: str
    filter_subject: str
    ack_wait: float
    max_deliver: int
    max_ack_pending: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """A key-value bucket. `ttl` 0 is for ever."""

    name: str
    ttl: int
    max_bytes: int
    history: int = 1


@dataclass(frozen=True, slots=True)
class Topology:
    streams: tuple[Stream, ...]
    consumers: tuple[Consumer, ...]
    buckets: tuple[Bucket, ...]
    replicas: int


def topology(
    names: Names, *, web_channels: tuple[str, ...] = (), replicas: int = 1, storage: int = 8 * 2**30
) -> Topology:
    """All of one deployment's JetStream state. `storage` in bytes is shared out among them.

    `web_channels` are the names of the channels that serve a chat page; without one there is no transcript.
    """
    transcript = Stream(
        names.web_stream,
        (),
        PLATFORM_RETRY_SPAN,
        storage // 8,
        discard_new=False,
        # The transcript is the two streams seen together: copied by the server, never written by us, so it cannot
        # disagree with what was accepted and answered. Old entries may go: it is a view.
        sources=tuple(
            source
            for channel in web_channels
            for source in (
                Source(names.in_stream, names.incoming(channel, "*")),
                Source(names.out_stream, names.outgoing(channel, "*")),
            )
        ),
    )
    return Topology(
        streams=(
            Stream(names.in_stream, (names.incoming_all,), PLATFORM_RETRY_SPAN, storage * 3 // 8),
            Stream(names.out_stream, (names.outgoing_all,), PLATFORM_RETRY_SPAN, storage // 4),
            Stream(names.receipt_stream, (names.receipt_all,), PLATFORM_RETRY_SPAN, storage // 16),
            *((transcript,) if web_channels else ()),
            Stream(names.advisory_stream, names.advisories, PLATFORM_RETRY_SPAN, storage // 32, discard_new=False),
        ),
        consumers=(
            # A reply waits as long as its platform is down: giving up is the sender's decision, not a counter's.
            Consumer(names.out_stream, names.senders, names.outgoing_all, SENDER_ACK_WAIT, -1, 20_000),
            # Recording one takes milliseconds, and what a killed worker had in hand holds up its conversations' next
            # replies for as long: so another worker gets it soon.
            Consumer(names.receipt_stream, names.receipts, names.receipt_all, 5, -1, 2_000),
            Consumer(names.advisory_stream, names.advisory_readers, ">", 30, -1, 1_000),
        ),
        buckets=(
            # A few hundred bytes per reply, and a full bucket stops deliveries: at 8 GiB room for some 300,000 a day.
            Bucket(names.deliveries, PLATFORM_RETRY_SPAN, storage // 8),
            # One key of a few hundred bytes, kept until it is overwritten.
            Bucket(names.rollout_bucket, 0, ROLLOUT_BYTES),
        ),
        replicas=replicas,
    )
