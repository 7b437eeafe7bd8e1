"""What a supervisor and a Prometheus ask: does it live, could it work now, how is it doing.

Live means the event loop turns. Ready means PostgreSQL answered within the last seconds and NATS is connected: a
worker that is not ready loses nothing, it waits. A worker whose revision is not the active one is ready too: it could
work, and a switch must find it so. Whether a revision still holds turns is what `taking` and `turns` say.
"""

import json
import time

from aiohttp import web

from herald_agent.gate import Gate
from herald_agent.steady import Conditions
from herald_agent.store.pool import Database
from herald_agent.worker import Worker
from herald_runtime import metrics

_FRESH = 3.0  # seconds that an answer of PostgreSQL counts


class Health:
    """`beat` again and again from one loop."""

    def __init__(self, conditions: Conditions, gate: Gate) -> None:
        self._conditions = conditions
        self._gate = gate
        self._answered = 0.0
        self.connected = False
        self.started = False
        self.worker: Worker | None = None  # once there is one

    @property
    def ready(self) -> bool:
        return self.started and self.connected and self.database

    @property
    def database(self) -> bool:
        return time.monotonic() - self._answered < _FRESH

    async def beat(self, db: Database) -> None:
        """One question to PostgreSQL. Raises StoreUnavailable."""
        await db.value("SELECT 1")
        self._answered = time.monotonic()

    async def live_route(self, _: web.Request) -> web.Response:
        return _json(200, {"live": True})

    async def ready_route(self, _: web.Request) -> web.Response:
        worker = self.worker
        waiting = self._conditions.down
        if not self._gate.open:
            waiting["gate"] = self._gate.why_closed
        body = {
            "ready": self.ready,
            "started": self.started,
            "database": self.database,
            "nats": self.connected,
            "revision": self._gate.revision,
            "active": self._gate.active,
            "taking": worker is not None and worker.taking,
            "turns": worker.running if worker is not None else 0,
            "waiting": waiting,
        }
        return _json(200 if self.ready else 503, body)

    async def metrics_route(self, _: web.Request) -> web.Response:
        body, content_type = metrics.exposition()
        return web.Response(body=body, headers={"Content-Type": content_type})


async def serve(health: Health, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Answer on `host:port` (0: a free one); returns what to clean up, and the port. Raises OSError when taken."""
    app = web.Application()
    app.router.add_get("/healthz/live", health.live_route)
    app.router.add_get("/healthz/ready", health.ready_route)
    app.router.add_get("/metrics", health.metrics_route)
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    bound: int = runner.addresses[0][1]
    return runner, bound


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, text=json.dumps(body, sort_keys=True), content_type="application/json")
