"""What an earlier Herald may have left when it was killed together with its guard: ended before a new one starts."""

from herald_cli import guard
from herald_cli.state import Choices, Snapshot


def clean(snapshot: Snapshot | None, choices: Choices) -> int:
    """End what the last run's notes name and that still lives; remove its shared memory. The number ended.

    Only while holding the state folder's lock: nobody else's processes are in those notes then.
    """
    watched = [
        (component.process, component.litter)
        for component in (snapshot.components if snapshot is not None else ())
        if component.process is not None
    ]
    ended = guard.end(watched)
    guard.sweep(litter(choices))
    return ended


def litter(choices: Choices) -> str:
    """How the files of this state folder's parts in /dev/shm begin."""
    return f"{guard.PREFIX}{choices.id}-"
