"""How many views may be open, and which one makes room. What they show is tested against a real server."""

import asyncio
from typing import cast
from unittest.mock import MagicMock

import pytest

from herald_contracts.subjects import Names
from herald_gateway.channels.web import transcript
from herald_gateway.channels.web.live import LiveUpdates
from herald_gateway.channels.web.session import Session
from herald_gateway.channels.web.transcript import Transcripts, Unavailable, View

ME, YOU = Session("m" * 22), Session("y" * 22)


class FakeView:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.reasons: list[str] = []

    def end(self, reason: str) -> None:
        self.reasons.append(reason)


def open_view(transcripts: Transcripts, session: Session) -> FakeView:
    view = FakeView(session)
    transcripts.opened(cast(View, view))
    return view


@pytest.fixture
def transcripts() -> Transcripts:
    client = MagicMock()
    client.is_connected = False
    return Transcripts(client, Names("default", "demo"), "web", LiveUpdates(), asyncio.Event())


def test_the_oldest_view_of_a_session_makes_room(transcripts: Transcripts) -> None:
    mine = [open_view(transcripts, ME) for _ in range(transcript.PER_SESSION)]
    yours = open_view(transcripts, YOU)
    assert [view.reasons for view in (*mine, yours)] == [[]] * (transcript.PER_SESSION + 1)
    open_view(transcripts, ME)
    assert mine[0].reasons == ["elsewhere"]
    assert all(not view.reasons for view in (*mine[1:], yours))


def test_a_closed_view_counts_no_more(transcripts: Transcripts) -> None:
    first = open_view(transcripts, ME)
    transcripts.closed(cast(View, first))
    later = [open_view(transcripts, ME) for _ in range(transcript.PER_SESSION)]
    assert all(not view.reasons for view in (first, *later))


async def test_a_channel_has_a_limit_over_all_sessions(
    transcripts: Transcripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript, "PER_CHANNEL", 2)
    open_view(transcripts, ME)
    with pytest.raises(Unavailable, match="not connected"):
        await transcripts.view(YOU, YOU.chat(""), 0)
    open_view(transcripts, YOU)
    with pytest.raises(Unavailable, match="too many"):
        await transcripts.view(YOU, YOU.chat(""), 0)


async def test_none_is_opened_while_stopping(transcripts: Transcripts) -> None:
    transcripts.stopping.set()
    with pytest.raises(Unavailable, match="stopping"):
        await transcripts.view(ME, ME.chat(""), 0)
