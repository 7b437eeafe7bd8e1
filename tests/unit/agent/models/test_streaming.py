"""Time limits, the size limit and the errors that every backend shares."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

import pytest

from herald_agent.models.fitting import PromptTooLong
from herald_agent.models.ports import ChatMessage, Completion, ModelDeadline, ModelRefused, ModelUnavailable
from herald_agent.models.streaming import Chunk, StreamedModel
from herald_contracts.settings import Generation

Play = Callable[[Sequence[ChatMessage]], AsyncGenerator[Chunk, None]]
HELLO = [ChatMessage("user", "hello")]


class Backend:
    """Plays one generator per call and notes whether each was closed."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self.open = 0
        self.seen: list[Sequence[ChatMessage]] = []

    async def stream(
        self, messages: Sequence[ChatMessage], *, deadline: float, request_id: str
    ) -> AsyncGenerator[Chunk, None]:
        self.seen.append(messages)
        self.open += 1
        try:
            async for chunk in self._play(messages):
                yield chunk
        finally:
            self.open -= 1

    async def ready(self) -> bool:
        return True

    async def close(self) -> None:
        return None


async def ask(
    backend: Backend,
    *,
    generation: Generation | None = None,
    deadline: float = 30,
    on_text: Callable[[str], Awaitable[None]] | None = None,
    messages: Sequence[ChatMessage] = HELLO,
) -> tuple[Completion, list[str]]:
    shown: list[str] = []

    async def show(text: str) -> None:
        shown.append(text)

    model = StreamedModel(backend, generation or Generation())
    completion = await model.generate(messages, deadline=deadline, on_text=on_text or show, request_id="r")
    return completion, shown


def saying(*chunks: Chunk) -> Play:
    async def play(_: Sequence[ChatMessage]) -> AsyncGenerator[Chunk, None]:
        for chunk in chunks:
            yield chunk

    return play


async def silent(_: Sequence[ChatMessage]) -> AsyncGenerator[Chunk, None]:
    await asyncio.Event().wait()
    yield Chunk("never")


async def one_then_silent(_: Sequence[ChatMessage]) -> AsyncGenerator[Chunk, None]:
    yield Chunk("one")
    await asyncio.Event().wait()


async def endless(_: Sequence[ChatMessage]) -> AsyncGenerator[Chunk, None]:
    text = ""
    while True:
        await asyncio.sleep(0)
        text += "more and "
        yield Chunk(text)


async def endless_nothing(_: Sequence[ChatMessage]) -> AsyncGenerator[Chunk, None]:
    while True:
        await asyncio.sleep(0)
        yield Chunk("")


async def test_text_is_shown_each_time_it_grew_and_the_counts_are_kept() -> None:
    chunks = (Chunk("a"), Chunk("a"), Chunk("ab"), Chunk("ab", "stop", 5, 2))
    completion, shown = await ask(Backend(saying(*chunks)))
    assert completion == Completion("ab", 5, 2, "stop")
    assert shown == ["a", "ab"]


@pytest.mark.parametrize(
    ("chunks", "completion"),
    [
        ((), Completion("", None, None, "stop")),
        ((Chunk("", "stop"),), Completion("", None, None, "stop")),
        ((Chunk("a"),), Completion("a", None, None, "stop")),
        ((Chunk("a", "length"), Chunk("never read")), Completion("a", None, None, "length")),
        ((Chunk("a\x00b\x00", "stop"),), Completion("ab", None, None, "stop")),
        ((Chunk("x" * 5_000),), Completion("x" * 4_096, None, None, "length")),
        ((Chunk("x" * 5_000, "stop"),), Completion("x" * 4_096, None, None, "length")),
        ((Chunk("done<|im_"), Chunk("done", "stop")), Completion("done", None, None, "stop")),
        ((Chunk("x" * 4_096, "stop"),), Completion("x" * 4_096, None, None, "stop")),
    ],
)
async def test_every_kind_of_end_is_a_completion(chunks: tuple[Chunk, ...], completion: Completion) -> None:
    got, _ = await ask(Backend(saying(*chunks)), generation=Generation(max_tokens=8))
    assert got == completion


async def test_an_endless_answer_is_cut_and_the_server_stopped() -> None:
    backend = Backend(endless)
    completion, _ = await ask(backend, generation=Generation(max_tokens=100))
    assert (len(completion.text), completion.finish) == (4_800, "length")
    assert backend.open == 0


@pytest.mark.parametrize(
    ("play", "first", "idle", "deadline", "why"),
    [
        (silent, 0.02, 9, 30, r"waited 0.02 s for the first token"),
        (one_then_silent, 9, 0.02, 30, r"waited 0.02 s for the next token"),
        (silent, 9, 9, 0.02, r"the time for this turn is used up"),
        (one_then_silent, 9, 9, 0.02, r"the time for this turn is used up"),
        (endless_nothing, 9, 9, 0.05, r"the time for this turn is used up"),
        (silent, 9, 9, 0, r"the time for this turn is used up"),
    ],
)
async def test_silence_has_limits(play: Play, first: float, idle: float, deadline: float, why: str) -> None:
    backend = Backend(play)
    with pytest.raises(ModelDeadline, match=why):
        await ask(backend, generation=Generation(first_token_seconds=first, idle_seconds=idle), deadline=deadline)
    assert backend.open == 0


async def test_cancelling_the_caller_stops_the_server() -> None:
    backend = Backend(one_then_silent)
    begun = asyncio.Event()

    async def show(_: str) -> None:
        begun.set()

    task = asyncio.create_task(ask(backend, on_text=show))
    await begun.wait()
    assert backend.open == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert backend.open == 0


@pytest.mark.parametrize("error", [LookupError("lease lost"), TimeoutError("of the caller's own")])
async def test_an_error_of_the_caller_stops_the_server_and_is_raised(error: Exception) -> None:
    backend = Backend(endless)

    async def show(_: str) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await ask(backend, on_text=show)
    assert caught.value is error
    assert backend.open == 0


async def test_an_error_of_the_server_comes_through() -> None:
    async def play(_: Sequence[ChatMessage]) -> AsyncGenerator[Chunk, None]:
        yield Chunk("a")
        raise ModelUnavailable("gone")

    with pytest.raises(ModelUnavailable, match="gone"):
        await ask(Backend(play))


def too_long_for_more_than(limit: int) -> Play:
    async def play(messages: Sequence[ChatMessage]) -> AsyncGenerator[Chunk, None]:
        if len(messages) > limit:
            raise PromptTooLong("the prompt is too long")
        yield Chunk("fits", "stop")

    return play


LONG = [ChatMessage("user" if i % 2 == 0 else "assistant", "word " * 50) for i in range(41)]


async def test_a_prompt_that_the_server_finds_too_long_is_fitted_again() -> None:
    backend = Backend(too_long_for_more_than(10))
    completion, _ = await ask(backend, messages=LONG, generation=Generation(max_input_tokens=4_000))
    assert completion.text == "fits"
    assert [seen[-1] for seen in backend.seen] == [LONG[-1]] * len(backend.seen)
    assert 1 < len(backend.seen) <= 5


async def test_a_prompt_that_cannot_be_fitted_is_refused() -> None:
    backend = Backend(too_long_for_more_than(0))
    with pytest.raises(ModelRefused, match="too long"):
        await ask(backend, messages=LONG, generation=Generation(max_input_tokens=4_000))
    assert len(backend.seen) <= 5
