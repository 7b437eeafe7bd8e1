"""The port to a language model: what a turn asks for, what it gets, and how it can fail.

A turn must not know which server answers, so every backend maps its failures to the three errors below; each
says whether another attempt makes sense.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from herald_contracts.errors import PermanentError, TemporaryError

Role = Literal["system", "user", "assistant"]

OnText = Callable[[str], Awaitable[None]]
"""Called with the whole text so far (not with what was added), each time it grew."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of the prompt. The content is untrusted text; a backend keeps it from acting as markup."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished answer. Token counts are None where the server does not tell them."""

    text: str
    input_tokens: int | None
    output_tokens: int | None
    finish: Literal["stop", "length"]


class ModelUnavailable(TemporaryError):
    """The server is down, restarting or overloaded, or the connection was lost; nothing is known of the answer.

    `retry_after`, where the server named it, is seconds.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelDeadline(TemporaryError):
    """The model was too slow: no first token, a gap between two tokens, or the caller's deadline."""


class ModelRefused(PermanentError):
    """This request can never work: too long, not renderable, forbidden, or of a model that is not there."""


class Model(Protocol):
    """A chat model. One instance serves many generations at once, all on one event loop."""

    async def generate(
        self, messages: Sequence[ChatMessage], *, deadline: float, on_text: OnText, request_id: str
    ) -> Completion:
        """Answer `messages` within `deadline` seconds; `request_id` names the attempt in the server's log.

        Cancelling the calling task stops the generation on the server too. An error raised by `on_text` stops it
        and is raised here. Raises ModelUnavailable, ModelDeadline, ModelRefused.
        """
        ...

    async def ready(self) -> bool:
        """Whether a generation started now could succeed; False within a few seconds where the server hangs."""
        ...

    async def close(self) -> None:
        """Let go of connections. Generations still running fail with ModelUnavailable."""
        ...
