"""state(A -> B -> C) == state(C), for specs that nobody wrote by hand, and whatever happens on the way.

HERALD_EXAMPLES=n looks at more of them.
"""

import os

from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from tests.comparable import differences
from tests.crd_schema import Value
from tests.generated import specs, updates
from tests.unit.operator.effects import refusal
from tests.unit.operator.test_generated_fields import TASTE
from tests.unit.operator.ways import BETWEEN, Event, begun, changed_to, settled

EXAMPLES = int(os.environ.get("HERALD_EXAMPLES", "30"))
# On the way a deployment may be suspended and held, in any order; at its end it answers.
ON_THE_WAY = TASTE.without("suspend").without("paused")


@st.composite
def ways(draw: st.DrawFn) -> tuple[list[Value], Value]:
    first = draw(specs(ON_THE_WAY))
    second = draw(updates(first, ON_THE_WAY))
    last = {**draw(updates(second, TASTE)), "suspend": False, "paused": False}
    if first["inference"].get("cache") and last["inference"].get("cache"):
        # Its claim has stayed though it was not asked for in between, which no rule of the CRD can know: an API server
        # refuses to make another of it.
        last["inference"] = {**last["inference"], "cache": first["inference"]["cache"]}
    return [first, second], last


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
@given(way=ways(), between=st.tuples(BETWEEN, BETWEEN), keda=st.booleans())
def test_only_the_last_spec_counts(
    way: tuple[list[Value], Value], between: tuple[list[Event], ...], keda: bool
) -> None:
    before, last = way
    assume(refusal(last) is None)
    world = begun(before[0], keda=keda)
    for spec, events in zip(before, between, strict=True):
        if spec is not before[0]:
            changed_to(world, spec)
        for event in events:
            event(world)
    changed_to(world, last)
    end = settled(world)
    alone = begun(last, keda=keda)
    # What people have put there is theirs, and the same for both.
    alone.secrets = {name: data for name, data in world.secrets.items() if name not in world.made_up}
    assert differences(end, settled(alone)) == []
