"""Ten thousand messages in one conversation: they stay in order, and nobody else waits for them."""

from herald_contracts.identity import conversation_id
from tests.integration.agent.desk import Desk
from tests.unit.agent.values import new_turn

MANY = 10_000
BUSY, QUIET = (conversation_id("hmac", chat, None) for chat in ("busy", "quiet"))
_BATCH = 500


async def test_ten_thousand_messages_in_one_conversation(desk: Desk) -> None:
    for start in range(1, MANY + 1, _BATCH):
        await desk.claim(*(new_turn(n, chat="busy", user="busy") for n in range(start, start + _BATCH)))
    await desk.accept(MANY + 1, chat="quiet", user="quiet")

    first = await desk.acquire(room=10)
    assert [turn.lease.conversation for turn in first.turns] == [BUSY, QUIET]
    busy = first.turns[0]
    positions = [busy.position]
    await desk.answer(busy)
    for _ in range(20):
        turn = await desk.take(room=10)
        positions.append(turn.position)
        await desk.answer(turn)
    assert positions == sorted(positions)
    assert await desk.db.value("SELECT count(*) FROM turns WHERE state = 'waiting'") == MANY - 21
    assert await desk.db.value("SELECT open_turns FROM conversations ORDER BY open_turns DESC LIMIT 1") == MANY - 21
