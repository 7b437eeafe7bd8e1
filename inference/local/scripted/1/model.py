"""The scripted model in Triton: what `herald_agent.models.script` decides, sent as a real chat model sends.

Load tests run hundreds of answers at once through this one process, so all of them are coroutines on one loop:
a thread each would cost more than the work.
"""

import asyncio
import json
import sys
import threading
import time
from collections import Counter, OrderedDict
from concurrent.futures import Future
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import llmapi

from herald_agent.models import script

_LOOK_SECONDS = 0.1  # between two looks whether the client is gone: each costs a message to Triton
_SOONEST = 0.9  # of its delay, for a word that follows a late one: the pace is kept, and no burst made
_REMEMBERED = 10_000  # messages whose attempts are counted


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self._counters: Counter[str] = Counter()
        self._attempts: OrderedDict[str, int] = OrderedDict()
        self._running: dict[asyncio.Task[None], str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted", daemon=True)
        self._thread.start()

    def execute(self, requests: list[Any]) -> None:
        for request in requests:
            asyncio.run_coroutine_threadsafe(self._serve(request), self._loop)

    def finalize(self) -> None:
        done: Future[None] = asyncio.run_coroutine_threadsafe(self._drain(), self._loop)
        done.result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)

    async def _drain(self) -> None:
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, triton_request: Any) -> None:
        sender = triton_request.get_response_sender()
        try:
            request = llmapi.read(triton_request)
        except llmapi.BadRequest as e:
            llmapi.refuse(sender, str(e))
            return
        if request.cancels:
            for task, request_id in self._running.items():
                if request.id and request_id == request.id:
                    task.cancel()
            llmapi.fail(sender, "request cancelled by client")
            return
        message = script.last_user_message(request.prompt)
        read = script.read(message)
        if read.report:
            report = json.dumps({key: self._counters[key] for key in ("running", "finished", "failed", "cancelled")})
            llmapi.end(sender, llmapi.answer(report, request, finish="stop", counts=(0, 1)))
            return
        await self._counted(read, self._attempt(message, read), request, sender)

    async def _counted(self, read: script.Script, attempt: int, request: llmapi.Request, sender: Any) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine of the loop is a task
        self._running[task] = request.id
        self._counters["running"] += 1
        outcome = "failed"
        try:
            outcome = await self._play(read, attempt, request, sender)
        except asyncio.CancelledError:
            outcome = "cancelled"
            llmapi.end(sender, llmapi.answer(b"", request, finish="cancelled"))
        finally:
            del self._running[task]
            self._counters["running"] -= 1
            self._counters[outcome] += 1

    async def _play(self, read: script.Script, attempt: int, request: llmapi.Request, sender: Any) -> str:
        data = b""
        due = looked = time.monotonic()

        async def wait(seconds: float) -> None:
            """Wait so long after what was due before, looking now and then whether the client is still there.

            By the clock and not from now on: sending takes time that a real model's next word does not wait for.
            """
            nonlocal due, looked
            due = max(due + seconds, time.monotonic() + seconds * _SOONEST)
            while (now := time.monotonic()) < due or now - looked >= _LOOK_SECONDS:
                if now - looked >= _LOOK_SECONDS:
                    looked = now
                    if sender.is_cancelled():
                        raise asyncio.CancelledError
                await asyncio.sleep(min(max(due - now, 0), _LOOK_SECONDS))

        steps = script.play(read, request.max_tokens, attempt)
        following = next(steps)
        while following is not None:
            step, following = following, next(steps, None)
            match step:
                case script.Say(after, more):
                    await wait(after)
                    data += more
                    # The last word comes with the end: a message to Triton costs as much as all else here.
                    if request.streaming and not isinstance(following, script.End):
                        sender.send(llmapi.answer(data, request))
                case script.Fail(after, temporary, reason):
                    await wait(after)
                    (llmapi.fail if temporary else llmapi.refuse)(sender, reason)
                    return "failed"
                case script.Hang():
                    await wait(float("inf"))
                case script.End(finish, tokens):
                    counts = (len(request.prompt.split()), tokens)
                    llmapi.end(sender, llmapi.answer(data, request, finish=finish, counts=counts))
        return "finished"

    def _attempt(self, message: str, read: script.Script) -> int:
        if not read.failures:
            return 1
        self._attempts[message] = self._attempts.pop(message, 0) + 1
        if len(self._attempts) > _REMEMBERED:
            self._attempts.popitem(last=False)
        return self._attempts[message]
