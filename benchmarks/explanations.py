"""Why a goal is missed, as written by a person who looked at a profile, pure.

An explanation without its profile is a guess, so one is refused.
"""

import tomllib
from dataclasses import dataclass

from benchmarks.goals import GOALS


class Unreadable(Exception):
    """explanations.toml says something that cannot be used; the text names the goal and the field."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """`profile` says what was run and what it showed; `next` what would close the gap."""

    why: str
    profile: str
    next: str


_FIELDS = ("why", "profile", "next")


def read(text: str) -> dict[str, Explanation]:
    """By goal id. Raises Unreadable."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise Unreadable(f"not TOML: {e}") from None
    known = {goal.id for goal in GOALS}
    found = {}
    for id_, entry in document.items():
        if id_ not in known:
            raise Unreadable(f"{id_}: no such goal; there are {', '.join(sorted(known))}")
        if not isinstance(entry, dict) or set(entry) != set(_FIELDS):
            raise Unreadable(f"{id_}: needs exactly the fields {', '.join(_FIELDS)}")
        for name in _FIELDS:
            if not isinstance(entry[name], str) or not entry[name].strip():
                raise Unreadable(f"{id_}.{name}: must be a text that says something")
        found[id_] = Explanation(*(" ".join(entry[name].split()) for name in _FIELDS))
    return found
