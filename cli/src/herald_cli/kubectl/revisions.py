"""What may be asked of a rollout, how far it is, and which revision came before. Pure.

The operator decides; what is refused here is what could only disappoint: it says so before anything is asked.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from herald_cli.kubectl.deployment import Deployment
from herald_contracts.errors import PermanentError


class NothingToDo(PermanentError):
    """What was asked for makes no sense as things are; the text says how they are."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the rollout of the newest spec is."""

    state: Literal["done", "failed", "under way", "waiting"]
    text: str


def progress(deployment: Deployment) -> Progress:
    """By the conditions that the operator sets."""
    if not deployment.seen:
        return Progress("under way", "the operator has not looked at the newest spec yet")
    accepted = deployment.condition("Accepted") or {}
    if accepted.get("status") == "False":
        return Progress("failed", f"the spec is not accepted: {accepted.get('message')}")
    promoted, progressing = deployment.condition("Promoted"), deployment.condition("Progressing") or {}
    said = str(progressing.get("message") or "")
    if promoted is None:
        return Progress("under way", said or "the operator has not said anything about it yet")
    if promoted.get("status") == "True":
        return Progress("done", f"{deployment.active} answers")
    if promoted.get("reason") == "RevisionFailed":
        if f"rolled back to {deployment.active} by hand" in str(promoted.get("message")):
            return Progress("done", f"{deployment.active} answers, gone back to by hand; the spec asks for another")
        going = f"; {deployment.active} goes on answering" if deployment.active else ""
        return Progress("failed", f"{promoted.get('message')}{going}")
    if deployment.paused:
        return Progress("waiting", "spec.paused is true: nothing changes until it is false")
    if progressing.get("reason") == "WaitingForPromotion":
        return Progress("waiting", said)
    return Progress("under way", said or str(promoted.get("message") or "a candidate is being started"))


def previous(deployment: Deployment) -> str:
    """The revision that answered well before the one that answers now. Raises NothingToDo."""
    good = [
        entry
        for entry in deployment.listed("history")
        if entry.get("outcome") == "Successful"
        and entry.get("promotedAt")
        and entry.get("revision") != deployment.active
    ]
    if not good:
        raise NothingToDo(
            f"there is no earlier successful revision to go back to\n  known: {_known(deployment) or 'none'}"
        )
    newest = max(good, key=lambda e: (str(e["promotedAt"]), int(e.get("number") or 0)))
    return str(newest["revision"])


def chosen(deployment: Deployment, revision: str) -> str:
    """`revision`, if one can go back to it. Raises NothingToDo."""
    entry = next((e for e in deployment.listed("history") if e.get("revision") == revision), None)
    if entry is None or not entry.get("promotedAt"):
        why = "has never answered" if entry is not None else "is not kept"
        raise NothingToDo(f"revision {revision!r} {why}\n  there is: {_known(deployment) or 'none'}")
    if revision == deployment.active and not deployment.candidate:
        raise NothingToDo(f"revision {revision!r} is the one that answers now")
    return revision


def refuse(deployment: Deployment, command: str) -> None:
    """Raises NothingToDo where the command could change nothing."""
    if deployment.paused:
        patch = f"kubectl -n {deployment.namespace} patch agd {deployment.name} --type=merge -p"
        raise NothingToDo(
            f'spec.paused is true: the operator would do it only later\n  {patch} \'{{"spec":{{"paused":false}}}}\''
        )
    # What the status says of an older spec is no reason to refuse.
    if not deployment.seen:
        return
    failed = (deployment.condition("Promoted") or {}).get("reason") == "RevisionFailed"
    if command in ("promote", "abort") and not deployment.candidate:
        how = (
            "the newest one was given up: `kubectl herald rollout retry`"
            if failed
            else "the newest one answers already"
        )
        raise NothingToDo(f"there is no candidate to {command}: {how}")
    if command == "retry" and not failed:
        raise NothingToDo("there is nothing to retry: no revision was given up")


def _known(deployment: Deployment) -> str:
    return ", ".join(str(e.get("revision")) for e in deployment.listed("history") if e.get("promotedAt"))


def cells(deployment: Deployment) -> list[list[str]]:
    """The history as a table, newest first."""
    made = [["", "NUMBER", "REVISION", "OUTCOME", "PROMOTED"]]
    for entry in deployment.listed("history"):
        made.append([_mark(deployment, entry), *(str(entry.get(k) or "") for k in _COLUMNS)])
    return made


_COLUMNS = ("number", "revision", "outcome", "promotedAt")


def _mark(deployment: Deployment, entry: Mapping[str, Any]) -> str:
    name = entry.get("revision")
    return "active" if name == deployment.active else "candidate" if name == deployment.candidate else ""
