"""What the person is told when a turn failed for good: short, honest, and nothing of our insides."""

from herald_agent.deciding.retry import Failure

_BUSY = "Sorry, I could not answer this: the language model did not respond. Please try again in a while."
_CANNOT = "Sorry, I cannot answer this message: the language model does not accept it. Please put it differently."
_OURS = "Sorry, something went wrong on my side and I could not answer this. The people who run me can see it."

_TEXTS: dict[Failure, str] = {
    "unavailable": _BUSY,
    "too_slow": _BUSY,
    "refused": _CANNOT,
    "empty": "Sorry, I have no answer to this. Please try to put it differently.",
    "broken": _OURS,
    "unknown_outcome": _OURS,
}


def text(failure: Failure | None) -> str:
    """The apology for `failure`; None for a turn that its workers did not survive."""
    return _OURS if failure is None else _TEXTS[failure]
