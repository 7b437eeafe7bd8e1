"""One message that the database can never take does not stop the rest."""

from typing import Any

import pytest

from herald_agent.deciding.turns import NewTurn, Unreadable
from herald_agent.errors import StoreRefused
from herald_agent.intake import Intake
from herald_agent.store import intake as store
from herald_agent.store.intake import Claimed, IntakeLease
from herald_contracts.subjects import Names
from herald_runtime.waking import Bell
from tests.unit.agent.values import new_turn, opened


class Table:
    """The claim statement's promises, without a database: all or nothing, and only from where the cursor is."""

    def __init__(self, poison: set[int]) -> None:
        self.poison = poison
        self.cursor = 0
        self.turns: list[int] = []
        self.letters: list[Unreadable] = []

    async def claim(
        self, _: Any, lease: IntakeLease, *, upto: int, ttl: float, turns: list[NewTurn], unreadable: list[Unreadable]
    ) -> Claimed:
        assert lease.cursor == self.cursor
        assert ttl > 0
        if self.poison & {turn.in_seq for turn in turns}:
            raise StoreRefused("DataError 22P05")
        self.cursor = upto
        self.turns += [turn.in_seq for turn in turns]
        self.letters += unreadable
        return Claimed(1, len(turns), len(unreadable))


class Reader:
    def __init__(self) -> None:
        self.lease = IntakeLease("IN", "w1", 1, 0, "")


class Quiet:
    async def publish(self, *_: object) -> None: ...


@pytest.mark.parametrize("poison", [set(), {1}, {9}, {4, 5}, {1, 2, 3, 4, 5, 6, 7, 8, 9}])
async def test_the_poison_is_found_and_the_rest_goes_on_in_order(
    monkeypatch: pytest.MonkeyPatch, poison: set[int]
) -> None:
    table, reader = Table(poison), Reader()
    monkeypatch.setattr(store, "claim", table.claim)
    intake = Intake(Quiet(), Names("a", "b"), None, Bell(1), opened(), holder="w1", ttl=3)  # type: ignore[arg-type]
    entries: list[NewTurn | Unreadable] = [new_turn(n) for n in range(1, 10)]
    entries[6] = Unreadable(7, "no message", b"")
    await intake._claim(reader, entries, 9)  # type: ignore[arg-type]
    assert table.turns == [n for n in range(1, 10) if n not in poison | {7}]
    assert {letter.in_seq for letter in table.letters} == {7, *poison}
    assert reader.lease.cursor == table.cursor == 9


async def test_a_table_that_takes_nothing_at_all_is_an_error_and_no_dead_letter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_: object, **__: object) -> Claimed:
        raise StoreRefused("UndefinedColumn 42703")

    monkeypatch.setattr(store, "claim", refuse)
    intake = Intake(Quiet(), Names("a", "b"), None, Bell(1), opened(), holder="w1", ttl=3)  # type: ignore[arg-type]
    with pytest.raises(StoreRefused):
        await intake._claim(Reader(), [new_turn(1), new_turn(2)], 2)  # type: ignore[arg-type]
