"""Counts what a model costs, under the names that OpenTelemetry gives to generative AI.

Around any model, so that all backends are measured alike.
Names: herald_contracts.telemetry; conventions: open-telemetry/semantic-conventions-genai, docs/gen-ai.
"""

import time
from collections.abc import Sequence

from herald_agent.models.ports import ChatMessage, Completion, Model, OnText
from herald_contracts import telemetry
from herald_runtime.metrics import meter

# Advice of the conventions for clients: seconds, and tokens by powers of four.
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536, 262_144)

_meter = meter("herald.agent.models")
_duration = _meter.create_histogram(telemetry.MODEL_SECONDS, unit="s", explicit_bucket_boundaries_advisory=_SECONDS)
_first_chunk = _meter.create_histogram(
    telemetry.FIRST_CHUNK_SECONDS, unit="s", explicit_bucket_boundaries_advisory=_SECONDS
)
_tokens = _meter.create_histogram(telemetry.TOKENS, unit="{token}", explicit_bucket_boundaries_advisory=_TOKENS)


class MeteredModel:
    """A model that is counted: duration, time to the first chunk, tokens, and the error's type where it failed."""

    def __init__(self, model: Model, *, provider: str, name: str) -> None:
        self._model = model
        self._labels = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": name,
        }

    async def generate(
        self, messages: Sequence[ChatMessage], *, deadline: float, on_text: OnText, request_id: str
    ) -> Completion:
        start = time.perf_counter()
        first = False

        async def noticed(text: str) -> None:
            nonlocal first
            if not first:
                first = True
                _first_chunk.record(time.perf_counter() - start, self._labels)
            await on_text(text)

        try:
            completion = await self._model.generate(messages, deadline=deadline, on_text=noticed, request_id=request_id)
        except BaseException as e:  # a cancel ends an operation too; nothing is swallowed
            _duration.record(time.perf_counter() - start, {**self._labels, "error.type": type(e).__name__})
            raise
        _duration.record(time.perf_counter() - start, self._labels)
        for kind, count in (("input", completion.input_tokens), ("output", completion.output_tokens)):
            if count is not None:
                _tokens.record(count, {**self._labels, "gen_ai.token.type": kind})
        return completion

    async def ready(self) -> bool:
        return await self._model.ready()

    async def close(self) -> None:
        await self._model.close()
