"""How a turn ends: answered, noted, dead, or put back for another try. Each is one statement under the lease.

All of them free the conversation in the same stroke, so whoever looks next finds either the running turn or its
outcome with the next turn ready to begin, and never anything in between.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from herald_agent.deciding.journal import Step
from herald_agent.deciding.turns import Lease
from herald_agent.errors import LeaseLost
from herald_agent.store.pool import Database, Params


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A reply on its way into the outbox. `payload` is the Reply as JSON."""

    id: str
    number: int
    channel: str
    payload: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the model will see of this turn later: the message as it was asked, and what was said to it."""

    asked: str  # message id
    sender: str
    platform_id: str
    asked_text: str
    asked_at: datetime
    said_text: str
    said_at: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """`first`: no earlier reply of the conversation is still on its way. `more`: it has another turn open."""

    first: bool
    more: bool


@dataclass(frozen=True, slots=True)
class _Row:
    held: bool
    first: bool
    more: bool | None


# The next head is looked up in the statement's snapshot. A message that arrived after it raised open_turns, which the
# row's newest version shows, and left the old head standing: a hint that acquire corrects when it looks at the turns.
_FREED: LiteralString = """
WITH freed AS (
    UPDATE conversations c
       SET open_turns = c.open_turns - 1, holder = NULL, lease_until = NULL, not_before = '-infinity',
           head_position = coalesce(next.position, c.head_position), head_user = coalesce(next.user_key, c.head_user)
      FROM (VALUES (true)) AS always LEFT JOIN LATERAL (
               SELECT t.position, t.user_key FROM turns t
                WHERE t.conversation = %(conversation)s AND t.state IN ('waiting', 'running') AND t.id <> %(turn)s
                ORDER BY t.position LIMIT 1
           ) AS next ON true
     WHERE c.id = %(conversation)s AND c.epoch = %(epoch)s AND c.holder = %(holder)s
    RETURNING c.id, c.open_turns
), ended AS (
    UPDATE turns t SET state = %(state)s, reason = %(reason)s, finished_at = now()
      FROM freed WHERE t.id = %(turn)s
    RETURNING t.id, t.position
)"""
_SAID: LiteralString = """, said AS (
    INSERT INTO outbox (id, turn, number, conversation, position, channel, payload)
    SELECT %(reply)s, ended.id, %(number)s, %(conversation)s, ended.position, %(channel)s, %(payload)s::jsonb FROM ended
)"""
_RESULT: LiteralString = """
SELECT EXISTS (SELECT FROM freed) AS held, (SELECT open_turns > 0 FROM freed) AS more,
       NOT EXISTS (SELECT FROM outbox o WHERE o.conversation = %(conversation)s
                      AND o.state IN ('pending', 'relayed') AND o.position <= %(position)s) AS first
"""
_KEPT: LiteralString = """, kept AS (
    INSERT INTO history (id, conversation, position, role, sender_name, platform_message_id, content, at)
    SELECT h.id, %(conversation)s, ended.position, h.role, h.sender_name, h.platform_message_id, h.content, h.at
      FROM ended, (VALUES (%(asked)s::text, 'user', %(sender)s::text, %(platform_id)s::text, %(asked_text)s::text,
                           %(asked_at)s::timestamptz),
                          (%(reply)s, 'agent', '', NULL, %(said_text)s, %(said_at)s))
                  AS h (id, role, sender_name, platform_message_id, content, at)
    ON CONFLICT (id) DO NOTHING
)"""
# The journal's last step ends with the turn: its result is the answer.
_LEARNED: LiteralString = """, learned AS (
    UPDATE steps s SET state = 'done', output = jsonb_build_object('text', %(said_text)s::text), finished_at = now()
      FROM ended
     WHERE s.turn = ended.id AND s.number = %(step)s AND s.input_hash = %(input_hash)s AND s.state = 'started'
)"""
_BURIED: LiteralString = """, buried AS (
    INSERT INTO dead_letters (source, turn, reason) SELECT 'turn', ended.id, %(reason)s FROM ended
    ON CONFLICT DO NOTHING
)"""
# A recall leaves a tombstone and no text. The target is looked for in the whole chat: a platform that reports an edit
# does not always say in which thread it was.
_AMENDED: LiteralString = """, amended AS (
    UPDATE history h SET content = %(content)s
      FROM ended, conversations here JOIN conversations there USING (channel, chat)
     WHERE here.id = %(conversation)s AND h.conversation = there.id
       AND h.platform_message_id = %(target)s AND h.role = 'user'
)"""

_ANSWER = _FREED + _SAID + _KEPT + _LEARNED + _RESULT
_BURY = _FREED + _SAID + _BURIED + _RESULT
_BURY_SILENTLY = _FREED + _BURIED + _RESULT
_NOTE = _FREED + _AMENDED + _RESULT


async def answer(
    db: Database, lease: Lease, step: Step, *, turn: str, position: int, reply: Outgoing, exchange: Exchange
) -> Ended:
    """The turn is done: `step` has its result, the reply is in the outbox, both messages are history, the
    conversation is free.

    Raises LeaseLost; then nothing has changed (or all of it had, by an earlier run whose outcome got lost).
    """
    kept: Params = {
        "asked": exchange.asked,
        "sender": exchange.sender,
        "platform_id": exchange.platform_id,
        "asked_text": exchange.asked_text,
        "asked_at": exchange.asked_at,
        "said_text": exchange.said_text,
        "said_at": exchange.said_at,
        "step": step.number,
        "input_hash": step.input_hash,
    }
    return await _end(db, lease, _ANSWER, turn, position, {"state": "done", "reason": None, **_reply(reply), **kept})


async def bury(db: Database, lease: Lease, *, turn: str, position: int, reply: Outgoing | None, reason: str) -> Ended:
    """The turn failed for good: a dead letter says why; the person's short message, if one is due, is in the outbox.

    Raises LeaseLost, as `answer`.
    """
    values: Params = {"state": "dead", "reason": reason}
    if reply is None:
        return await _end(db, lease, _BURY_SILENTLY, turn, position, values)
    return await _end(db, lease, _BURY, turn, position, {**values, **_reply(reply)})


async def note(db: Database, lease: Lease, *, turn: str, position: int, target: str | None, content: str) -> Ended:
    """The turn asked for no reply: the past message `target` reads `content` from now on; the turn is done.

    A target that is not in this chat's history changes nothing there. Raises LeaseLost, as `answer`.
    """
    values: Params = {"state": "done", "reason": None, "target": target, "content": content}
    return await _end(db, lease, _NOTE, turn, position, values)


_RETRY = """
WITH freed AS (
    UPDATE conversations
       SET holder = NULL, lease_until = NULL, not_before = now() + make_interval(secs => %(delay)s)
     WHERE id = %(conversation)s AND epoch = %(epoch)s AND holder = %(holder)s
    RETURNING id
), again AS (
    UPDATE turns t SET state = 'waiting' FROM freed WHERE t.id = %(turn)s
)
SELECT count(*) FROM freed
"""


async def retry(db: Database, lease: Lease, *, turn: str, delay: float) -> None:
    """Put the turn back for `delay` seconds. What is behind it in the conversation waits with it: order is kept.

    Raises LeaseLost, as `answer`.
    """
    values = {
        "conversation": lease.conversation,
        "epoch": lease.epoch,
        "holder": lease.holder,
        "turn": turn,
        "delay": delay,
    }
    if not await db.value(_RETRY, values):
        raise LeaseLost(lease.conversation)


def _reply(reply: Outgoing) -> Params:
    return {"reply": reply.id, "number": reply.number, "channel": reply.channel, "payload": reply.payload}


async def _end(db: Database, lease: Lease, statement: LiteralString, turn: str, position: int, values: Params) -> Ended:
    fence = {"conversation": lease.conversation, "epoch": lease.epoch, "holder": lease.holder}
    row = await db.one(_Row, statement, {**fence, "turn": turn, "position": position, **values})
    if not row.held:
        raise LeaseLost(lease.conversation)
    return Ended(first=row.first, more=bool(row.more))
