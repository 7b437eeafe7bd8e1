"""llama.cpp in this process (`xllamacpp`): a GGUF, a few slots that write answers at the same time, no port.

Knows nothing of Triton, so that what is hard here (stopping early, half characters, files that do not load) can be
tested without a server.
"""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# Read by OpenMP when llama.cpp is loaded. By default its threads wait for each other in busy loops: fine on cores of
# their own, but on cores that all of Herald shares it made an answer 10 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import xllamacpp

# Tokens read of a prompt between two looks at whether anyone still waits: half a second with a small model. Larger
# batches read 10 % faster and cannot be left.
_BATCH = 128


class EngineError(Exception):
    """The text is for whoever runs the server."""


class Refused(EngineError):
    """llama.cpp will never take this request; the text is for the client."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the engine runs with; see ../../README.md."""

    gguf: Path
    threads: int
    slots: int
    context: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Settings":
        """Read HERALD_CHAT_*. Raises EngineError naming the variable."""
        gguf = environment.get("HERALD_CHAT_GGUF", "")
        if not gguf:
            raise EngineError("HERALD_CHAT_GGUF is not set: it names the GGUF file of the chat model")
        return cls(
            gguf=Path(gguf),
            threads=_whole(environment, "HERALD_CHAT_THREADS", len(os.sched_getaffinity(0)), 1, 512),
            slots=_whole(environment, "HERALD_CHAT_SLOTS", 4, 1, 64),
            context=_whole(environment, "HERALD_CHAT_CONTEXT", 4_096, 64, 1_048_576),
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """`finish` is None for an answer that was stopped."""

    text: str
    finish: Literal["stop", "length"] | None
    input_tokens: int
    output_tokens: int


class Engine:
    """Loads in the constructor. `generate` blocks its thread; as many run at once as there are slots."""

    def __init__(self, settings: Settings) -> None:
        """Raises EngineError naming the file and what to do."""
        _check(settings.gguf)
        params = xllamacpp.CommonParams()
        params.model.path = str(settings.gguf)
        params.n_parallel = settings.slots
        params.n_ctx = settings.slots * settings.context
        params.n_batch = params.n_ubatch = _BATCH
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.threads
        params.fit_params = False  # would shrink the context to what it thinks is free memory
        params.cache_ram_mib = 0  # otherwise up to 8 GiB of old prompts
        params.verbosity = 1
        params.ui = params.endpoint_slots = False
        params.n_threads_http = 1
        # llama.cpp's server always listens. A socket in a private folder, removed once it is bound, behind a key
        # that nobody knows: there is no way in.
        private = Path(tempfile.mkdtemp(prefix="herald-"))
        path = str(private / "s.sock")  # llama.cpp knows a socket by this ending
        params.hostnames = [path if len(path.encode()) < 100 else "127.0.0.1"]
        params.api_keys = [secrets.token_urlsafe(32)]
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError:
            raise EngineError(
                f"llama.cpp cannot load {settings.gguf} (its own words are in the lines above): it is damaged, needs"
                " more memory than there is, or is of a kind that this llama.cpp does not know; download it again or"
                " name another (HERALD_CHAT_GGUF)"
            ) from None
        finally:
            shutil.rmtree(private, ignore_errors=True)

    def generate(
        self, request: Mapping[str, Any], on_text: Callable[[str], None], stopped: Callable[[], bool]
    ) -> Answer:
        """Answer an OpenAI-style completion request (`prompt`, `max_tokens`, ...).

        `on_text` gets the whole text so far each time it grew; text ends at a whole character, as llama.cpp holds
        back the bytes of an unfinished one. `stopped` is asked at each token, and while a long prompt is read.
        Raises Refused, EngineError, and what `on_text` or `stopped` raise.
        """
        text = ""
        finish: Literal["stop", "length"] | None = None
        counts = (0, 0)
        failure: BaseException | None = None

        def each(data: bytes) -> bool:
            # An exception must not leave this function: the binding would swallow it.
            nonlocal text, finish, counts, failure
            try:
                chunk = json.loads(data)
                if "error" in chunk:
                    raise _error(chunk["error"])
                choice = chunk["choices"][0]
                if choice["text"]:
                    text += choice["text"]
                    on_text(text)
                if choice["finish_reason"] is not None:
                    finish = "length" if choice["finish_reason"] == "length" else "stop"
                    usage = chunk.get("usage") or {}
                    counts = (usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))
                return finish is None and stopped()
            except BaseException as e:
                failure = e
                return True

        body = {
            **{key: value for key, value in request.items() if value is not None},
            "stream": True,
            "stream_options": {"include_usage": True},
            "return_progress": True,
        }
        self._server.handle_completions(json.dumps(body).encode(), each)
        if failure is not None:
            raise failure
        return Answer(text, finish, *counts)


def _check(gguf: Path) -> None:
    """Say in plain words what llama.cpp would only log."""
    try:
        with gguf.open("rb") as file:
            magic = file.read(4)
    except OSError as e:
        raise EngineError(f"cannot read {gguf}: {e.strerror or e}; check the path (HERALD_CHAT_GGUF)") from None
    if magic != b"GGUF":
        raise EngineError(f"{gguf} is not a GGUF file; name one that is (HERALD_CHAT_GGUF)")


def _error(error: Mapping[str, Any]) -> EngineError:
    message = str(error.get("message", "no reason given"))
    if error.get("type") == "exceed_context_size_error":
        return Refused(
            f"the prompt is too long: {error.get('n_prompt_tokens')} tokens, and the context has {error.get('n_ctx')}"
        )
    return Refused(message) if error.get("code") == 400 else EngineError(message)


def _whole(environment: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    given = environment.get(name, "")
    try:
        value = int(given) if given else default
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise EngineError(f"{name} is {given!r}: it must be a whole number from {least} to {most}")
    return value
