"""The small pure parts: outcomes, pace, card records, tokens."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from herald_gateway.channels.base import ChannelDown
from herald_gateway.channels.feishu import cards
from herald_gateway.channels.feishu.outcome import Outcome, classify
from herald_gateway.channels.feishu.pace import PER_APP, PER_CHAT, SLOWEST, Pace
from herald_gateway.channels.feishu.tokens import Token, Tokens


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        (200, 0, Outcome.DONE),
        (500, 0, Outcome.UNKNOWN),
        (400, 99991400, Outcome.LIMITED),
        (400, 230020, Outcome.LIMITED),
        (429, None, Outcome.LIMITED),
        (429, 230001, Outcome.LIMITED),
        (400, 99991663, Outcome.TOKEN),
        (401, 99991668, Outcome.TOKEN),
        (400, 99991672, Outcome.SETUP),
        (400, 230027, Outcome.SETUP),
        (400, 10014, Outcome.SETUP),
        (400, 230049, Outcome.SENDING),
        (400, 230099, Outcome.BAD_CARD),
        (400, 230025, Outcome.BAD_CARD),
        (400, 230054, Outcome.NO_CARDS),
        (400, 230011, Outcome.RECALLED),
        (400, 230001, Outcome.REFUSED),
        (400, 230002, Outcome.REFUSED),
        (200, 230035, Outcome.REFUSED),
        (200, None, Outcome.UNKNOWN),
        (500, None, Outcome.UNKNOWN),
        (502, None, Outcome.UNKNOWN),
        (504, 77, Outcome.UNKNOWN),
        (200, 2200, Outcome.UNKNOWN),
        (503, None, Outcome.DOWN),
        (408, None, Outcome.DOWN),
        (302, None, Outcome.SETUP),
        (404, None, Outcome.SETUP),
        (413, None, Outcome.REFUSED),
    ],
)
def test_what_an_answer_means(status: int, code: int | None, outcome: Outcome) -> None:
    assert classify(status, code).outcome is outcome


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0", 0.0), ("99999", 600.0), (None, None), ("", None), ("-1", None), ("1e9", None), ("\u0667", None)],
)
def test_how_long_to_wait(header: str | None, seconds: float | None) -> None:
    assert classify(429, None, header).retry_after == seconds


@given(st.integers(), st.none() | st.integers(), st.none() | st.text(max_size=10))
def test_every_answer_has_a_meaning(status: int, code: int | None, header: str | None) -> None:
    assert classify(status, code, header).outcome in Outcome


def test_one_chat_gets_four_updates_a_second() -> None:
    pace = Pace()
    waits = [pace.reserve("a", 100.0) for _ in range(9)]
    assert waits == pytest.approx([n * PER_CHAT for n in range(9)])


def test_all_chats_share_the_apps_part() -> None:
    pace = Pace()
    waits = [pace.reserve(f"chat {n}", 100.0) for n in range(9)]
    assert waits == pytest.approx([n * PER_APP for n in range(9)])


def test_a_free_slot_is_taken_at_once() -> None:
    pace = Pace()
    pace.reserve("a", 100.0)
    assert pace.reserve("a", 200.0) == 0


def test_being_told_to_slow_down() -> None:
    pace = Pace()
    for _ in range(20):
        pace.limited("a", 100.0, None)
    assert pace.reserve("a", 100.0) >= 1.0
    assert pace.reserve("b", 110.0) == 0
    assert pace.reserve("c", 110.0) == pytest.approx(SLOWEST)
    for _ in range(100):
        pace.fine()
    pace.reserve("d", 200.0)
    assert pace.reserve("e", 200.0) == pytest.approx(PER_APP)
    pace.limited("f", 300.0, 7.0)
    assert pace.reserve("f", 300.0) == pytest.approx(7.0)


def test_a_message_that_had_to_go_makes_updates_wait() -> None:
    pace = Pace()
    pace.spent("a", 100.0)
    assert pace.reserve("a", 100.0) == pytest.approx(PER_CHAT)


def test_chats_are_forgotten() -> None:
    pace = Pace()
    for number in range(5_000):
        pace.spent(f"chat {number}", 0.0)
    assert len(pace._chat_free) <= 2_000


CARDS = st.builds(
    cards.Card,
    phase=st.sampled_from(["open", "final"]),
    holder=st.text(max_size=10),
    settled=st.booleans(),
    ids=st.lists(st.text(min_size=1, max_size=5), max_size=3).map(tuple),
    unsure_since=st.none() | st.floats(min_value=0, max_value=2e9),
    text=st.text(max_size=10),
)


@given(CARDS)
def test_card_records_come_back(card: cards.Card) -> None:
    assert cards.read(cards.write(card)) == card


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"phase":"later","settled":true}', b'{"phase":"open"}', b"\xff"])
def test_other_records_are_refused(data: bytes) -> None:
    with pytest.raises(cards.UnreadableCard):
        cards.read(data)


def test_the_hour_of_certainty() -> None:
    card = cards.unstreamed(1_000.0)
    assert card.certain(1_000.0 + cards.CERTAIN - 1)
    assert not card.certain(1_000.0 + cards.CERTAIN)
    assert cards.not_sent(card).certain(1e9)
    assert cards.CERTAIN <= 3_600 - 600, "two clocks may differ by ten minutes"


def test_a_released_card_needs_no_asking() -> None:
    card = cards.released(cards.streaming("inbox", 1.0), "om_1")
    assert cards.claimed(card).settled
    assert not cards.claimed(cards.streaming("inbox", 1.0)).settled
    assert cards.claimed(card).ids == ("om_1",)


class Office:
    """Hands out tokens and counts."""

    def __init__(self, seconds: float = 7_200.0) -> None:
        self.now = 0.0
        self.seconds = seconds
        self.fetched = 0
        self.closed = False

    async def fetch(self) -> Token:
        await asyncio.sleep(0)
        if self.closed:
            raise ChannelDown("closed")
        self.fetched += 1
        return Token(f"t-{self.fetched}", self.seconds)

    def tokens(self) -> Tokens:
        return Tokens(self.fetch, lambda: self.now)


async def test_many_callers_fetch_one_token() -> None:
    office = Office()
    tokens = office.tokens()
    assert set(await asyncio.gather(*(tokens.get() for _ in range(50)))) == {"t-1"}
    assert office.fetched == 1


async def test_a_token_is_renewed_before_it_ends() -> None:
    office = Office()
    tokens = office.tokens()
    await tokens.get()
    office.now = 7_200 - 601
    assert await tokens.get() == "t-1"
    office.now = 7_200 - 599
    assert await tokens.get() == "t-2"


async def test_an_old_token_bridges_an_outage_while_it_lasts() -> None:
    office = Office()
    tokens = office.tokens()
    await tokens.get()
    office.closed = True
    office.now = 7_199
    assert await tokens.get() == "t-1"
    office.now = 7_201
    with pytest.raises(ChannelDown):
        await tokens.get()


async def test_a_refused_token_is_dropped_once() -> None:
    office = Office()
    tokens = office.tokens()
    first = await tokens.get()
    tokens.drop(first)
    second = await tokens.get()
    tokens.drop(first)
    assert await tokens.get() == second
    assert office.fetched == 2


async def test_a_token_that_ends_at_once_is_not_fetched_for_every_call() -> None:
    office = Office(seconds=0.0)
    tokens = office.tokens()
    for _ in range(10):
        await tokens.get()
    assert office.fetched == 1


def test_a_token_does_not_show() -> None:
    assert "secret" not in repr(Token("t-secret", 1.0))
