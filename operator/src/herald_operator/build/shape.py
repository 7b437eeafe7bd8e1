"""What shapes a revision's answers, kept so that the revision can be brought back. Pure.

A revision is stored as the parts of the spec that shape answers, with the images that were in force when it was
made: an operator upgrade then changes no revision, and a rollback renders the old answers with today's replicas,
resources and secrets.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from herald_contracts.errors import PermanentError
from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_contracts.resources.v1alpha1.inference import Inference
from herald_operator.build.context import Context, DefaultImages
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
        # What was read is written back as it was, without the fields that a later Herald has added: the data of a
        # ControllerRevision cannot be changed.
        return self.model_dump(mode="json", by_alias=False, exclude_unset=True)


def shape(deployment: AgentDeployment, images: DefaultImages) -> Shape:
    """Of a deployment whose instructions are in place."""
    spec = deployment.spec
    on_gpu = spec.inference.gpu is not None
    return Shape(
        version=1,
        instructions=instructions(deployment),
        # With every default written out: a later Herald may have others.
        inference=Inference.model_validate(spec.inference.model_dump()),
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


def at(context: Context, kept: Shape) -> Context:
    """The context in which a kept revision is rendered."""
    return replace(context, deployment=reshaped(context.deployment, kept))


def remembering(context: Context, running: Iterable[Shape]) -> Context:
    """The context in which servers are rendered that any of the running revisions needs."""
    spec = context.deployment.spec
    if spec.agent.memory.enabled or not any(shape_.memory for shape_ in running):
        return context
    memory = spec.agent.memory.model_copy(update={"enabled": True})
    new = spec.model_copy(update={"agent": spec.agent.model_copy(update={"memory": memory})})
    return replace(context, deployment=context.deployment.model_copy(update={"spec": new}))


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
        then = kept.inference.openai
        # A key is only good for its own endpoint, and no business of another.
        if today.openai is not None and then is not None and today.openai.base_url == then.base_url:
            changes["openai"] = today.openai
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
