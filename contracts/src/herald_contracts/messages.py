"""What travels between Herald's processes.

Wire rule: `schema` is `major.minor`. A reader accepts its own major version with any minor: fields it does
not know are ignored, so an older worker reads a newer gateway's messages during a rollout. Another major
version is refused as `MalformedMessage`, which ends in a visible dead letter and not in a guess.
"""

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from herald_contracts.errors import MalformedMessage

SCHEMA = "1.0"
MAJOR = SCHEMA.split(".")[0]

Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
PlatformId = Annotated[str, StringConstraints(min_length=1, max_length=512)]


class Wire(BaseModel):
    """A frozen value with a schema version, written and read as UTF-8 JSON."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_: str = Field(default=SCHEMA, alias="schema", pattern=r"^\d+\.\d+$")

    def to_wire(self) -> bytes:
        """This value as UTF-8 JSON, defaults included, absent optionals left out."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()

    @classmethod
    def from_wire(cls, data: bytes) -> Self:
        """Read what `to_wire` of this or a newer minor version wrote.

        Raises MalformedMessage, whose text names the first offending field and never quotes its value.
        """
        try:
            value = cls.model_validate_json(data)
        except ValidationError as e:
            first = e.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "(root)"
            raise MalformedMessage(f"{cls.__name__}: {where}: {first['msg']}") from None
        if value.schema_.split(".")[0] != MAJOR:
            raise MalformedMessage(f"{cls.__name__}: schema {value.schema_} is not {MAJOR}.x")
        return value


class Part(BaseModel):
    """A value inside a Wire value; unknown fields are ignored for the same reason."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Sender(Part):
    """Who wrote it. `id` is the platform's own, unique within the channel."""

    id: PlatformId
    name: str = Field(default="", max_length=256)
    kind: Literal["user", "bot", "system"] = "user"


class Mention(Part):
    """Someone named in the text. `agent` is true when it is this bot."""

    id: PlatformId
    name: str = Field(default="", max_length=256)
    agent: bool = False


class Attachment(Part):
    """A reference to a file on the platform; the bytes are fetched late, if ever."""

    id: PlatformId
    kind: Literal["image", "file", "audio", "video"]
    name: str = Field(default="", max_length=512)
    media_type: str = Field(default="", max_length=128)
    size: int | None = Field(default=None, ge=0, description="bytes")


class RawReference(Part):
    """Ties a message to the request it came in, without keeping the request."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="bytes")


class Message(Wire):
    """An event after verification and normalisation. Content is Markdown without NUL characters."""

    id: Id
    event_id: PlatformId
    channel: Id
    kind: Literal["message", "edit", "recall"] = "message"
    conversation: Id
    chat: PlatformId
    thread: PlatformId | None = None
    sender: Sender
    content: str = Field(max_length=200_000)
    timestamp: AwareDatetime = Field(description="when the platform says it was written")
    received_at: AwareDatetime = Field(description="when the gateway accepted it")
    platform_message_id: PlatformId
    target: PlatformId | None = Field(default=None, description="edit, recall: the platform message meant")
    reply_to: PlatformId | None = None
    mentions: tuple[Mention, ...] = Field(default=(), max_length=100)
    attachments: tuple[Attachment, ...] = Field(default=(), max_length=20)
    raw: RawReference | None = None


class Reply(Wire):
    """The durable, final text of one turn. `id` is the idempotency key of its delivery."""

    id: Id
    turn: Id
    channel: Id
    conversation: Id
    chat: PlatformId
    thread: PlatformId | None = None
    reply_to: PlatformId | None = Field(default=None, description="platform message it answers")
    event_id: PlatformId = Field(description="platform event it answers: what a caller joins on")
    kind: Literal["answer", "failure"] = "answer"
    content: str = Field(max_length=200_000)
    created_at: AwareDatetime


class LiveUpdate(Wire):
    """What a reply looks like so far. Not durable; the Reply of the same id is what counts.

    `text` is cumulative, so that a reader who missed updates needs only the newest one.
    """

    turn: Id
    reply: Id
    channel: Id
    conversation: Id
    chat: PlatformId
    thread: PlatformId | None = None
    reply_to: PlatformId | None = None
    event_id: PlatformId
    sequence: int = Field(ge=0, description="strictly growing within one attempt of a turn")
    state: Literal["started", "streaming", "retrying"] = "streaming"
    text: str = ""


class Receipt(Wire):
    """What became of one reply on its platform. Published by the gateway, recorded by a worker."""

    reply: Id
    channel: Id
    conversation: Id
    outcome: Literal["sent", "unknown", "failed"]
    platform_message_id: str = Field(default="", max_length=512)
    reason: str = Field(default="", max_length=512)
    attempts: int = Field(default=1, ge=1)
    at: AwareDatetime
