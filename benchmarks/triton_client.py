"""P9's client process: our own model client against the scripted model, and a batched model against itself.

A process of its own because gRPC and fork do not agree.
"""

import argparse
import asyncio
import dataclasses
import json
import time

import numpy as np
import tritonclient.grpc.aio as triton

from benchmarks.figures import percentile
from benchmarks.processes import report
from benchmarks.triton_figures import CLIENTS, STREAMS, TOKEN_SECONDS, TOKENS, Round
from herald_agent.models.create import create_model
from herald_agent.models.ports import ChatMessage, Model
from herald_contracts.settings import Generation, TritonModel

clock = time.perf_counter


async def _nothing(_: str) -> None:
    """Nobody looks at the text."""


async def _answer(model: Model, text: str, request_id: str) -> str:
    messages = (ChatMessage("system", "You are a measurement."), ChatMessage("user", text))
    answer = await model.generate(messages, deadline=60, on_text=_nothing, request_id=request_id)
    return answer.text


async def overhead(model: Model, count: int) -> list[float]:
    """Seconds of whole answers of a model that takes no time itself, one after another."""
    took = []
    for n in range(count + 10):
        begin = clock()
        await _answer(model, f"message {n}", f"overhead-{n}")
        took.append(clock() - begin)
    return took[10:]


async def between(model: Model, streams: int) -> tuple[list[float], list[float]]:
    """Seconds between two tokens, and to the first one, over `streams` answers at once."""
    gaps: list[float] = []
    firsts: list[float] = []

    async def one(n: int) -> None:
        begin = last = clock()

        async def seen(_: str) -> None:
            nonlocal last
            now = clock()
            (gaps if last != begin else firsts).append(now - last)
            last = now

        text = f"[[tokens={TOKENS}]][[delay={TOKEN_SECONDS}]] {n}"
        await model.generate((ChatMessage("user", text),), deadline=60, on_text=seen, request_id=f"stream-{n}")

    await asyncio.gather(*(one(n) for n in range(streams)))
    return gaps, firsts


async def cancels(model: Model, count: int) -> list[float]:
    """Seconds from our cancel until the model itself counts the answer as cancelled."""
    took = []
    for n in range(count):
        before = json.loads(await _answer(model, "[[report]]", "report"))["cancelled"]
        started = asyncio.Event()

        async def seen(_: str, started: asyncio.Event = started) -> None:
            started.set()

        messages = (ChatMessage("user", "[[endless]][[delay=0.008]]"),)
        task = asyncio.create_task(model.generate(messages, deadline=60, on_text=seen, request_id=f"cancel-{n}"))
        await started.wait()
        begin = clock()
        task.cancel()
        async with asyncio.timeout(10):
            while json.loads(await _answer(model, "[[report]]", "report"))["cancelled"] == before:
                continue
        took.append(clock() - begin)
        await asyncio.gather(task, return_exceptions=True)
    return took


async def rate(client: triton.InferenceServerClient, name: str, seconds: float) -> float:
    """Requests per second of `CLIENTS` that each send one row and wait for it."""
    value = triton.InferInput("value", [1, 1], "FP32")
    value.set_data_from_numpy(np.ones((1, 1), dtype=np.float32))
    done = 0

    async def one(until: float) -> None:
        nonlocal done
        while clock() < until:
            await client.infer(name, [value])
            done += 1

    await client.infer(name, [value])
    begin = clock()
    await asyncio.gather(*(one(begin + seconds) for _ in range(CLIENTS)))
    return done / (clock() - begin)


async def run(address: str, rounds: int, scale: float) -> None:
    model = create_model(TritonModel(url=address, model="scripted"), Generation())
    client = triton.InferenceServerClient(address)
    try:
        for _ in range(rounds):
            alone = await overhead(model, max(20, int(200 * scale)))
            gaps_one, _ = await between(model, 1)
            gaps, firsts = await between(model, STREAMS)
            stopped = await cancels(model, max(2, int(8 * scale)))
            unbatched = await rate(client, "step", 2 * max(scale, 0.25))
            batched = await rate(client, "step_batched", 2 * max(scale, 0.25))
            report(
                dataclasses.asdict(
                    Round(
                        percentile(alone, 50) * 1e3,
                        percentile(alone, 99) * 1e3,
                        percentile(gaps_one, 50) * 1e3,
                        percentile(gaps, 50) * 1e3,
                        percentile(firsts, 50) * 1e3,
                        tuple(1e3 * s for s in stopped),
                        unbatched,
                        batched,
                    )
                )
            )
    finally:
        await client.close()
        await model.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--scale", type=float, required=True, help="1 for a whole run, less for a quick one")
    o = parser.parse_args()
    asyncio.run(run(o.address, o.rounds, o.scale))


if __name__ == "__main__":
    main()
