"""A worker is killed before and after each thing it does to the outside; another finishes; nobody notices.

Judged from outside: by what was accepted, and by what is in the OUT stream.
"""

import signal

import pytest

from herald_agent.crashpoints import POINTS
from herald_agent.store import ledger
from herald_agent.store.pool import Database
from tests.integration.agent.conftest import Hire
from tests.integration.agent.outside import Outside
from tests.waiting import eventually

# The first time, and once more in the middle of things.
CASES = [(point, 1) for point in POINTS] + [
    (point, 3) for point in POINTS if point.endswith(("acquire", "finish.answer", "relay.publish", "receipts.record"))
]


async def _everything(outside: Outside) -> None:
    """Messages that together lead a worker through every point."""
    await outside.send("a1", chat="a", content="one")
    await outside.send("b1", chat="b", user="bob", content="[[refuse]] no")
    await outside.send("a2", chat="a", content="[[fail=1]] two")
    await outside.send("a3", chat="a", kind="edit", target="p-a1", content="one, edited")
    await outside.send("a4", chat="a", content="remember that tea is good")
    await outside.send("b2", chat="b", user="bob", content="two")
    await outside.send("a5", chat="a", content="five")


async def test_a_reply_that_no_other_follows_is_found_by_the_sweep(hire: Hire, outside: Outside) -> None:
    """Nothing else happens in its conversation that could bring it to anybody's attention."""
    first = hire("w1").start(at="after finish.answer")
    await outside.send("only", content="the last word")
    assert await first.ended() == -signal.SIGKILL
    hire("w2").start()
    await outside.all_answered()
    outside.judge()


@pytest.mark.parametrize(("point", "nth"), CASES)
async def test_killed_at(hire: Hire, outside: Outside, db: Database, point: str, nth: int) -> None:
    first = hire("w1").start(at=point, nth=nth)
    await _everything(outside)
    assert await first.ended() == -signal.SIGKILL, "the point was never reached"
    hire("w2").start()
    await outside.all_answered()

    async def settled() -> bool:
        counts = await ledger.counts(db)
        return counts.balanced and (counts.answered, counts.noted, counts.dead) == (5, 1, 1)

    await eventually(settled, what="the ledger to settle")
    outside.judge()
    texts = {reply.event_id: reply.content for reply in outside.replies}
    assert texts["a5"] == "echo: five"
    assert texts["a4"] == "I will remember that tea is good"
    kinds = {reply.event_id: reply.kind for reply in outside.replies}
    assert kinds == {"a1": "answer", "a2": "answer", "a4": "answer", "a5": "answer", "b1": "failure", "b2": "answer"}
