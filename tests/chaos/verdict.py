"""The judgement over a chaos run, from records kept outside the product.

Two witnesses: what the sender was told (2xx or not), and what the fake platforms' inboxes hold. Nothing that
Herald says about itself is believed here; its own ledger is compared with the verdict afterwards.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sent:
    """A message whose webhook got a 2xx. `number` is its place in its conversation, as the sender sent it."""

    channel: str
    event: str
    conversation: str
    number: int


@dataclass(frozen=True, slots=True)
class Answered:
    """One reply as a person on the platform sees it: a platform that drops a repeated key shows it once."""

    channel: str
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    accepted: int
    answered: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    unasked: tuple[str, ...]
    out_of_order: tuple[str, ...]
    wrong: tuple[str, ...] = field(default=())

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.unasked or self.out_of_order or self.wrong)

    def __str__(self) -> str:
        parts = [f"accepted {self.accepted}", f"answered {self.answered}"]
        for name in ("lost", "doubled", "unasked", "out_of_order", "wrong"):
            found = getattr(self, name)
            parts.append(f"{name.replace('_', ' ')} {len(found)}" + (f" (first: {found[0]})" if found else ""))
        return ", ".join(parts)


def judge(
    sent: Iterable[Sent], inbox: Sequence[Answered], *, expected: dict[str, str], tried: Iterable[str] = ()
) -> Verdict:
    """Compare what was accepted with what was answered.

    `inbox` is in the order of arrival. `expected` maps an event to a text its answer must contain. `tried` are
    events that were sent but never got a 2xx: an answer to one is allowed (the outcome was unknown to the
    sender), a second answer is not.
    """
    accepted = {s.event: s for s in sent}
    counts = Counter(a.event for a in inbox)
    seen: dict[str, list[int]] = defaultdict(list)
    for answer in inbox:
        if answer.event in accepted:
            message = accepted[answer.event]
            seen[f"{message.channel}/{message.conversation}"].append(message.number)
    allowed = accepted.keys() | set(tried)
    return Verdict(
        accepted=len(accepted),
        answered=sum(1 for event in accepted if counts[event]),
        lost=tuple(sorted(event for event in accepted if not counts[event])),
        doubled=tuple(sorted(event for event, n in counts.items() if n > 1)),
        unasked=tuple(sorted(event for event in counts if event not in allowed)),
        out_of_order=tuple(sorted(c for c, numbers in seen.items() if numbers != sorted(numbers))),
        wrong=tuple(sorted({a.event for a in inbox if a.event in expected and expected[a.event] not in a.text})),
    )
