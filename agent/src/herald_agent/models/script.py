"""The scripted model's mind: a message decides, word for word, what is answered, when, and how it fails.

Tests of load, of kills and of the worker's logic need a model whose every answer is known beforehand. Both the
in-process model (`scripted.py`) and the one in Triton (inference/local/scripted) play what is decided here.

Without directives the answer is `echo: ` and the message. Directives are taken out of the message first:

    [[delay=S]]        seconds before each word after the first (default 0)
    [[first=S]]        seconds before the first word (default 0)
    [[tokens=N]]       the answer has exactly N words: its words again and again
    [[empty]]          an answer of no words
    [[huge=N]]         one word of N letters, at once, whatever max_tokens says (N to 16,000,000)
    [[endless]]        words without end, whatever max_tokens says (delay at least 0.001)
    [[invalid-utf8]]   three words, the second of which is not UTF-8
    [[nul]]            three words, the second of which holds a NUL character
    [[error]]          fails at once, as an overloaded server does
    [[error-after=N]]  the same after N words
    [[refuse]]         fails at once, as on a request that can never work
    [[fail=N]]         the first N times that this very message comes: [[error]]; then it is answered
    [[hang]]           says nothing, for ever
    [[hang-after=N]]   the same after N words
    [[report]]         the counters of the serving model as JSON: running, finished, failed, cancelled

A word is what a real model calls a token. Without a delay the words after the first come in one piece, as from
a server that is faster than its client.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_DIRECTIVE = re.compile(r"\[\[([a-z0-9-]{1,20})(?:=([0-9]{1,9}(?:\.[0-9]{1,6})?))?\]\]")
_KNOWN = frozenset(
    [
        "delay",
        "first",
        "tokens",
        "empty",
        "huge",
        "endless",
        "invalid-utf8",
        "nul",
        "error",
        "error-after",
        "refuse",
        "fail",
        "hang",
        "hang-after",
        "report",
    ]
)
_WORD = re.compile(r"\s*\S+")
_HUGE = 16_000_000
_USER = "<|im_start|>user\n"
_END = "<|im_end|>"


@dataclass(frozen=True, slots=True)
class Say:
    """Wait, then add these bytes to the answer."""

    after: float
    data: bytes


@dataclass(frozen=True, slots=True)
class Fail:
    """End with an error: one that another attempt may not meet, or one that it will."""

    after: float
    temporary: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Hang:
    """Say nothing more, until cancelled."""


@dataclass(frozen=True, slots=True)
class End:
    """The answer is complete."""

    finish: Literal["stop", "length"]
    tokens: int


Step = Say | Fail | Hang | End


@dataclass(frozen=True, slots=True)
class Script:
    """A message, read."""

    text: str
    directives: dict[str, float]

    @property
    def report(self) -> bool:
        return "report" in self.directives

    @property
    def failures(self) -> int:
        """How often this message fails before it is answered."""
        return int(self.directives.get("fail", 0))


def last_user_message(prompt: str) -> str:
    """What the user said last, out of a prompt in ChatML; the whole prompt where it is in no such form."""
    start = prompt.rfind(_USER)
    if start < 0:
        return prompt
    start += len(_USER)
    end = prompt.find(_END, start)
    return prompt[start:] if end < 0 else prompt[start:end]


def read(message: str) -> Script:
    """Take the directives out of a message; unknown ones stay in its text."""
    directives: dict[str, float] = {}

    def take(found: re.Match[str]) -> str:
        if found.group(1) not in _KNOWN:
            return found.group()
        directives[found.group(1)] = float(found.group(2) or 0)
        return ""

    return Script(_DIRECTIVE.sub(take, message).strip(), directives)


def play(script: Script, max_tokens: int, attempt: int = 1) -> Iterator[Step]:
    """The steps of one answer, the last of them End, Fail or Hang. `attempt` counts how often the message came."""
    has = script.directives
    first = has.get("first", 0.0)
    delay = max(has.get("delay", 0.0), 0.001 if "endless" in has else 0.0)
    if "error" in has or attempt <= script.failures:
        yield Fail(first, temporary=True, reason="scripted: overloaded")
        return
    if "refuse" in has:
        yield Fail(first, temporary=False, reason="scripted: this request can never work")
        return
    if "huge" in has:
        yield Say(first, b"x" * min(int(has["huge"]), _HUGE))
        yield End("stop", 1)
        return
    stop_at = min(has.get("error-after", float("inf")), has.get("hang-after", float("inf")))
    if "hang" in has:
        stop_at = 0.0
    said = 0
    for piece, words in _pieces(script, max_tokens, delay, stop_at):
        yield Say(delay if said else first, piece)
        said += words
    if said >= stop_at:
        yield Fail(delay, temporary=True, reason="scripted: broke off") if "error-after" in has else Hang()
        return
    yield End("length" if said >= max_tokens and said < _length(script) else "stop", said)


def _pieces(script: Script, max_tokens: int, delay: float, stop_at: float) -> Iterator[tuple[bytes, int]]:
    """What is said at each step, and of how many words it is."""
    words = _words(script)
    if "endless" in script.directives:
        count = 0
        while count < stop_at:
            yield _word(words, count), 1
            count += 1
        return
    total = int(min(_length(script), max_tokens, stop_at))
    said = [_word(words, i) for i in range(total)]
    if delay > 0:
        yield from ((word, 1) for word in said)
    elif said:
        yield said[0], 1
        if rest := said[1:]:
            yield b"".join(rest), len(rest)


def _word(words: list[bytes], i: int) -> bytes:
    """The i-th word of an answer that says its words again and again."""
    word = words[i % len(words)]
    return word if i < len(words) or word[:1].isspace() else b" " + word


def _words(script: Script) -> list[bytes]:
    if "invalid-utf8" in script.directives:
        return [b"one", b" \xff\xfe", b" three"]
    if "nul" in script.directives:
        return [b"one", b" \x00two", b" three"]
    return [word.encode() for word in _WORD.findall(f"echo: {script.text}")]


def _length(script: Script) -> int:
    if "empty" in script.directives:
        return 0
    return int(script.directives["tokens"]) if "tokens" in script.directives else len(_words(script))
