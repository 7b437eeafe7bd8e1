"""Which facts a turn gets to see, and other decisions of memory that need no I/O.

Recall has two ways. A user with no more facts than a turn may see (`recall_limit`) gets all of them: nothing
can rank them better than "they all fit", it costs one look at PostgreSQL, and it works with Milvus and the
embedder down. This is most users. Beyond that, vectors decide, and there is deliberately no threshold of
similarity: this embedder's cosines lie between 0.7 and 0.9 for related and unrelated texts alike, so any
fixed line would either let everything through or hide what was asked for.
"""

import itertools
import re
from collections.abc import Iterable, Sequence

from herald_agent.memory.ports import Fact, FactRefused
from herald_contracts.errors import PermanentError

# A sentence or two. Also what fits a row of PostgreSQL's unique index (2,704 bytes) at four bytes a character.
FACT_CHARACTERS = 600

_USER_KEY = re.compile(r"u[a-z2-7]{26}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

_WIDTH_PER_SECOND = 1_600  # see gist
_SHORTEST, _LONGEST = 80, 2_000  # more than that no embedder reads

# The embedder is shared with recall, which has 50 ms for everything: one request of the writer's should not keep
# it busy for longer than this, in seconds.
_POLITE = 0.02
_MOST_TEXTS = 32


class NotAUserKey(PermanentError, ValueError):
    """Something else was given where a user key is needed. The value is not shown: it may be anything."""


def checked(user_key: str) -> str:
    """`user_key` itself. Raises NotAUserKey unless it has the one form that is safe inside a filter expression."""
    if not _USER_KEY.fullmatch(user_key):
        raise NotAUserKey("not a user key")
    return user_key


def tidy(text: str) -> str:
    """What is kept of a text: no control characters, no runs of white space, at most FACT_CHARACTERS.

    So that the same words with another line break are the same fact. Raises FactRefused when nothing is left.
    """
    kept = " ".join(_CONTROL.sub("", text).split())[:FACT_CHARACTERS].rstrip()
    if not kept:
        raise FactRefused("there is nothing to remember in an empty text")
    return kept


def gist(text: str, seconds: float) -> str:
    """What is embedded of a message to search with: a short one whole, of a long one its beginning and its end.

    A question stands at one of the ends, and the embedder's time grows with the length: on one CPU core it reads
    about sixty characters of Latin script in half of the 50 ms that recall has, and a fourth of that of Chinese,
    Japanese or Korean. `seconds` is what recall has. "" for a text with nothing in it.
    """
    most = min(_LONGEST, max(_SHORTEST, int(seconds * _WIDTH_PER_SECOND)))
    if len(text) > 8 * most:
        text = text[: 4 * most] + text[-4 * most :]  # a message may be 200,000 characters of which two ends are used
    kept = " ".join(_CONTROL.sub("", text).split())
    if sum(map(_width, kept[: most + 1])) <= most:
        return kept
    begin, end = _within(kept[:most], most / 2), _within(kept[: -most - 1 : -1], most / 2)
    return f"{begin.rstrip()} {end[::-1].lstrip()}"


def _width(letter: str) -> int:
    """How much work a letter is, in letters of Latin script: from the first Asian scripts on, each is about a word."""
    return 1 if letter < "\u2e80" else 4


def _within(text: str, most: float) -> str:
    """As many of the first letters as are `most` wide together."""
    return text[: sum(width <= most for width in itertools.accumulate(map(_width, text)))]


def choose(fresh: Iterable[Fact], found: Sequence[Fact], limit: int) -> tuple[Fact, ...]:
    """At most `limit` facts, each once: the newest of the fresh ones, what the vectors found, other fresh ones.

    `fresh` are facts whose vector may not be searchable yet. They get half of the places, so that what was said a
    moment ago is known now; but no more while there is something found, so that a store that is being filled
    again does not crowd out what it already finds.
    """
    newest = sorted(fresh, key=lambda fact: (fact.created_at, fact.id), reverse=True)
    half = (limit + 1) // 2
    chosen: dict[str, Fact] = {}
    for fact in (*newest[:half], *found, *newest[half:]):
        if len(chosen) == limit:
            break
        chosen.setdefault(fact.id, fact)
    return tuple(chosen.values())


def next_size(size: int, seconds: float) -> int:
    """How many texts to embed at once, after `size` of them took `seconds`.

    Doubling on a fast embedder, where a batch costs little more than one text; one at a time on a slow one, where
    a batch would make somebody's recall late.
    """
    if seconds > _POLITE:
        return max(1, size // 2)
    return min(_MOST_TEXTS, size * 2) if seconds < _POLITE / 2 else size
