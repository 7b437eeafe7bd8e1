"""Requests that need no model: for now, "remember that ...".

Recognised by form and not by the model, so that what a person asks to have kept is kept word for word, and a
question that merely contains the word is a question.
"""

import re
from collections.abc import Iterable

from herald_contracts.messages import Mention

_REMEMBER = re.compile(
    r"""^\s*(?:
        (?:please\s+)?remember\s*(?:\s+that\s+|[:：]\s*)(?P<english>\S.*)
      | (?:请)?(?:帮我)?(?:记住|記住)\s*[:：,，]?\s*(?P<chinese>\S.*)
    )$""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_QUESTION = ("?", "？", "吗", "嗎")


def remember(content: str, mentions: Iterable[Mention] = ()) -> str | None:
    """What `content` asks to have remembered, or None when it asks for something else.

    A leading mention of the agent ("@Herald remember that ...") is set aside first. A question is no request.
    """
    match = _REMEMBER.match(without_mention(content, mentions))
    if match is None:
        return None
    fact = (match["english"] or match["chinese"]).strip()
    return None if fact.endswith(_QUESTION) else fact


def without_mention(content: str, mentions: Iterable[Mention]) -> str:
    """`content` without the mentions of the agent that it begins with."""
    names = sorted((f"@{m.name}" for m in mentions if m.agent and m.name), key=len, reverse=True)
    rest = content.lstrip()
    while True:
        for name in names:
            if rest.startswith(name):
                rest = rest[len(name) :].lstrip(" \t\r\n,:，：")
                break
        else:
            return rest


def confirmation(fact: str) -> str:
    """What is answered once `fact` is durable."""
    return f"I will remember that {fact}" if fact.isascii() else f"I will remember: {fact}"


NO_MEMORY = "I cannot remember things: no memory is set up for me."
NOTHING_TO_REMEMBER = "There was nothing in this that I could remember."
