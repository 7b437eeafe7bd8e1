"""What every Memory promises, as tests: subclass and give a `memory` whose recall limit is LIMIT."""

import pytest

from herald_agent.memory.choosing import FACT_CHARACTERS
from herald_agent.memory.ports import FactRefused, Memory
from herald_contracts.identity import fact_id, user_key

LIMIT = 4
ANNA, BEN = user_key("web", "anna"), user_key("web", "ben")
PREFERENCES = (
    "my favourite colour is green",
    "my dog is called Rex",
    "I work from Hamburg on Fridays",
    "I am allergic to peanuts",
    "my train leaves at seven in the morning",
    "the password hint is the name of a river",
    "my sister studies medicine in Lyon",
    "I prefer tea to coffee",
)


class MemoryContract:
    async def test_what_one_conversation_tells_another_recalls(self, memory: Memory) -> None:
        fact = await memory.remember(ANNA, "my dog is called Rex", "t1")
        assert await memory.recall(ANNA, "what is my dog called?") == (fact,)

    async def test_nothing_is_recalled_of_a_stranger(self, memory: Memory) -> None:
        assert await memory.recall(ANNA, "what is my dog called?") == ()

    async def test_no_user_sees_another_ones_facts(self, memory: Memory) -> None:
        for text in PREFERENCES:
            await memory.remember(ANNA, text, "t1")
        mine = await memory.remember(BEN, "my dog is called Wuff", "t2")
        assert await memory.recall(BEN, "what is my dog called?") == (mine,)

    async def test_the_same_fact_of_two_users_is_two_facts(self, memory: Memory) -> None:
        one = await memory.remember(ANNA, "I like tea", "t1")
        other = await memory.remember(BEN, "I like tea", "t2")
        assert one.id != other.id
        assert await memory.recall(BEN, "tea") == (other,)

    async def test_told_twice_is_one_fact(self, memory: Memory) -> None:
        first = await memory.remember(ANNA, "I like tea", "t1")
        assert await memory.remember(ANNA, "  I like\n tea ", "t2") == first
        assert await memory.recall(ANNA, "tea") == (first,)

    async def test_few_facts_are_all_recalled_newest_first(self, memory: Memory) -> None:
        told = [await memory.remember(ANNA, text, "t1") for text in PREFERENCES[:LIMIT]]
        assert await memory.recall(ANNA, "quantum chromodynamics") == tuple(reversed(told))

    async def test_a_message_without_text_is_no_error(self, memory: Memory) -> None:
        for text in PREFERENCES:
            await memory.remember(ANNA, text, "t1")
        assert len(await memory.recall(ANNA, "")) == LIMIT

    @pytest.mark.parametrize("text", ["", " \n\t", "\x00", "\ud800"])
    async def test_nothing_cannot_be_remembered(self, memory: Memory, text: str) -> None:
        with pytest.raises(FactRefused):
            await memory.remember(ANNA, text, "t1")

    async def test_a_long_fact_is_kept_as_far_as_it_fits(self, memory: Memory) -> None:
        fact = await memory.remember(ANNA, "汉" * 5_000, "t1")
        assert fact.text == "汉" * FACT_CHARACTERS
        assert fact.id == fact_id(ANNA, fact.text)

    async def test_the_widest_characters_fit_too(self, memory: Memory) -> None:
        # 600 different characters of 4 bytes: nothing for a database to compress.
        text = "".join(chr(0x20000 + 7 * i) for i in range(FACT_CHARACTERS))
        assert (await memory.remember(ANNA, text, "t1")).text == text

    @pytest.mark.parametrize(
        "text", ['" or tenant != "', "'; DROP TABLE facts; --", "emoji \U0001f600", "שלום", "a\x00b"]
    )
    async def test_any_text_may_be_remembered_and_asked(self, memory: Memory, text: str) -> None:
        fact = await memory.remember(ANNA, text, "t1")
        assert fact.text == text.replace("\x00", "")
        assert await memory.recall(ANNA, text) == (fact,)

    @pytest.mark.parametrize(
        "key", ["", "anna", ANNA.upper(), ANNA + "\n", 'u" or "" == "', "c" + ANNA[1:], "u" + ANNA[1:].upper()]
    )
    async def test_only_a_user_key_opens_a_memory(self, memory: Memory, key: str) -> None:
        with pytest.raises(ValueError, match="not a user key"):
            await memory.recall(key, "tea")
        with pytest.raises(ValueError, match="not a user key"):
            await memory.remember(key, "tea", "t1")


class RankingContract(MemoryContract):
    """Also that likeness decides, once whatever runs in the background has had its time."""

    async def settle(self, memory: Memory) -> None:
        """Wait until everything told is found by likeness."""

    @pytest.mark.parametrize("wanted", PREFERENCES[:-LIMIT])
    async def test_of_many_facts_the_fitting_one_is_among_the_recalled(self, memory: Memory, wanted: str) -> None:
        for text in PREFERENCES:
            await memory.remember(ANNA, text, "t1")
        await self.settle(memory)
        recalled = await memory.recall(ANNA, f"Is it true that {wanted}?")
        assert len(recalled) == LIMIT
        assert wanted in [fact.text for fact in recalled]
