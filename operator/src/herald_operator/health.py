"""What a kubelet and a Prometheus ask the operator.

Live: the event loop turns, and whoever leads has finished a look lately, or has nothing to look at. Ready: it leads
with its watches up, or stands by.
"""

import time
from collections.abc import Callable

from aiohttp import web

from herald_runtime import metrics

_SILENCE = 600.0  # seconds without a finished look, while there is something to look at


class Health:
    """`looked` after every finished pass."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting
        self._looked = time.monotonic()
        self.state = "starting"

    def looked(self) -> None:
        self._looked = time.monotonic()

    @property
    def stuck(self) -> bool:
        return self.state == "leading" and self._waiting() > 0 and time.monotonic() - self._looked > _SILENCE

    async def live(self, _: web.Request) -> web.Response:
        return web.json_response({"live": not self.stuck}, status=503 if self.stuck else 200)

    async def ready(self, _: web.Request) -> web.Response:
        ready = self.state in ("leading", "standing by")
        return web.json_response({"ready": ready, "state": self.state}, status=200 if ready else 503)


async def serve(health: Health, host: str, health_port: int, metrics_port: int) -> list[web.AppRunner]:
    """Listen; what to clean up. Raises OSError when a port is taken."""
    probes, figures = web.Application(), web.Application()
    probes.router.add_get("/healthz/live", health.live)
    probes.router.add_get("/healthz/ready", health.ready)
    figures.router.add_get("/metrics", _exposition)
    runners = []
    for app, port in ((probes, health_port), (figures, metrics_port)):
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
        runners.append(runner)
    return runners


async def _exposition(_: web.Request) -> web.Response:
    body, content_type = metrics.exposition()
    return web.Response(body=body, headers={"Content-Type": content_type})
