"""Is it there yet? Questions to a server on this machine, each bounded in time and answered with yes or no."""

import asyncio
import contextlib

_SECONDS = 2.0
LOOPBACK = "127.0.0.1"


def reachable(host: str) -> str:
    """Where a server that listens on `host` is reached from this machine."""
    return {"0.0.0.0": LOOPBACK, "": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 - an address to compare with


async def http_ok(port: int, path: str, host: str = LOOPBACK) -> bool:
    """Whether `GET path` on a port of this machine is answered with 200 within two seconds."""
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                status = (await reader.readline()).split()
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return len(status) > 1 and status[1] == b"200"


async def port_open(port: int) -> bool:
    """Whether somebody accepts connections on a local port."""
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    except (OSError, TimeoutError):
        return False
    return True
