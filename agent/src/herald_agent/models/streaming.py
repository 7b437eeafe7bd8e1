"""What every streamed answer needs, whichever server writes it: time limits, a size limit, one way to fail.

A backend only turns messages into chunks. Here the chunks become a Completion: silence is measured, an answer
that never ends is cut, what a database cannot hold is taken out, and whoever waits gets one of three errors.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from herald_agent.models.fitting import PromptTooLong, fit
from herald_agent.models.ports import ChatMessage, Completion, ModelDeadline, OnText
from herald_contracts.settings import Generation

# A reply holds 200,000 characters (herald_contracts.messages.Reply). A token is rarely longer than 8 characters;
# the longest of common vocabularies are runs of spaces, so 48 cuts no honest answer.
_MAX_CHARACTERS = 200_000
_CHARACTERS_PER_TOKEN = 48
_LEAST_ROOM = 128  # tokens


@dataclass(frozen=True, slots=True)
class Chunk:
    """The answer so far. `finish` is set in the last one; counts where the server tells them."""

    text: str
    finish: Literal["stop", "length"] | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class Backend(Protocol):
    """A server that writes answers."""

    def stream(
        self, messages: Sequence[ChatMessage], *, deadline: float, request_id: str
    ) -> AsyncGenerator[Chunk, None]:
        """Chunks of one answer, each holding the whole text so far; closing the generator stops the server.

        Raises the errors of the port, and PromptTooLong where the server counted more tokens than it takes.
        """
        ...

    async def ready(self) -> bool: ...

    async def close(self) -> None: ...


class StreamedModel:
    """The Model port over a Backend."""

    def __init__(self, backend: Backend, generation: Generation) -> None:
        self._backend = backend
        self._generation = generation
        self._most = min(_MAX_CHARACTERS, max(4_096, generation.max_tokens * _CHARACTERS_PER_TOKEN))

    async def generate(
        self, messages: Sequence[ChatMessage], *, deadline: float, on_text: OnText, request_id: str
    ) -> Completion:
        """See `ports.Model`. The answer may be empty: a model may have nothing to say."""
        until = asyncio.get_running_loop().time() + deadline
        room = self._generation.max_input_tokens
        while True:
            fitting = fit(messages, room)
            try:
                return await self._attempt(fitting, until, on_text, request_id)
            except PromptTooLong:
                # Refused before the first token, so nothing was shown yet: the estimate was too low.
                room //= 2
                if room < _LEAST_ROOM or len(fitting) == len(fit(messages, room)):
                    raise

    async def ready(self) -> bool:
        return await self._backend.ready()

    async def close(self) -> None:
        await self._backend.close()

    async def _attempt(
        self, messages: Sequence[ChatMessage], until: float, on_text: OnText, request_id: str
    ) -> Completion:
        loop = asyncio.get_running_loop()
        chunks = self._backend.stream(messages, deadline=max(until - loop.time(), 0.0), request_id=request_id)
        first, idle = self._generation.first_token_seconds, self._generation.idle_seconds
        silence, waiting_for = first, "the first token"
        text = ""
        last: Chunk | None = None
        try:
            async with asyncio.timeout_at(min(until, loop.time() + silence)) as limit:
                async for last in chunks:
                    # NUL has no place in PostgreSQL's text. The text may shrink: a server takes back the beginning
                    # of a stop word that it had shown.
                    before, text = text, last.text.replace("\x00", "")[: self._most]
                    if len(text) > len(before):
                        limit.reschedule(until)
                        await on_text(text)
                        silence, waiting_for = idle, "the next token"
                    if last.finish is not None or len(text) >= self._most:
                        break
                    limit.reschedule(min(until, loop.time() + silence))
        except TimeoutError:
            if not limit.expired():
                raise  # of on_text's own making
            late = loop.time() >= until
            raise ModelDeadline(
                "the time for this turn is used up" if late else f"waited {silence:g} s for {waiting_for}"
            ) from None
        finally:
            await chunks.aclose()
        if last is None:
            return Completion(text="", input_tokens=None, output_tokens=None, finish="stop")
        cut = len(last.text) > len(text) or last.finish is None
        finish = "length" if cut and len(text) >= self._most else last.finish or "stop"
        return Completion(text, last.input_tokens, last.output_tokens, finish)
