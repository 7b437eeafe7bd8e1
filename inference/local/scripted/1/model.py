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

_CHECK_CANCEL = 0.04  # seconds between two looks: each costs a message to Triton
_REMEMBERED = 10_000  # messages whose attempts are counted


class _Cancelled(Exception):
    pass


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self._counters: Counter[str] = Counter()
        self._attempts: OrderedDict[str, int] = OrderedDict()
        self._stopped: set[str] = set()
        self._running: Counter[str] = Counter()
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
        others = [task for task in asyncio.all_tasks(self._loop) if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, triton_request: Any) -> None:
        sender = triton_request.get_response_sender()
        try:
            request = llmapi.read(triton_request)
        except llmapi.BadRequest as e:
            llmapi.fail(sender, str(e), "INVALID_ARG")
            return
        if request.cancels:
            if self._running[request.id]:
                self._stopped.add(request.id)
            llmapi.fail(sender, "request cancelled by client", "CANCELLED")
            return
        message = script.last_user_message(request.prompt)
        read = script.read(message)
        if read.report:
            report = json.dumps({key: self._counters[key] for key in ("running", "finished", "failed", "cancelled")})
            llmapi.end(sender, llmapi.answer(report, request, finish="stop", counts=(0, 1)))
            return
        self._counters["running"] += 1
        self._running[request.id] += 1
        outcome = "failed"
        try:
            outcome = await self._play(read, self._attempt(message, read), request, sender)
        except (_Cancelled, asyncio.CancelledError):
            outcome = "cancelled"
            llmapi.fail(sender, "request cancelled by client", "CANCELLED")
        finally:
            self._counters["running"] -= 1
            self._counters[outcome] += 1
            self._running[request.id] -= 1
            if not self._running[request.id]:
                del self._running[request.id]
                self._stopped.discard(request.id)

    async def _play(self, read: script.Script, attempt: int, request: llmapi.Request, sender: Any) -> str:
        data = b""
        words_in = len(request.prompt.split())
        looked = time.monotonic()

        async def wait(seconds: float) -> None:
            """Sleep, looking now and then whether anyone still waits for the answer."""
            nonlocal looked
            until = time.monotonic() + seconds
            while (now := time.monotonic()) < until or now - looked >= _CHECK_CANCEL:
                if now - looked >= _CHECK_CANCEL:
                    looked = now
                    if sender.is_cancelled() or request.id in self._stopped:
                        raise _Cancelled
                await asyncio.sleep(min(max(until - now, 0), _CHECK_CANCEL))

        for step in script.play(read, request.max_tokens, attempt):
            match step:
                case script.Say(after, more):
                    await wait(after)
                    data += more
                    if request.streaming:
                        sender.send(llmapi.answer(data, request))
                case script.Fail(after, temporary, reason):
                    await wait(after)
                    llmapi.fail(sender, reason, "UNAVAILABLE" if temporary else "INVALID_ARG")
                    return "failed"
                case script.Hang():
                    await wait(float("inf"))
                case script.End(finish, tokens):
                    llmapi.end(sender, llmapi.answer(data, request, finish=finish, counts=(words_in, tokens)))
        return "finished"

    def _attempt(self, message: str, read: script.Script) -> int:
        if not read.failures:
            return 1
        self._attempts[message] = self._attempts.pop(message, 0) + 1
        if len(self._attempts) > _REMEMBERED:
            self._attempts.popitem(last=False)
        return self._attempts[message]
