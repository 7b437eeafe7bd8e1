#!/opt/herald/venv/bin/python
"""`milvus run standalone`, with Milvus Lite inside: what a pod of Milvus looks like from outside.

One process, ended by SIGTERM. `GET /healthz` is 200 once the server listens, which is when its data is open.
"""

import http.server
import os
import signal
import sys
import threading
from pathlib import Path

# FAISS would otherwise take every core for searches of a millisecond.
os.environ.setdefault("OMP_NUM_THREADS", "1")

DATA = Path("/var/lib/milvus/lite")
PORT = 19530
HEALTH_PORT = int(os.environ.get("METRICS_PORT") or 9091)


class Health(http.server.BaseHTTPRequestHandler):
    ready = threading.Event()

    def do_GET(self) -> None:
        found = self.path.split("?")[0] == "/healthz"
        up = self.ready.is_set()
        self.send_response((200 if up else 503) if found else 404)
        self.end_headers()
        self.wfile.write(b"OK" if found and up else b"not ready" if found else b"not found")

    def log_message(self, *arguments: object) -> None:
        """A probe each second is no news."""


def main(arguments: list[str]) -> None:
    if arguments[:2] != ["run", "standalone"]:
        sys.exit(f"this image for tests knows `milvus run standalone` only, not `milvus {' '.join(arguments)}`")
    health = http.server.ThreadingHTTPServer(("", HEALTH_PORT), Health)
    threading.Thread(target=health.serve_forever, daemon=True).start()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())

    # Imported late: a second and more, in which a probe is already answered.
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    DATA.mkdir(parents=True, exist_ok=True)
    server, data, port = start_server_in_thread(str(DATA), host="0.0.0.0", port=PORT)
    if port != PORT:
        sys.exit(f"port {PORT} is taken")
    Health.ready.set()
    print(f"milvus for tests: port {PORT}, health on {HEALTH_PORT}, data in {DATA}")
    stopped.wait()
    Health.ready.clear()
    server.stop(grace=5).wait()
    data.close()


if __name__ == "__main__":
    main(sys.argv[1:])
