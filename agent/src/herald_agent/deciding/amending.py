"""Edits and recalls: no answer is due, but what the model sees of the past changes."""

from herald_contracts.messages import Message

RECALLED = "(this message was taken back by its sender)"


def new_content(message: Message) -> str:
    """What the edited or recalled message reads from now on."""
    return RECALLED if message.kind == "recall" else message.content
