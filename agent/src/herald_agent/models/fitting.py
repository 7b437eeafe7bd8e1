"""Which messages fit into the model's window: the newest, with the instructions and the question always there.

Workers have no tokenizer (it belongs to the model, which may run elsewhere), so tokens are estimated from the
text. An estimate can be wrong in both directions: where the server then says that the prompt is too long, the
caller fits again with half the room; so the estimate aims at the middle and not at the worst case.
"""

import re
import string
from collections.abc import Sequence

from herald_agent.models.ports import ChatMessage, ModelRefused

# Tokens per byte, by kind. Measured with the tokenizer of SmolLM2 over English prose, Markdown, Python, JSON, logs,
# Chinese, Russian and emoji: the estimate is 0.8 to 1.4 times the true count.
_LETTERS = (string.ascii_letters + " \n\t").encode()
_DIGITS = string.digits.encode()
_BEYOND_ASCII = bytes(range(128, 256))
_PER_LETTER, _PER_DIGIT, _PER_SIGN, _PER_OTHER = 1 / 5, 1.0, 0.7, 1 / 1.7
_MARKUP_TOKENS = 6  # what a chat template adds to a message
_SURELY = 0.5  # the share of the estimate below which no ordinary text stays

_TOO_LONG = re.compile(
    r"too long|context[_ ](length|size|window)|maximum (input|context|sequence|number of)|max_(num_tokens|seq_len)",
    re.IGNORECASE,
)


class PromptTooLong(ModelRefused):
    """The server counted, and the prompt has more tokens than it takes."""


def says_too_long(error: str) -> bool:
    """Whether a server's error text means that the prompt is too long, in the words of llama.cpp, TensorRT-LLM,
    vLLM and OpenAI (`context_length_exceeded`)."""
    return _TOO_LONG.search(error) is not None


def tokens_of(text: str) -> int:
    """About how many tokens this text is."""
    data = text.encode("utf-8", "replace")
    letters = len(data) - len(data.translate(None, _LETTERS))
    digits = len(data) - len(data.translate(None, _DIGITS))
    other = len(data) - len(data.translate(None, _BEYOND_ASCII))
    signs = len(data) - letters - digits - other
    return int(letters * _PER_LETTER + digits * _PER_DIGIT + signs * _PER_SIGN + other * _PER_OTHER) + 1


def fit(messages: Sequence[ChatMessage], room: int) -> list[ChatMessage]:
    """The system messages, the last message, and as many of the newest others as `room` tokens hold, in order.

    Raises ModelRefused where the instructions and the last message alone cannot fit by any count.
    """
    last = len(messages) - 1
    kept = {i for i, message in enumerate(messages) if message.role == "system" or i == last}
    costs = [tokens_of(message.content) + _MARKUP_TOKENS for message in messages]
    needed = sum(costs[i] for i in kept)
    if needed * _SURELY > room:
        raise ModelRefused(f"the message is too long for this model: about {needed} tokens, and {room} fit")
    left = room - needed
    for i in range(last - 1, -1, -1):
        if i in kept:
            continue
        left -= costs[i]
        if left < 0:
            break
        kept.add(i)
    return [message for i, message in enumerate(messages) if i in kept]
