"""The other end of a signed channel: takes what is genuine, refuses the rest, and stays away from taken ports."""

import json
import socket

import aiohttp
import pytest

from herald_cli.ports import Ports
from herald_cli.receiving import Receiver
from herald_cli.signing import Client

REPLY = {"id": "r1", "event": "e1", "kind": "answer", "text": "grüße"}


@pytest.fixture
def client() -> Client:
    return Client("hmac", "hmac", b"s3cret", f"http://127.0.0.1:{Ports().pick()}/replies")


async def post(client: Client, body: bytes, headers: dict[str, str]) -> int:
    async with aiohttp.ClientSession() as session, session.post(client.reply_url, data=body, headers=headers) as answer:
        return answer.status


async def test_a_genuine_reply_is_taken(client: Client) -> None:
    body = json.dumps(REPLY).encode()
    async with Receiver(client) as receiver:
        assert await post(client, body, client.headers("r1", body)) == 204
        reply = receiver.replies.get_nowait()
    assert (reply.id, reply.event, reply.kind, reply.text) == ("r1", "e1", "answer", "grüße")


async def test_a_forged_reply_is_refused(client: Client) -> None:
    body = json.dumps(REPLY).encode()
    stranger = Client("hmac", "hmac", b"guess", client.reply_url)
    async with Receiver(client) as receiver:
        assert await post(client, body, stranger.headers("r1", body)) == 401
        assert await post(client, body, {}) == 401
        assert await post(client, body + b" ", client.headers("r1", body)) == 401
        assert receiver.replies.empty()
        assert receiver.forged == 3


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"id": "r1"}'])
async def test_a_genuine_signature_over_nonsense_is_no_reply(client: Client, body: bytes) -> None:
    async with Receiver(client) as receiver:
        assert await post(client, body, client.headers("r1", body)) == 400
        assert receiver.replies.empty()


def test_it_listens_only_where_it_may(client: Client) -> None:
    assert Receiver.possible(client)
    for url in ("https://127.0.0.1:1/r", "http://example.com/r", "http://192.0.2.1:80/r"):
        assert not Receiver.possible(Client("x", "hmac", b"", url))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert not Receiver.possible(Client("x", "hmac", b"", f"http://127.0.0.1:{other.getsockname()[1]}/r"))
