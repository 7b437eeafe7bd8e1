"""Cutting a long Markdown text into parts that each stand alone.

A cut never falls inside a character as a person sees it (an emoji of five code points, a letter with its
accents) and never leaves a code block open: the block is closed in one part and opened again in the next.
Cuts are looked for in this order: blank line, line end, sentence end, space, anywhere.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator

Cost = Callable[[str], int]

# A run of more than 64 marks is decoration, not a fence: a closing fence must fit into a part.
_FENCE = re.compile(r"^ {0,3}(`{3,64}|~{3,64})([^`~\n]*)$", re.MULTILINE)
_SENTENCE = re.compile(r"[.!?…]\s|[。！？]")
_JOINERS = frozenset("\u200d\ufe0e\ufe0f")
_LONGEST_CLUSTER = 64
_LONGEST_INFO = 40
_BRACKET = "&#60;"  # as `render` writes it


def cut(text: str, limit: int, cost: Cost) -> Iterator[str]:
    """Parts of `text`, in order, each of at most `limit` by `cost` (a sum over characters).

    `limit` must leave room for a code fence and one character. White space at a cut is dropped outside code.
    """
    rest, opening = text, ""
    while True:
        room = limit - cost(opening)
        if _longest(rest, room, cost) == len(rest):
            yield opening + rest
            return
        end, fence = _cut_at(rest, opening, room, cost)
        part, rest = opening + rest[:end], rest[end:]
        if fence is None:
            part, opening, rest = part.rstrip(), "", rest.lstrip("\n")
            if part:
                yield part
        else:
            marks, info = fence
            part = part.removesuffix("\n")
            yield f"{part}\n{marks}"
            opening = f"{marks}{info if len(info) <= _LONGEST_INFO else ''}\n"
            closing = re.match(rf" {{0,3}}{marks[0]}{{{len(marks)},}}[ \t]*(?:\n+|$)", rest)
            if closing is not None:
                opening, rest = "", rest[closing.end() :]
        if not rest.strip():
            return


def _cut_at(rest: str, opening: str, room: int, cost: Cost) -> tuple[int, tuple[str, str] | None]:
    """Where to cut, and the code block that the cut leaves open. Room for closing that block is left."""
    closing = 0
    while True:
        end = max(_break(rest, _longest(rest, room - closing, cost)), 1)
        fence = _open_fence(opening + rest[:end])
        needed = 0 if fence is None else cost("\n" + fence[0])
        if end == 1 or cost(rest[:end]) + needed <= room:
            return end, fence
        closing += needed


def _longest(text: str, room: int, cost: Cost) -> int:
    """The length of the longest start of `text` that costs at most `room`."""
    low, high = 0, len(text)
    if cost(text) <= room:
        return high
    while low < high - 1:
        middle = (low + high) // 2
        if cost(text[:middle]) <= room:
            low = middle
        else:
            high = middle
    return low


def _break(text: str, end: int) -> int:
    """The best place to cut at or before `end`, not before half of it unless there is no other."""
    window = text[:end]
    half = end // 2
    for place in (window.rfind("\n\n") + 2, window.rfind("\n") + 1):
        if place > max(half, 2):
            return place
    sentences = [match.end() for match in _SENTENCE.finditer(window, half)]
    if sentences and sentences[-1] < end:
        return sentences[-1]
    space = window.rfind(" ") + 1
    if space > half:
        return space
    return _before_cluster(text, end)


def _before_cluster(text: str, index: int) -> int:
    """`index`, or a little less where it would fall inside one visible character or an escaped bracket."""
    for place in range(index, max(index - _LONGEST_CLUSTER, 0), -1):
        escaped = any(text.startswith(_BRACKET, start) for start in range(max(0, place - len(_BRACKET) + 1), place))
        if not escaped and not _inside_cluster(text, place):
            return place
    return index


def _inside_cluster(text: str, place: int) -> bool:
    """Close to UAX #29: extenders, joiners, emoji modifiers and tags, flags, Hangul jamo, CR LF."""
    if place >= len(text):
        return False
    before, after = text[place - 1], text[place]
    if after in _JOINERS or before == "\u200d" or (before == "\r" and after == "\n"):
        return True
    code = ord(after)
    if 0x1F3FB <= code <= 0x1F3FF or 0xE0020 <= code <= 0xE007F or 0x1160 <= code <= 0x11FF:
        return True
    if unicodedata.category(after) in ("Mn", "Me", "Mc"):
        return True
    if _is_flag(after) and _is_flag(before):
        run = 0
        while run < place and _is_flag(text[place - 1 - run]):
            run += 1
        return run % 2 == 1
    return False


def _is_flag(character: str) -> bool:
    return 0x1F1E6 <= ord(character) <= 0x1F1FF


def _open_fence(text: str) -> tuple[str, str] | None:
    """The marks and info string of the code block that is still open at the end of `text`."""
    opened: tuple[str, str] | None = None
    for match in _FENCE.finditer(text):
        marks, info = match.groups()
        if opened is None:
            opened = marks, info.strip()
        elif marks[0] == opened[0][0] and len(marks) >= len(opened[0]) and not info.strip():
            opened = None
    return opened
