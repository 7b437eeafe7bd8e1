"""The chat model in Triton: requests with the tensors of `llmapi`, answered by llama.cpp.

llama.cpp answers as many requests at once as it has slots; the rest wait here and not in llama.cpp, because here a
waiting request can still be cancelled. One thread asks Triton for all requests whether they were cancelled:
asking costs a message each, too much to do at every token.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import llmapi
import triton_python_backend_utils as pb_utils
from engine import Engine, EngineError, Refused, Settings

_LOOK_SECONDS = 0.1  # between two looks for clients that are gone
_MAX_WAITING = 256


@dataclass(eq=False, slots=True)
class _Job:
    request: llmapi.Request
    sender: Any
    stopped: threading.Event = field(default_factory=threading.Event)
    # Triton 2.51 frees what `is_cancelled` looks at when the last response is sent: to ask after that ends the whole
    # server with a segmentation fault. So nobody asks while somebody ends, or later.
    ending: threading.Lock = field(default_factory=threading.Lock)
    ended: bool = False

    def end(self, send: Callable[[], None]) -> None:
        """Send the last response."""
        with self.ending:
            self.ended = True
            send()

    def cancelled(self) -> bool:
        """Whether its client is gone."""
        with self.ending:
            return not self.ended and bool(self.sender.is_cancelled())


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        settings = Settings.of(os.environ)
        self._engine = Engine(settings)
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._running: set[_Job] = set()
        self._ending = False
        self._threads = [
            threading.Thread(target=self._work, name=f"slot-{i}", daemon=True) for i in range(settings.slots)
        ]
        self._threads.append(threading.Thread(target=self._watch, name="cancels", daemon=True))
        for thread in self._threads:
            thread.start()
        pb_utils.Logger.log_info(
            f"chat model {settings.gguf}: {settings.slots} slots of {settings.context} tokens,"
            f" {settings.threads} threads"
        )

    def execute(self, requests: list[Any]) -> None:
        for triton_request in requests:
            sender = triton_request.get_response_sender()
            try:
                request = llmapi.read(triton_request)
            except llmapi.BadRequest as e:
                llmapi.refuse(sender, str(e))
                continue
            if request.cancels:
                self._stop(request.id)
                llmapi.fail(sender, "request cancelled by client")
            elif not self._accept(_Job(request, sender)):
                llmapi.fail(sender, f"overloaded: {_MAX_WAITING} requests are waiting")

    def finalize(self) -> None:
        with self._changed:
            self._ending = True
            for job in (*self._waiting, *self._running):
                job.stopped.set()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)
        del self._engine

    def _accept(self, job: _Job) -> bool:
        with self._changed:
            if len(self._waiting) >= _MAX_WAITING:
                return False
            self._waiting.append(job)
            self._changed.notify_all()
            return True

    def _stop(self, request_id: str) -> None:
        with self._changed:
            for job in (*self._waiting, *self._running):
                if request_id and job.request.id == request_id:
                    job.stopped.set()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ending)
                if not self._waiting:
                    return
                job = self._waiting.popleft()
                self._running.add(job)
            try:
                self._answer(job)
            finally:
                with self._changed:
                    self._running.discard(job)

    def _answer(self, job: _Job) -> None:
        request, sender = job.request, job.sender
        if job.stopped.is_set():
            _end_cancelled(job)
            return

        def show(text: str) -> None:
            if request.streaming:
                sender.send(llmapi.answer(text, request))

        try:
            answer = self._engine.generate(_completion(request), show, job.stopped.is_set)
        except Refused as e:
            text = str(e)
            job.end(lambda: llmapi.refuse(sender, text))
        except EngineError as e:
            pb_utils.Logger.log_error(f"llama.cpp failed: {e}")
            problem = str(e)
            job.end(lambda: llmapi.fail(sender, problem))
        else:
            if answer.finish is None:
                _end_cancelled(job)
                return
            counts = (answer.input_tokens, answer.output_tokens)
            last = llmapi.answer(answer.text, request, finish=answer.finish, counts=counts)
            job.end(lambda: llmapi.end(sender, last))

    def _watch(self) -> None:
        """Mark the requests whose clients are gone; wait while there are none."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._running or self._ending)
                if self._ending:
                    return
                jobs = (*self._running, *self._waiting)
            for job in jobs:
                if not job.stopped.is_set() and job.cancelled():
                    job.stopped.set()
            self._drop_stopped()
            time.sleep(_LOOK_SECONDS)

    def _drop_stopped(self) -> None:
        with self._changed:
            dropped = [job for job in self._waiting if job.stopped.is_set()]
            for job in dropped:
                self._waiting.remove(job)
        for job in dropped:
            _end_cancelled(job)


def _end_cancelled(job: _Job) -> None:
    job.end(lambda: llmapi.end(job.sender, llmapi.answer("", job.request, finish="cancelled")))


def _completion(request: llmapi.Request) -> dict[str, Any]:
    """The request as llama.cpp's server wants it; what is None is left to its defaults."""
    return {
        "prompt": request.prompt,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_k": request.top_k,
        "top_p": request.top_p,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "seed": request.seed,
        "stop": list(request.stop),
    }
