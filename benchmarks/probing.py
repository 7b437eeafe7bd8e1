"""Asking a local HTTP server one question, bounded in time."""

import http.client


def get(port: int, path: str) -> tuple[int, bytes] | None:
    """Status and body, or None when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def status(port: int, path: str) -> int | None:
    answer = get(port, path)
    return answer[0] if answer else None
