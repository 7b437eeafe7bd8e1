"""Our worker layer alone, as a process of its own: what P3 puts beside FastStream.

Pulls with herald_runtime.pulling, reads each message with herald_contracts, drops what it has seen, keeps the order
within a conversation while conversations run side by side, and acks after the handler. No store: those cost the
same whoever pulls.
"""

import argparse
import asyncio
import time
from collections import deque
from pathlib import Path

import uvloop
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from benchmarks.processes import report
from herald_contracts.messages import Message
from herald_contracts.settings import Nats
from herald_runtime.connection import connect
from herald_runtime.pulling import Puller


class Layer:
    """`finished` is set when `count` messages were handled and acked."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._seen: dict[tuple[str, str], None] = {}
        self._conversations: dict[str, deque[tuple[Message, Msg]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.duplicates = 0
        self.finished = asyncio.Event()

    async def take(self, raw: Msg) -> None:
        message = Message.from_wire(raw.data)
        key = (message.channel, message.event_id)
        if key in self._seen:
            self.duplicates += 1
            await raw.ack()
            return
        self._seen[key] = None
        waiting = self._conversations.get(message.conversation)
        if waiting is not None:
            waiting.append((message, raw))
            return
        self._conversations[message.conversation] = deque(((message, raw),))
        task = asyncio.create_task(self._serve(message.conversation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, conversation: str) -> None:
        waiting = self._conversations[conversation]
        while waiting:
            message, raw = waiting[0]
            await self._handle(message)
            await raw.ack()
            waiting.popleft()
            self._left -= 1
            if self._left == 0:
                self.finished.set()
        del self._conversations[conversation]

    async def _handle(self, message: Message) -> None:
        assert message.content


async def work(nats: Nats, stream: str, subject: str, durable: str, count: int) -> None:
    client = await connect(nats, "benchmark")
    await client.jetstream().add_consumer(
        stream,
        ConsumerConfig(
            durable_name=durable,
            filter_subject=subject,
            ack_policy=AckPolicy.EXPLICIT,
            deliver_policy=DeliverPolicy.ALL,
            ack_wait=60,
            max_ack_pending=20_000,
        ),
    )
    layer = Layer(count)
    begin = cpu = 0.0
    seen = 0
    async with asyncio.timeout(120), Puller(client, stream, durable, batch=500) as puller:
        async for raw in puller:
            if seen == 0:
                begin, cpu = time.perf_counter(), time.process_time()
            await layer.take(raw)
            for more in puller.ready(500):
                await layer.take(more)
                seen += 1
            seen += 1
            if seen >= count:
                break
        await layer.finished.wait()
        await client.flush()
        took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    await client.close()
    report({"count": count, "seconds": took, "cpu_seconds": cpu})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--credentials", type=Path, required=True)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--subject", required=True)
    parser.add_argument("--durable", required=True)
    parser.add_argument("--count", type=int, required=True)
    o = parser.parse_args()
    nats = Nats(url=o.url, credentials=o.credentials)
    uvloop.run(work(nats, o.stream, o.subject, o.durable, o.count))


if __name__ == "__main__":
    main()
