"""The bare skeleton: the least that keeps the same promise of durability, and nothing else. P4's anchor.

Two processes. `gateway`: webhook -> signature -> JetStream, 202 after its acknowledgement. `worker`: pull -> ONE
statement (claim the event, put the reply into the outbox) -> signed POST to the callback -> outbox row marked -> ack.
No model, no memory, no order, no leases, no journal, no delivery records, no retries: everything above this is the
price of Herald.
"""

import argparse
import asyncio
import hashlib
import hmac
import json
import time
from pathlib import Path

import aiohttp
import uvicorn
import uvloop
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.servers import make_stream
from herald_contracts.errors import TemporaryError
from herald_contracts.settings import Nats
from herald_runtime.acks import Publisher
from herald_runtime.connection import connect
from herald_runtime.pulling import Puller

STREAM, SUBJECT, CONSUMER = "SKELETON", "skeleton.in", "workers"
_AT_ONCE = 64

_SCHEMA = """
CREATE TABLE IF NOT EXISTS inbox (event text PRIMARY KEY, payload jsonb NOT NULL, at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS outbox (event text PRIMARY KEY, payload jsonb NOT NULL, sent_at timestamptz);
"""
_CLAIM = """
WITH claimed AS (INSERT INTO inbox (event, payload) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING event)
INSERT INTO outbox (event, payload) SELECT event, %s FROM claimed RETURNING event
"""
_SENT = "UPDATE outbox SET sent_at = now() WHERE event = %s"


def signature(secret: bytes, stamp: str, body: bytes) -> str:
    return hmac.new(secret, f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


async def gateway(nats: Nats, secret: bytes, port: int) -> None:
    client = await connect(nats, "skeleton-gateway")
    await make_stream(client, STREAM, [SUBJECT])
    publisher = Publisher(client)
    await publisher.start()

    async def events(request: Request) -> JSONResponse:
        body = await request.body()
        stamp = request.headers.get("herald-timestamp", "")
        given = request.headers.get("herald-signature", "")
        wanted = f"v1={signature(secret, stamp, body)}"
        if not hmac.compare_digest(given.encode(), wanted.encode()) or abs(time.time() - float(stamp)) > 300:
            return JSONResponse({}, 401)
        event = json.loads(body)
        try:
            await publisher.publish(SUBJECT, body, event["id"], deadline=2.5)
        except TemporaryError:
            return JSONResponse({}, 503)
        return JSONResponse({"accepted": True, "id": event["id"]}, 202)

    app = Starlette(routes=[Route("/events", events, methods=["POST"])])
    await uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, http="httptools", log_level="warning", access_log=False)
    ).serve()


class Worker:
    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection[TupleRow]],
        http: aiohttp.ClientSession,
        reply: str,
        secret: bytes,
    ) -> None:
        self._pool, self._http, self._reply, self._secret = pool, http, reply, secret
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def answer(self, msg: Msg) -> None:
        async with self._room:
            event = json.loads(msg.data)
            reply = json.dumps(
                {
                    "id": f"reply-{event['id']}",
                    "event": event["id"],
                    "conversation": event["conversation"],
                    "kind": "answer",
                    "text": f"echo: {event['text']}",
                }
            )
            async with self._pool.connection() as connection:
                claimed = await connection.execute(_CLAIM, (event["id"], msg.data.decode(), reply))
                if await claimed.fetchone() is None:
                    await msg.ack()
                    return
            stamp, body = str(int(time.time())), reply.encode()
            headers = {
                "content-type": "application/json",
                "herald-timestamp": stamp,
                "herald-signature": f"v1={signature(self._secret, stamp, body)}",
                "herald-reply-id": f"reply-{event['id']}",
            }
            async with self._http.post(self._reply, data=body, headers=headers) as answer:
                answer.raise_for_status()
            async with self._pool.connection() as connection:
                await connection.execute(_SENT, (event["id"],))
            await msg.ack()


async def worker(nats: Nats, secret: bytes, dsn: str, reply: str, ready: Path) -> None:
    client = await connect(nats, "skeleton-worker")
    await make_stream(client, STREAM, [SUBJECT])
    await client.jetstream().add_consumer(
        STREAM,
        ConsumerConfig(durable_name=CONSUMER, ack_policy=AckPolicy.EXPLICIT, ack_wait=30, max_ack_pending=2_000),
    )
    async with (
        AsyncConnectionPool(dsn, min_size=4, max_size=16, open=False, kwargs={"autocommit": True}) as pool,
        aiohttp.ClientSession() as http,
        Puller(client, STREAM, CONSUMER, batch=200) as puller,
    ):
        async with pool.connection() as connection:
            await connection.execute(_SCHEMA)
        answering = Worker(pool, http, reply, secret)
        ready.touch()
        # A failed answer fails the group and so the process: the measurement must notice it.
        async with asyncio.TaskGroup() as tasks:
            async for msg in puller:
                tasks.create_task(answering.answer(msg))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.skeleton")
    parser.add_argument("role", choices=("gateway", "worker"))
    parser.add_argument("--settings", type=Path, required=True, help="JSON, readable by us alone: it holds secrets")
    options = parser.parse_args()
    given = json.loads(options.settings.read_text())
    nats = Nats(url=given["nats"], credentials=Path(given["credentials"]))
    secret = given["secret"].encode()
    if options.role == "gateway":
        uvloop.run(gateway(nats, secret, given["port"]))
    else:
        uvloop.run(worker(nats, secret, given["dsn"], given["reply"], Path(given["ready"])))


if __name__ == "__main__":
    main()
