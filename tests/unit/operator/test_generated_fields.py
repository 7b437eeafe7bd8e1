"""Every field of the CRD, in specs that nobody wrote by hand: another value is refused by name, or does something.

`test_fields` looks at chosen specs, leaf by leaf. Here the specs come from the schema, so that fields meet that nobody
thought of together, and a new field is looked at from its first day. HERALD_EXAMPLES=n looks at more.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from herald_contracts.resources.v1alpha1 import AgentDeployment, Spec
from herald_operator.build.inference import BUILT_IN_MODEL, CACHE
from herald_operator.planning import accepting
from herald_operator.planning.accepting import Refusal
from tests.crd_schema import Value, paths
from tests.generated import Taste, other_at, specs
from tests.unit.operator.effects import differing, document, refusal
from tests.unit.operator.imagined import resource

EXAMPLES = int(os.environ.get("HERALD_EXAMPLES", "2"))
MODELS = st.sampled_from(("scripted", BUILT_IN_MODEL, f"{CACHE}/chat.gguf", "Qwen/Qwen3-8B"))
# One that is suspended or held shows little of the rest.
TASTE = Taste(
    {"suspend": st.just(False), "paused": st.just(False), "inference.model": MODELS},
    small={"replicas": 5, "min": 5, "max": 8},
)


@dataclass(frozen=True, slots=True)
class Idle:
    """Fields below `path` do nothing while `when`, and why that is right. `sometimes`: not every other value does."""

    path: str
    when: Callable[[Spec], bool]
    why: str
    sometimes: bool = False


def _no_memory(spec: Spec) -> bool:
    return not spec.agent.memory.enabled


def _nothing_kept(spec: Spec) -> bool:
    mine = (spec.messaging.nats.external, spec.database.external, spec.agent.memory.milvus.external or _no_memory(spec))
    return all(mine) and spec.inference.cache is None


_OFF = "of memory that is off: it waits until memory is on again"
IDLE = (
    Idle("agent.memory.recallMilliseconds", _no_memory, _OFF),
    Idle("agent.memory.milvus.managed", _no_memory, _OFF),
    Idle("images.milvus", _no_memory, _OFF),
    Idle(
        "inference.resources.limits",
        lambda s: s.inference.gpu is not None,
        "how many GPUs there are says gpu.count, whatever stands here",
        sometimes=True,
    ),
    Idle("deletionPolicy", _nothing_kept, "there is nothing that could be kept"),
    Idle(
        "database.external.connections",
        lambda s: True,
        "shared out among all workers: a few more or less may be the same for each",
        sometimes=True,
    ),
)


def parsed(spec: Value) -> AgentDeployment | Refusal:
    return accepting.parse(resource(document=document(spec)))


def named(path: str, message: str) -> bool:
    """Whether a refusal tells which field it is about: by its name, or by that of what it stands in."""
    return any(part in message for part in path.replace("[]", "").split("."))


@pytest.mark.parametrize("path", paths())
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.generate,),  # to make a case smaller takes minutes
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_another_value_does_something_or_is_refused_by_name(path: str, data: st.DataObject) -> None:
    taste = TASTE.without(path)
    before = data.draw(specs(taste, having=path), label="before")
    assume(refusal(before) is None)
    after = data.draw(other_at(before, path, taste), label="after")
    why = refusal(after)
    if why is not None:
        assert named(path, why.message), f"{path}: {why.message}"
        return
    old, new = parsed(before), parsed(after)
    assert isinstance(old, AgentDeployment)
    assert isinstance(new, AgentDeployment)
    if old.spec == new.spec:
        return  # the same in other words
    idle = [i for i in IDLE if path.startswith(i.path) and i.when(old.spec)]
    effect = differing(before, after)
    assert effect or idle, f"{path} does nothing"
    assert not effect or all(i.sometimes for i in idle), f"{path} does something ({effect}), so this is wrong: {idle}"
