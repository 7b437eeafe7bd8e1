"""Every NATS name Herald uses, in one place.

A name is a promise between the gateway, the workers, the operator, dashboards and autoscalers; scattered
string formatting is how such promises break.
"""

import re
from dataclasses import dataclass

from herald_contracts.errors import ConfigurationError

_LABEL = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one agent deployment. `namespace` and `name` are DNS labels (RFC 1123)."""

    namespace: str
    name: str

    def __post_init__(self) -> None:
        for path, value in (("metadata.namespace", self.namespace), ("metadata.name", self.name)):
            if not _LABEL.match(value):
                raise ConfigurationError(
                    f"{value!r} is not a DNS label", path=path, hint="lower-case letters, digits and '-', at most 63"
                )

    @property
    def prefix(self) -> str:
        return f"herald.{self.namespace}.{self.name}"

    @property
    def _stream(self) -> str:
        return f"HERALD_{self.namespace}_{self.name}".upper()

    # Streams
    @property
    def in_stream(self) -> str:
        return f"{self._stream}_IN"

    @property
    def out_stream(self) -> str:
        return f"{self._stream}_OUT"

    @property
    def receipt_stream(self) -> str:
        return f"{self._stream}_RECEIPT"

    @property
    def web_stream(self) -> str:
        return f"{self._stream}_WEB"

    @property
    def advisory_stream(self) -> str:
        return f"{self._stream}_ADVISORY"

    # Subjects. `conversation` is a conversation id: a safe token by construction.
    def incoming(self, channel: str, conversation: str) -> str:
        return f"{self.prefix}.in.live.{channel}.{conversation}"

    @property
    def incoming_all(self) -> str:
        return f"{self.prefix}.in.live.>"

    def outgoing(self, channel: str, conversation: str) -> str:
        return f"{self.prefix}.out.{channel}.{conversation}"

    @property
    def outgoing_all(self) -> str:
        return f"{self.prefix}.out.>"

    def receipt(self, channel: str, conversation: str) -> str:
        return f"{self.prefix}.receipt.{channel}.{conversation}"

    @property
    def receipt_all(self) -> str:
        return f"{self.prefix}.receipt.>"

    def live(self, channel: str, conversation: str) -> str:
        """Plain NATS, not durable: LiveUpdate values."""
        return f"{self.prefix}.live.{channel}.{conversation}"

    def live_of(self, channel: str) -> str:
        return f"{self.prefix}.live.{channel}.*"

    @property
    def wake(self) -> str:
        """Plain NATS: there is new work in the turn table.

        The payload says who read it from the stream, who need not wake itself. Empty: a worker leaves, and turns and
        the reading of the stream are free to take.
        """
        return f"{self.prefix}.wake"

    @property
    def advisories(self) -> tuple[str, ...]:
        """Server advisories about this deployment's consumers."""
        kinds = ("MAX_DELIVERIES", "MSG_TERMINATED")
        streams = (self.out_stream, self.receipt_stream)
        return tuple(f"$JS.EVENT.ADVISORY.CONSUMER.{k}.{s}.*" for k in kinds for s in streams)

    @property
    def rollout_changed(self) -> str:
        """Plain NATS, empty: the rollout record was written, reading it now is worth it."""
        return f"{self.prefix}.rollout"

    # Durable consumers
    senders: str = "senders"
    receipts: str = "receipts"
    advisory_readers: str = "advisories"

    # Key-value buckets
    @property
    def deliveries(self) -> str:
        return f"herald-{self.namespace}-{self.name}-deliveries"

    @property
    def rollout_bucket(self) -> str:
        # Not the bare `herald-<ns>-<name>`: that of a deployment named `x-deliveries` would be the deliveries of `x`.
        return f"herald-{self.namespace}-{self.name}-rollout"

    rollout_key: str = "rollout"
