"""FastStream pulling the same stream: parses the JSON body, calls a handler that reads one field, acks.

It keeps no order by conversation and looks for no duplicates, so it does less than what it is compared with.
Pulls 100 at a time, which was its fastest setting; its other defaults are its own.
"""

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

import uvloop
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.security import SASLPlaintext
from nats.js.api import ConsumerConfig

from benchmarks.processes import report


async def work(url: str, user: str, password: str, stream: str, subject: str, durable: str, count: int) -> None:
    broker = NatsBroker(url, security=SASLPlaintext(username=user, password=password), logger=None)
    done = asyncio.Event()
    seen = 0
    begin = cpu = 0.0

    async def handle(body: dict[str, Any]) -> None:
        nonlocal seen, begin, cpu
        if seen == 0:
            begin, cpu = time.perf_counter(), time.process_time()
        assert body["content"]
        seen += 1
        if seen == count:
            done.set()

    broker.subscriber(
        subject,
        stream=JStream(stream, declare=False),
        durable=durable,
        pull_sub=PullSub(batch_size=100),
        config=ConsumerConfig(ack_wait=60, max_ack_pending=20_000),
    )(handle)
    async with broker:
        await broker.start()
        async with asyncio.timeout(120):
            await done.wait()
        # The last batch is acked after its handlers returned.
        await broker.ping(timeout=5)
        took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    report({"count": seen, "seconds": took, "cpu_seconds": cpu})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--credentials", type=Path, required=True)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--subject", required=True)
    parser.add_argument("--durable", required=True)
    parser.add_argument("--count", type=int, required=True)
    o = parser.parse_args()
    user, password = ((o.credentials / name).read_text() for name in ("user", "password"))
    uvloop.run(work(o.url, user, password, o.stream, o.subject, o.durable, o.count))


if __name__ == "__main__":
    main()
