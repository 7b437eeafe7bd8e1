"""What a worker does to the store, one statement at a time, with defaults for what a test does not care about."""

from dataclasses import replace
from typing import Any

from herald_agent.deciding import journal
from herald_agent.deciding import reply as replies
from herald_agent.deciding.journal import Step
from herald_agent.deciding.turns import NewTurn, Turn, Unreadable
from herald_agent.store import acquire, finish, intake
from herald_agent.store.acquire import Acquired
from herald_agent.store.finish import Ended, Exchange, Outgoing
from herald_agent.store.intake import Claimed, IntakeLease
from herald_agent.store.pool import Database
from herald_contracts.messages import Message, Reply
from tests.unit.agent.values import NOW, new_turn

STREAM = "IN"


class Desk:
    def __init__(self, db: Database) -> None:
        self.db = db
        self.lease: IntakeLease | None = None

    async def lead(self, holder: str = "w1", ttl: float = 60) -> IntakeLease:
        lease = await intake.take(self.db, stream=STREAM, holder=holder, ttl=ttl)
        assert lease is not None
        self.lease = lease
        return lease

    async def claim(self, *turns: NewTurn, unreadable: tuple[Unreadable, ...] = ()) -> Claimed:
        """Claim these as the next entries of the stream."""
        lease = self.lease or await self.lead()
        upto = max([turn.in_seq for turn in turns] + [entry.in_seq for entry in unreadable])
        claimed = await intake.claim(self.db, lease, upto=upto, ttl=60, turns=turns, unreadable=unreadable)
        self.lease = replace(lease, cursor=upto)
        return claimed

    async def accept(self, number: int, **fields: Any) -> NewTurn:
        turn = new_turn(number, **fields)
        await self.claim(turn)
        return turn

    async def acquire(self, holder: str = "w1", **options: Any) -> Acquired:
        return await acquire.acquire(
            self.db,
            **{
                "holder": holder,
                "revision": "r1",
                "room": 10,
                "per_user": 4,
                "lease": 60.0,
                "history": 20,
                "characters": 1_000,
                **options,
            },
        )

    async def take(self, holder: str = "w1", **options: Any) -> Turn:
        """The one turn there is to take."""
        acquired = await self.acquire(holder, **options)
        assert len(acquired.turns) == 1
        return acquired.turns[0]

    async def answer(self, turn: Turn, text: str = "hi", step: Step | None = None) -> Ended:
        message, reply = self.reply_to(turn, text)
        exchange = Exchange(
            asked=message.id,
            sender=message.sender.name,
            platform_id=message.platform_message_id,
            asked_text=message.content,
            asked_at=message.timestamp,
            said_text=text,
            said_at=NOW,
        )
        return await finish.answer(
            self.db,
            turn.lease,
            step or journal.step(turn.id, 1, "model", ["input"], idempotent=True),
            turn=turn.id,
            position=turn.position,
            reply=outgoing(turn, reply),
            exchange=exchange,
        )

    async def bury(self, turn: Turn, reason: str = "because") -> Ended:
        _, reply = self.reply_to(turn, "sorry", "failure")
        return await finish.bury(
            self.db, turn.lease, turn=turn.id, position=turn.position, reply=outgoing(turn, reply), reason=reason
        )

    def reply_to(self, turn: Turn, text: str, kind: Any = "answer") -> tuple[Message, Reply]:
        message = Message.from_wire(turn.payload.encode())
        return message, replies.reply(turn, message, text, kind, NOW)

    async def expire(self, holder: str) -> None:
        """As if `holder` had been silent for longer than its leases last."""
        await self.db.values(
            "UPDATE conversations SET lease_until = now() - interval '1 hour' WHERE holder = %(holder)s RETURNING id",
            {"holder": holder},
        )
        await self.db.values(
            "UPDATE intake SET lease_until = now() - interval '1 hour' WHERE holder = %(holder)s RETURNING stream",
            {"holder": holder},
        )

    async def snapshot(self) -> list[Any]:
        """Everything that a turn's writes may change, to compare before and after."""
        return [
            await self.db.values(f"SELECT row_to_json(t)::text FROM {table} t ORDER BY 1")
            for table in ("conversations", "turns", "steps", "history", "outbox", "dead_letters", "intake")
        ]


def outgoing(turn: Turn, reply: Reply) -> Outgoing:
    return Outgoing(reply.id, turn.reply_number, reply.channel, reply.to_wire().decode())
