"""A model without a server, for tests of logic: it plays `script` in this process, on this event loop.

It stands behind the same port, with the same limits and errors, as the models that are real.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence

from herald_agent.models import script
from herald_agent.models.ports import ChatMessage, ModelRefused, ModelUnavailable
from herald_agent.models.streaming import Chunk, StreamedModel
from herald_contracts.settings import Generation


class ScriptedBackend:
    """Counters say what became of the generations so far: running, finished, failed, cancelled."""

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._closed = False
        self._attempts: Counter[str] = Counter()
        self.counters: Counter[str] = Counter()
        self.prompts: list[tuple[ChatMessage, ...]] = []
        """Every prompt that came, in order."""

    async def stream(
        self, messages: Sequence[ChatMessage], *, deadline: float, request_id: str
    ) -> AsyncGenerator[Chunk, None]:
        self.prompts.append(tuple(messages))
        if self._closed:
            raise ModelUnavailable("the model is closed")
        message = next((m.content for m in reversed(messages) if m.role == "user"), "")
        read = script.read(message)
        self._attempts[message] += 1
        outcome = "cancelled"
        self.counters["running"] += 1
        try:
            data = b""
            for step in script.play(read, self._max_tokens, self._attempts[message]):
                match step:
                    case script.Say(after, more):
                        await asyncio.sleep(after)
                        data += more
                        yield Chunk(data.decode(errors="replace"))
                    case script.Fail(after, temporary, reason):
                        await asyncio.sleep(after)
                        outcome = "failed"
                        raise ModelUnavailable(reason) if temporary else ModelRefused(reason)
                    case script.Hang():
                        await asyncio.Event().wait()
                    case script.End(finish, tokens):
                        outcome = "finished"
                        yield Chunk(data.decode(errors="replace"), finish, output_tokens=tokens)
        finally:
            self.counters["running"] -= 1
            self.counters[outcome] += 1

    async def ready(self) -> bool:
        return not self._closed

    async def close(self) -> None:
        self._closed = True


class ScriptedModel(StreamedModel):
    """The Model port, answered by `script`."""

    def __init__(self, generation: Generation | None = None) -> None:
        generation = generation or Generation()
        self.backend = ScriptedBackend(generation.max_tokens)
        super().__init__(self.backend, generation)
