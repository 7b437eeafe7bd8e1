"""What shapes a revision's answers, kept so that the revision can be brought back. Pure.

A revision is stored as the parts of the spec that shape answers, with the images that were in force when it was
made: an operator upgrade then changes no revision, and a rollback renders the old answers with today's replicas,
resources and secrets.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from herald_contracts.errors import PermanentError
from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_contracts.resources.v1alpha1.inference import Inference
from herald_operator.build.context import DefaultImages
from herald_operator.build.settings import instructions


class UnreadableRevision(PermanentError):
    """A stored revision was written by something else, or by a Herald that is too new."""


class Shape(BaseModel):
    """The data of a ControllerRevision."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    instructions: str
    inference: Inference
    history_messages: int
    memory: bool
    recall_milliseconds: int
    agent_image: str
    inference_image: str
    embedder_image: str

    def dump(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=False)


def shape(deployment: AgentDeployment, images: DefaultImages) -> Shape:
    """Of a deployment whose instructions are in place."""
    spec = deployment.spec
    on_gpu = spec.inference.gpu is not None
    return Shape(
        instructions=instructions(deployment),
        inference=spec.inference,
        history_messages=spec.agent.history_messages,
        memory=spec.agent.memory.enabled,
        recall_milliseconds=spec.agent.memory.recall_milliseconds,
        agent_image=spec.images.agent or images.agent,
        inference_image=spec.images.inference or (images.inference_gpu if on_gpu else images.inference_cpu),
        embedder_image=images.inference_cpu if on_gpu else spec.images.inference or images.inference_cpu,
    )


def load(data: object) -> Shape:
    """Raises UnreadableRevision."""
    try:
        return Shape.model_validate(data)
    except ValidationError as e:
        first = e.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise UnreadableRevision(f"the stored revision cannot be read ({where}: {first['msg']})") from None


def reshaped(deployment: AgentDeployment, kept: Shape) -> AgentDeployment:
    """The deployment as it answers in a kept revision: its shape, with everything else as the spec says today."""
    spec = deployment.spec
    today = spec.inference
    same_kind = (today.backend, today.engine) == (kept.inference.backend, kept.inference.engine)
    changes: dict[str, Any] = {}
    if same_kind:
        changes = {
            "replicas": today.replicas,
            "resources": today.resources,
            "cache": today.cache,
            "secret_ref": today.secret_ref,
        }
        if today.gpu is not None and kept.inference.gpu is not None:
            changes["gpu"] = today.gpu.model_copy(update={"count": kept.inference.gpu.count})
        if today.openai is not None and kept.inference.openai is not None:
            reference = today.openai.secret_ref
            changes["openai"] = kept.inference.openai.model_copy(update={"secret_ref": reference})
    memory = spec.agent.memory.model_copy(
        update={"enabled": kept.memory, "recall_milliseconds": kept.recall_milliseconds}
    )
    agent = spec.agent.model_copy(update={"history_messages": kept.history_messages, "memory": memory})
    images = spec.images.model_copy(update={"agent": kept.agent_image, "inference": kept.inference_image})
    new = spec.model_copy(
        update={
            "instructions": kept.instructions,
            "instructions_from": None,
            "inference": kept.inference.model_copy(update=changes),
            "agent": agent,
            "images": images,
        }
    )
    return deployment.model_copy(update={"spec": new})
