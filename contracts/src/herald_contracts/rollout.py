"""Which revision takes new work: the one record that a switch changes, and that every worker follows.

It is small on purpose. Messages never belong to a revision, so a switch, and a switch back, is one write of this
record and moves nothing.
"""

from typing import Annotated

from pydantic import Field, StringConstraints

from herald_contracts.messages import Wire

# As settings.AgentSettings.revision and a Kubernetes label value: letters and digits at both ends.
Revision = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]
NoRevision = Annotated[str, StringConstraints(max_length=0)]


class Rollout(Wire):
    """What is written under the key `rollout`.

    `active` takes new turns, `candidate` is being checked, `stable` was the last to pass its checks after promotion;
    the last two may be empty. `generation` grows by one with every write, so a person can tell two records apart.
    """

    active: Revision
    candidate: Revision | NoRevision = ""
    stable: Revision | NoRevision = ""
    generation: int = Field(ge=1, strict=True)

    def then(self, active: str, *, candidate: str = "", stable: str = "") -> "Rollout":
        """The record that follows this one. Raises pydantic.ValidationError for something that is no revision."""
        return Rollout(active=active, candidate=candidate, stable=stable, generation=self.generation + 1)
