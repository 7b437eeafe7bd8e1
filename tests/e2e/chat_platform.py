"""The team's chat platform, as a pod: it keeps the replies that it gets, and passes messages on to the gateway.

It knows the standard library only: it travels in a ConfigMap, and runs in any image that has Python. The test's machine
reaches it through `kubectl port-forward`, which ends when the pod's side resets a connection. So every request is read
to its end and answered, and a connection is closed only once the other side has heard everything.
"""

import argparse
import base64
import http.client
import json
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

MOST_BODY = 4 * 2**20
PAGE = 2**20  # bytes of bodies in one answer to a reader; one post at least
MOST_WAIT = 10.0  # seconds that a reader may wait for a post
# Seconds. Together less than the ten after which a platform gives a webhook up.
CONNECT, ANSWER = 3.0, 6.0
LINGER = 5.0  # seconds in which the other side may finish what it says
_OURS = {"host", "connection", "keep-alive", "content-length", "transfer-encoding", "accept-encoding", "expect"}


class Record:
    """Every reply, as it arrived and in the order in which it did."""

    def __init__(self) -> None:
        self._posts: list[tuple[list[tuple[str, str]], bytes]] = []
        self._arrived = threading.Condition()

    def add(self, headers: list[tuple[str, str]], body: bytes) -> None:
        with self._arrived:
            self._posts.append((headers, body))
            self._arrived.notify_all()

    def page(self, after: int, wait: float) -> dict[str, Any]:
        """What came after the first `after` posts, or some of it; `next` is the `after` of the next question."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self._posts) > after, wait)
            later = self._posts[after:]
        posts: list[dict[str, Any]] = []
        size = 0
        for headers, body in later:
            size += len(body)
            if posts and size > PAGE:
                break
            posts.append({"headers": headers, "body": base64.b64encode(body).decode()})
        return {"posts": posts, "next": after + len(posts)}


class Platform(ThreadingHTTPServer):
    """`gateway` is an http:// URL."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, gateway: str) -> None:
        super().__init__(("", port), Handler)
        self.record = Record()
        parts = urlsplit(gateway)
        self.gateway = (parts.hostname or "", parts.port or 80)

    def shutdown_request(self, request: Any) -> None:
        """Close without a reset, which is what unread bytes would give."""
        until = time.monotonic() + LINGER
        try:
            request.shutdown(socket.SHUT_WR)
            request.settimeout(LINGER)
            while request.recv(65_536) and time.monotonic() < until:
                pass
        except OSError:
            pass
        self.close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Somebody who leaves in the middle is no news of more than one line."""
        print(f"{client_address}: {sys.exc_info()[1]!r}", file=sys.stderr, flush=True)


class Handler(BaseHTTPRequestHandler):
    server: Platform
    protocol_version = "HTTP/1.1"
    timeout = 60  # longer than clients keep a connection that they do not use

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/healthz":
            self._answer(200, {"ok": True})
        elif parts.path == "/posts":
            asked = parse_qs(parts.query)
            try:
                after, wait = int(asked.get("after", ["0"])[0]), float(asked.get("wait", ["0"])[0])
            except ValueError:
                self._answer(400, {"error": "after and wait are numbers"})
                return
            self._answer(200, self.server.record.page(max(after, 0), min(max(wait, 0.0), MOST_WAIT)))
        else:
            self._answer(404, {"error": "there is /posts?after=N&wait=SECONDS"})

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path == "/replies":
            self.server.record.add(self.headers.items(), body)
            self._answer(200, {})
        elif self.path.startswith("/gateway/"):
            self._pass_on(self.path.removeprefix("/gateway"), body)
        else:
            self._answer(404, {"error": "there is /replies, and /gateway/..."})

    def _body(self) -> bytes | None:
        """None when there is none to use; then that was said."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            self._refuse(411, "Content-Length is needed")
        elif int(length) > MOST_BODY:
            self._refuse(413, f"more than {MOST_BODY} bytes")
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
            self.close_connection = True
        return None

    def _refuse(self, status: int, why: str) -> None:
        self.close_connection = True
        self._answer(status, {"error": why})

    def _pass_on(self, path: str, body: bytes) -> None:
        """The gateway's own answer, or 502: then nobody knows whether it has the message."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OURS}
        connection = http.client.HTTPConnection(*self.server.gateway, timeout=CONNECT)
        try:
            connection.connect()
            connection.sock.settimeout(ANSWER)
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            status, said = answer.status, answer.read(MOST_BODY)
            kind = answer.getheader("Content-Type") or "application/octet-stream"
        except (OSError, http.client.HTTPException) as e:
            self._answer(502, {"error": f"the gateway: {e!r}"})
            return
        finally:
            connection.close()
        self._write(status, said, kind)

    def _answer(self, status: int, value: dict[str, Any]) -> None:
        self._write(status, json.dumps(value).encode(), "application/json")

    def _write(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Each reply and each message would be a line; the test has them."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A chat platform that keeps what it gets.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--gateway", required=True, metavar="URL", help="where /gateway/... is passed on to")
    chosen = parser.parse_args()
    with Platform(chosen.port, chosen.gateway) as platform:
        print(f"listening on {platform.server_address[1]}", flush=True)
        platform.serve_forever()


if __name__ == "__main__":
    main()
