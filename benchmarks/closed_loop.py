"""The load client for requests per second: some connections, each sends its next request when it got its answer.

One process, one epoll, raw sockets and requests built beforehand, so that it costs a tenth of what it measures;
its own CPU share is in its report, because a client that is the bottleneck measures itself.

Protocol with who starts it: it prints "ready", waits for a line, loads, prints one JSON line.
Bounded: it ends after `--seconds` or `--most` requests, and gives up on a silent server after ten more seconds.
"""

import argparse
import dataclasses
import gc
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence

from benchmarks import requests
from benchmarks.figures import percentile
from benchmarks.processes import report

PATIENCE = 10.0
KINDS = ("herald", "slack")


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds, but for the latencies, which are milliseconds."""

    answered: int
    by_status: dict[str, int]
    seconds: float
    cpu_seconds: float
    p50: float
    p99: float
    unanswered: int

    @property
    def rate(self) -> float:
        return self.answered / self.seconds

    @property
    def busy(self) -> float:
        """Share of one core that the client itself used: near 1 it was the bottleneck."""
        return self.cpu_seconds / self.seconds


def build(kind: str, count: int, *, path: str, secret: bytes, now: int, salt: str) -> list[bytes]:
    """`count` different signed requests; every eighth continues a conversation of the one before it."""
    made = []
    for number in range(count):
        event, conversation, sender = f"{salt}-{number}", f"chat-{number // 8 % 500}", f"user-{number % 200}"
        text = f"message {number}: is the build green?"
        if kind == "slack":
            body = requests.slack_body(
                f"Ev{event}", conversation=conversation, sender=sender, text=text, size=requests.BODY
            )
            made.append(requests.slack_request(path, body, secret=secret, now=now))
        else:
            body = requests.herald_body(event, conversation=conversation, sender=sender, text=text, size=requests.BODY)
            made.append(requests.herald_request(path, body, secret=secret, now=now))
    return made


def load(host: str, port: int, prepared: Sequence[bytes], *, connections: int, seconds: float) -> Outcome:
    """Send `prepared`, in order, over `connections`; stop starting new ones after `seconds`.

    Raises OSError when the server refuses the connections.
    """
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    partial: dict[int, bytes] = {}
    sent_at: dict[int, float] = {}
    waits: list[float] = []
    statuses: Counter[str] = Counter()
    for _ in range(connections):
        s = socket.create_connection((host, port), timeout=5)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        s.setblocking(False)
        sockets[s.fileno()] = s
        partial[s.fileno()] = b""
        poll.register(s.fileno(), select.EPOLLIN)

    clock = time.perf_counter
    cpu_before = time.process_time()
    begin = clock()
    stop = begin + seconds
    last = begin
    following = iter(prepared)
    lost = 0

    def send(fd: int) -> None:
        request = next(following, None)
        if request is None:
            return
        sent_at[fd] = clock()
        # A request is far smaller than a socket's buffer: it goes out whole or the connection is broken.
        if sockets[fd].send(request) != len(request):
            raise OSError("a request did not fit into the socket's buffer")

    for fd in sockets:
        send(fd)
    while sent_at:
        events = poll.poll(0.5)
        if not events and clock() > max(stop, last) + PATIENCE:
            break
        for fd, _ in events:
            try:
                data = sockets[fd].recv(65_536)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                poll.unregister(fd)
                lost += sent_at.pop(fd, None) is not None
                continue
            data = partial[fd] + data
            end = answer_end(data)
            if end is None:
                partial[fd] = data
                continue
            partial[fd] = data[end:]
            last = clock()
            began = sent_at.pop(fd)
            waits.append(last - began)
            statuses[data[9:12].decode("ascii", "replace")] += 1
            if last < stop:
                send(fd)
    took, cpu = last - begin, time.process_time() - cpu_before
    poll.close()
    for s in sockets.values():
        s.close()
    return Outcome(
        answered=len(waits),
        by_status=dict(statuses),
        seconds=took,
        cpu_seconds=cpu,
        p50=percentile(waits, 50) * 1e3 if waits else 0,
        p99=percentile(waits, 99) * 1e3 if waits else 0,
        unanswered=lost + len(sent_at),
    )


def answer_end(data: bytes) -> int | None:
    """Where the first HTTP answer in `data` ends, or None while it is not whole. Needs a content-length."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return None
    headers = data[:head].lower()
    at = headers.find(b"\r\ncontent-length:")
    length = int(headers[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    end = head + 4 + length
    return end if len(data) >= end else None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.closed_loop")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--salt", required=True, help="makes the event ids of this run its own")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--most", type=int, default=60_000)
    options = parser.parse_args()
    secret = sys.stdin.readline().strip().encode()
    prepared = build(
        options.kind, options.most, path=options.path, secret=secret, now=int(time.time()), salt=options.salt
    )
    # Nothing made below lives in a cycle, and a collection over all these requests would show up as latency.
    gc.freeze()
    gc.disable()
    print("ready", flush=True)
    sys.stdin.readline()
    outcome = load("127.0.0.1", options.port, prepared, connections=options.connections, seconds=options.seconds)
    report(dataclasses.asdict(outcome))


if __name__ == "__main__":
    main()
