"""health.lua in the Lua that Argo CD runs it with (5.1), on every state that the operator reports."""

from datetime import UTC, datetime
from typing import Any

import pytest
from lupa.lua51 import LuaRuntime, lua_type
from tools.gen import argocd

from herald_operator.planning import status
from herald_operator.planning.rollout import Decision

GENERATION = 3


def judge(resource: dict[str, Any], script: str = argocd.SCRIPT.read_text()) -> tuple[str, str]:
    """Status and message, as Argo CD gets them."""
    lua = LuaRuntime(unpack_returned_tuples=True)  # type: ignore[call-arg, unused-ignore]
    lua.globals().obj = _table(lua, resource)
    found = lua.execute(script)
    assert lua_type(found) == "table"
    return found["status"], found["message"]


def _table(lua: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({k: _table(lua, v) for k, v in value.items()})
    if isinstance(value, list):
        return lua.table_from([_table(lua, v) for v in value])
    return value


def resource(*conditions: tuple[str, str, str], spec: dict[str, Any] | None = None, observed: int = GENERATION) -> Any:
    """`conditions` are type, status, reason; each message is the reason in lower case."""
    made = [{"type": t, "status": s, "reason": r, "message": r.lower()} for t, s, r in conditions]
    return {
        "metadata": {"name": "support", "generation": GENERATION},
        "spec": spec or {},
        "status": {"observedGeneration": observed, "conditions": made},
    }


ACCEPTED = ("Accepted", "True", "Accepted")
IDLE = ("Progressing", "False", "Idle")
PROMOTED = ("Promoted", "True", "Promoted")
READY = ("Ready", "True", "Ready")
WAITING = (("Progressing", "False", "WaitingForPromotion"), ("Promoted", "False", "WaitingForPromotion"))
FAILED = (("Progressing", "False", "Failed"), ("Promoted", "False", "RevisionFailed"))
STARTING = (("Progressing", "True", "Starting"), ("Promoted", "False", "Starting"))


@pytest.mark.parametrize(
    ("seen", "health", "message"),
    [
        ({"metadata": {"generation": 1}, "spec": {}}, "Progressing", "the operator has not looked at it yet"),
        ({"metadata": {}, "status": {}}, "Progressing", "the operator has not looked at it yet"),
        ({"metadata": {"generation": 1}, "status": {"phase": "Deleting"}}, "Progressing", "not looked at it yet"),
        ({"metadata": {"generation": 1}, "status": {"conditions": []}}, "Progressing", "not looked at this version"),
        (resource(ACCEPTED, IDLE, PROMOTED, READY), "Healthy", "ready"),
        (resource(ACCEPTED, IDLE, PROMOTED, READY, observed=2), "Progressing", "not looked at this version"),
        (resource(("Accepted", "False", "InvalidSpec"), ("Ready", "False", "InvalidSpec")), "Degraded", "invalidspec"),
        (resource(ACCEPTED, *STARTING, ("Ready", "False", "Starting")), "Progressing", "starting"),
        (resource(ACCEPTED, *STARTING, ("Ready", "False", "Trouble")), "Degraded", "trouble"),
        (resource(ACCEPTED, *STARTING, READY), "Progressing", "starting"),
        (
            resource(ACCEPTED, ("Progressing", "True", "Switching"), ("Promoted", "False", "x"), READY),
            "Progressing",
            "sw",
        ),
        (resource(ACCEPTED, *WAITING, READY), "Suspended", "waitingforpromotion"),
        (resource(ACCEPTED, *FAILED, READY), "Degraded", "revisionfailed"),
        (resource(ACCEPTED, *FAILED, ("Ready", "False", "Trouble")), "Degraded", "revisionfailed"),
        (resource(ACCEPTED, IDLE, PROMOTED, ("Ready", "False", "Trouble")), "Degraded", "trouble"),
        (resource(ACCEPTED, IDLE, PROMOTED, ("Ready", "False", "Starting")), "Progressing", "starting"),
        (
            resource(ACCEPTED, ("Progressing", "False", "Stuck"), ("Promoted", "False", "Stuck"), READY),
            "Progressing",
            "",
        ),
        (resource(ACCEPTED, ("Ready", "False", "Suspended"), spec={"suspend": True}), "Suspended", "spec.suspend"),
        (resource(ACCEPTED, PROMOTED, READY, spec={"paused": True}), "Suspended", "spec.paused"),
        (resource(ACCEPTED, *FAILED, READY, spec={"paused": True}), "Degraded", "revisionfailed"),
        (resource(ACCEPTED), "Progressing", "the operator is still looking"),
        (resource(ACCEPTED, ("Ready", "Unknown", "Asking")), "Progressing", "asking"),
        ({"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}, "Healthy", "it answers"),
    ],
)
def test_health(seen: dict[str, Any], health: str, message: str) -> None:
    found = judge(seen)
    assert (found[0], message in found[1]) == (health, True), found


@pytest.mark.parametrize(
    ("reason", "active", "candidate", "health"),
    [
        ("Idle", "new", "", "Healthy"),
        ("Starting", "", "new", "Progressing"),
        ("Starting", "old", "new", "Progressing"),
        ("Switching", "old", "new", "Progressing"),
        ("WaitingForPromotion", "old", "new", "Suspended"),
        ("Failed", "old", "", "Degraded"),
        ("Stuck", "old", "new", "Progressing"),
    ],
)
def test_what_the_operator_says_is_understood(reason: str, active: str, candidate: str, health: str) -> None:
    """Reasons are a promise between two programs: one that gets another name would make the script blind."""
    decision = Decision({}, (), active, candidate, None, reason, "a message")
    verdicts = [status.Verdict("Accepted", "True", "Accepted"), *status.of_rollout(decision, paused=False)]
    verdicts.append(status.summary(verdicts, active=active, suspended=False))
    seen = resource() | {"status": {"observedGeneration": GENERATION}}
    seen["status"]["conditions"] = status.conditions(verdicts, {}, GENERATION, datetime.now(UTC))
    assert judge(seen)[0] == health


def test_applications_pass_on_what_they_say_themselves() -> None:
    script = argocd.config_map()["data"]["resource.customizations.health.argoproj.io_Application"]
    assert judge({"metadata": {}}, script) == ("Progressing", "")
    assert judge({"status": {"health": {"status": "Degraded"}}}, script) == ("Degraded", "")
