"""What the rollout decision looks at: revisions as they are stored, and what each has to run with. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from herald_operator.build import inference, migration, workers
from herald_operator.build.context import Context
from herald_operator.build.history import from_object, to_object
from herald_operator.build.naming import Object, Owner
from herald_operator.build.settings import revision
from herald_operator.build.shape import shape
from herald_operator.planning import children, readiness
from herald_operator.planning.observed import Observed
from herald_operator.planning.readiness import Readiness
from herald_operator.planning.rollout import Commands, Crew, Seen

_COMMANDS = ("promote", "abort", "retry", "rollback-to")
_ANNOTATION = "herald.dev/"


def look(context: Context, seen: Observed, *, database_ready: bool) -> Seen:
    """The rollout as it stands at this moment."""
    spec = context.deployment.spec
    revisions = {r.name: r for body in seen.of_kind("ControllerRevision") if (r := from_object(body)) is not None}
    active = seen.messaging.record.active if seen.messaging.record is not None else ""
    wanted, made = revision(context.deployment), shape(context.deployment, context.images)
    crews: dict[str, Crew] = {}
    ready: set[str] = set()
    waits: dict[str, str] = {}
    for name in {*revisions, wanted, active} - {""}:
        crew = workers.name(context, name)
        if seen.child("ReplicaSet", crew) is not None:
            size = children.crew_size(context, seen, active)
            state = readiness.workload(seen, "ReplicaSet", crew, size, "its workers are starting")
            crews[name] = Crew(state.ready, state.message)
        kept = revisions[name].shape if name in revisions else None
        if kept is None and name == wanted:
            kept = made
        if kept is None:
            continue
        job = readiness.job(seen, migration.name(context, kept))
        steps = [("the migration", job if database_ready else Readiness(False, "waits for the database"))]
        for unit in inference.units(context, kept):
            state = readiness.workload(seen, "Deployment", unit.name, unit.replicas, "is loading its models")
            steps.append(("inference", state))
        behind = [(part, state) for part, state in steps if not state.ready]
        if not behind:
            ready.add(name)
        else:
            part, state = next((step for step in behind if step[1].trouble), behind[0])
            waits[name] = f"{part} {state.message}"
    return Seen(
        wanted=wanted,
        shape=made,
        spec=spec.rollout,
        now=seen.now,
        revisions=revisions,
        record=seen.messaging.record,
        known=seen.messaging.known and not spec.suspend,
        paused=spec.paused,
        crews=crews,
        ready=frozenset(ready),
        waits=waits,
        commands=_commands(seen.annotations),
    )


def halted(seen: Observed) -> tuple[Object, ...]:
    """Revisions whose time runs, with the note that it does not: while nothing is carried out, nobody comes up.

    It begins anew, as a whole, when things go on.
    """
    metadata = seen.resource["metadata"]
    owner = Owner(metadata["namespace"], metadata["name"], metadata["uid"])
    known = (from_object(body) for body in seen.of_kind("ControllerRevision"))
    return tuple(to_object(owner, replace(r, counting=False)) for r in known if r and r.shape and r.counting)


def asked(seen: Observed) -> tuple[str, ...]:
    """Commands that a person has written and nobody has consumed yet."""
    return tuple(name for name in _COMMANDS if f"{_ANNOTATION}{name}" in seen.annotations)


def _commands(notes: Mapping[str, str]) -> Commands:
    return Commands(
        promote=f"{_ANNOTATION}promote" in notes,
        abort=f"{_ANNOTATION}abort" in notes,
        retry=f"{_ANNOTATION}retry" in notes,
        rollback_to=notes.get(f"{_ANNOTATION}rollback-to", ""),
    )
