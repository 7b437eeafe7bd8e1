"""One turn, from the lease to the outbox.

Recall, then one step (the model, or remembering), recorded in the journal before it begins, then one statement that
ends the step and the turn. What fails is classified here and decided in deciding/retry.py. A write that must happen
is tried for as long as the store is away; a lost lease ends everything at once, because then another worker is on it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeVar

from nats.aio.client import Client

from herald_agent.crashpoints import Reach, around, nothing
from herald_agent.deciding import amending, commands, failure, journal, prompt, reply, retry
from herald_agent.deciding.journal import Step, UnknownOutcome
from herald_agent.deciding.retry import Dead, Failure, Retry
from herald_agent.deciding.turns import Turn
from herald_agent.errors import LeaseLost
from herald_agent.live import Live
from herald_agent.memory.ports import FactRefused, Memory
from herald_agent.models.ports import ChatMessage, Model, ModelDeadline, ModelRefused, ModelUnavailable
from herald_agent.relay import Relay
from herald_agent.steady import Conditions, persist
from herald_agent.store import finish, steps
from herald_agent.store.finish import Ended, Exchange, Outgoing
from herald_agent.store.outbox import Due
from herald_agent.store.pool import Database
from herald_contracts.errors import HeraldError, MalformedMessage, TemporaryError
from herald_contracts.messages import Message, Reply
from herald_contracts.settings import AgentSettings
from herald_runtime import logs

T = TypeVar("T")
Outcome = Literal["done", "dead", "retried", "lost_lease"]
_GRACE = 2.0  # seconds beyond the deadline that a model has to notice it by itself
log = logs.get("turn")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a turn ended. `more`: its conversation has another one that could begin now.

    `again`: seconds until this one may be begun again.
    """

    outcome: Outcome
    more: bool = False
    again: float = 0.0


class EmptyAnswer(TemporaryError):
    """The model finished without saying anything that can be shown."""


class _LongEnough(Exception):
    pass


class Runner:
    """Runs turns, many at once; holds nothing of any of them."""

    def __init__(
        self,
        settings: AgentSettings,
        db: Database,
        client: Client,
        model: Model,
        memory: Memory | None,
        relay: Relay,
        conditions: Conditions,
        reach: Reach = nothing,
    ) -> None:
        self._settings = settings
        self._db = db
        self._client = client
        self._model = model
        self._memory = memory
        self._relay = relay
        self._conditions = conditions
        self._reach = reach

    async def run(self, turn: Turn) -> Ending:
        """Work on `turn` until it is answered, dead, put back, or somebody else's. Cancelling it leaves it to others.

        Raises StoreRefused where not even its death can be written down.
        """
        try:
            message = Message.from_wire(turn.payload.encode())
        except MalformedMessage as e:
            return await self._unreadable(turn, e)
        since = asyncio.get_running_loop().time() - turn.age
        async with Live(self._client, self._settings.names, message, turn) as live:
            try:
                if turn.adoptions > retry.MOST_ADOPTIONS:
                    return await self._bury(turn, message, None, retry.POISON)
                try:
                    return await self._work(turn, message, live, since)
                except LeaseLost:
                    raise
                except HeraldError as e:
                    return await self._failed(turn, message, live, since, _classify(e), e)
                except Exception as e:
                    # A bug of ours must not cost a person their answer without a trace: it is logged with its place,
                    # tried again, and ends as a dead letter.
                    log.exception("turn broke", turn=turn.id)
                    return await self._failed(turn, message, live, since, "broken", e)
            except LeaseLost:
                log.info("another worker has taken over", turn=turn.id)
                return Ending("lost_lease")

    async def _work(self, turn: Turn, message: Message, live: Live, since: float) -> Ending:
        if message.kind != "message":
            return await self._note(turn, message)
        fact = commands.remember(message.content, message.mentions)
        if fact is not None:
            step, text = await self._remember(turn, fact)
        else:
            step, text = await self._generate(turn, message, live, since)
        return await self._answer(turn, message, step, text)

    async def _generate(self, turn: Turn, message: Message, live: Live, since: float) -> tuple[Step, str]:
        facts: tuple[str, ...] = ()
        if self._memory is not None:
            found = await around(self._reach, "recall", self._memory.recall(turn.user_key, message.content))
            facts = tuple(fact.text for fact in found)
        messages = prompt.build(
            instructions=self._settings.instructions,
            facts=facts,
            history=turn.history,
            message=message,
            max_input_tokens=self._settings.generation.max_input_tokens,
        )
        step = journal.step(turn.id, 1, "model", [[m.role, m.content] for m in messages], idempotent=True)

        async def ask() -> str:
            return await around(self._reach, "model.generate", self._ask(turn, messages, live, since))

        return step, await self._carry_out(turn, step, ask)

    async def _ask(self, turn: Turn, messages: tuple[ChatMessage, ...], live: Live, since: float) -> str:
        age = asyncio.get_running_loop().time() - since
        deadline = retry.time_left(age=age, turn_seconds=self._settings.turn_seconds)
        said, unfinished = "", False

        async def grew(text: str) -> None:
            nonlocal said
            said = text
            await live.say(text)
            if len(text) > reply.MAX_CHARACTERS:
                raise _LongEnough

        try:
            async with asyncio.timeout(deadline + _GRACE):
                completion = await self._model.generate(
                    messages, deadline=deadline, on_text=grew, request_id=f"{turn.id}-{turn.attempts}"
                )
            said, unfinished = completion.text, completion.finish == "length"
        except _LongEnough:
            unfinished = True
        except TimeoutError:
            raise ModelDeadline(f"no end within {deadline:.0f} s") from None
        text = reply.clean(said, unfinished=unfinished)
        if not text:
            raise EmptyAnswer("nothing to show")
        return text

    async def _remember(self, turn: Turn, fact: str) -> tuple[Step, str]:
        memory = self._memory
        # Remembering the same text twice is one fact: the step may happen again.
        step = journal.step(turn.id, 1, "remember", [turn.user_key, fact], idempotent=True)

        async def remember() -> str:
            if memory is None:
                return commands.NO_MEMORY
            try:
                kept = await self._persist("memory.remember", lambda: memory.remember(turn.user_key, fact, turn.id))
            except FactRefused:
                return commands.NOTHING_TO_REMEMBER
            return reply.clean(commands.confirmation(kept.text))

        return step, await self._carry_out(turn, step, remember)

    async def _carry_out(self, turn: Turn, step: Step, work: Callable[[], Awaitable[str]]) -> str:
        """What the journal knows that `step` said, or what `work` says now."""
        lease = self._settings.lease_seconds
        found = await self._persist("step.begin", lambda: steps.begin(self._db, turn.lease, step, seconds=lease))
        known = journal.output_of(step, found)
        return await work() if known is None else str(known["text"])

    async def _answer(self, turn: Turn, message: Message, step: Step, text: str) -> Ending:
        answer = reply.reply(turn, message, text, "answer", datetime.now(UTC))
        exchange = Exchange(
            asked=message.id,
            sender=message.sender.name,
            platform_id=message.platform_message_id,
            asked_text=prompt.words(message),
            asked_at=message.timestamp,
            said_text=text,
            said_at=answer.created_at,
        )
        ended = await self._persist(
            "finish.answer",
            lambda: finish.answer(
                self._db,
                turn.lease,
                step,
                turn=turn.id,
                position=turn.position,
                reply=_outgoing(turn, answer),
                exchange=exchange,
            ),
        )
        self._pass_on(answer, ended)
        return Ending("done", ended.more)

    async def _note(self, turn: Turn, message: Message) -> Ending:
        ended = await self._persist(
            "finish.note",
            lambda: finish.note(
                self._db,
                turn.lease,
                turn=turn.id,
                position=turn.position,
                target=message.target,
                content=amending.new_content(message),
            ),
        )
        return Ending("done", ended.more)

    async def _unreadable(self, turn: Turn, error: MalformedMessage) -> Ending:
        """A message that another version took in and this one cannot read: nothing in it to answer to."""
        log.error("turn failed for good", turn=turn.id, reason=str(error))
        try:
            ended = await self._persist(
                "finish.bury",
                lambda: finish.bury(
                    self._db, turn.lease, turn=turn.id, position=turn.position, reply=None, reason=str(error)
                ),
            )
        except LeaseLost:
            return Ending("lost_lease")
        return Ending("dead", ended.more)

    async def _failed(
        self, turn: Turn, message: Message, live: Live, since: float, what: Failure, error: Exception
    ) -> Ending:
        decision = retry.after(
            what,
            attempts=turn.attempts,
            age=asyncio.get_running_loop().time() - since,
            turn_seconds=self._settings.turn_seconds,
            retry_after=error.retry_after if isinstance(error, ModelUnavailable) else None,
            jitter=random.random(),
            detail=type(error).__name__,
        )
        if isinstance(decision, Dead):
            return await self._bury(turn, message, what, decision.reason)
        return await self._retry(turn, live, decision, error)

    async def _retry(self, turn: Turn, live: Live, decision: Retry, error: Exception) -> Ending:
        log.warning("turn failed, trying again", turn=turn.id, problem=str(error), seconds=round(decision.delay, 2))
        await live.retrying()
        await self._persist(
            "finish.retry", lambda: finish.retry(self._db, turn.lease, turn=turn.id, delay=decision.delay)
        )
        return Ending("retried", again=decision.delay)

    async def _bury(self, turn: Turn, message: Message, what: Failure | None, reason: str) -> Ending:
        log.error("turn failed for good", turn=turn.id, reason=reason)
        apology = None
        if message.kind == "message":
            apology = reply.reply(turn, message, failure.text(what), "failure", datetime.now(UTC))
        ended = await self._persist(
            "finish.bury",
            lambda: finish.bury(
                self._db,
                turn.lease,
                turn=turn.id,
                position=turn.position,
                reply=_outgoing(turn, apology) if apology is not None else None,
                reason=reason,
            ),
        )
        if apology is not None:
            self._pass_on(apology, ended)
        return Ending("dead", ended.more)

    def _pass_on(self, answer: Reply, ended: Ended) -> None:
        if ended.first:
            wire = answer.to_wire().decode()
            self._relay.offer(Due(answer.id, answer.channel, answer.conversation, wire))
        else:
            self._relay.look_behind(answer.conversation)

    async def _persist(self, action: str, attempt: Callable[[], Awaitable[T]]) -> T:
        return await persist("turns", lambda: around(self._reach, action, attempt()), self._conditions)


def _outgoing(turn: Turn, answer: Reply) -> Outgoing:
    return Outgoing(answer.id, turn.reply_number, answer.channel, answer.to_wire().decode())


def _classify(error: HeraldError) -> Failure:
    match error:
        case ModelDeadline():
            return "too_slow"
        case ModelRefused():
            return "refused"
        case UnknownOutcome():
            return "unknown_outcome"
        case EmptyAnswer():
            return "empty"
        case ModelUnavailable():
            return "unavailable"
        case _:
            return "broken"
