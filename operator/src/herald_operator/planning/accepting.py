"""May this resource be carried out? Its spec, and what it refers to. Pure.

The API server refuses most of what is wrong; what is left (references, a resource older than a rule) is said here, with
the field's path and the fix.
"""

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from herald_contracts.resources.parse import InvalidResource, Problem, explain, with_instructions
from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_operator.build.cloudnativepg import KIND
from herald_operator.build.history import from_object
from herald_operator.build.inference import BUILT_IN_MODEL, CACHE
from herald_operator.build.naming import Object
from herald_operator.build.secrets import Wanted, lacking, wanted
from herald_operator.build.settings import SCRIPTED
from herald_operator.planning.observed import Observed


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing is done: `reason` for machines, `message` for people."""

    reason: str
    message: str


def parse(resource: Object) -> AgentDeployment | Refusal:
    """The resource as a model. Its instructions may still be elsewhere."""
    metadata = resource["metadata"]
    document = {
        "apiVersion": resource.get("apiVersion"),
        "kind": resource.get("kind"),
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
        "spec": resource.get("spec"),
    }
    try:
        return AgentDeployment.model_validate(document)
    except ValidationError as e:
        return Refusal("InvalidSpec", _sentence(explain(e, AgentDeployment)))


def referenced(deployment: AgentDeployment) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the Secrets and of the ConfigMaps that have to be read."""
    reference = deployment.spec.instructions_from
    texts = frozenset({reference.name}) if reference is not None else frozenset[str]()
    return frozenset(w.name for w in wanted(deployment)), texts


def remembered(seen: Observed) -> frozenset[str]:
    """Names of the Secrets that stored revisions refer to: one of them may be answering."""
    kept = [r.shape.inference for b in seen.of_kind("ControllerRevision") if (r := from_object(b)) and r.shape]
    references = [r for i in kept for r in (i.secret_ref, i.openai.secret_ref if i.openai else None)]
    return frozenset(r.name for r in references if r is not None)


def resolve(deployment: AgentDeployment, seen: Observed) -> AgentDeployment | Refusal:
    """The deployment with its instructions in place, once all that it refers to is there."""
    reference = deployment.spec.instructions_from
    if reference is not None:
        text = (seen.texts.get(reference.name) or {}).get(reference.key)
        if text is None:
            problem = Problem(
                "spec.instructionsFrom",
                f"there is no ConfigMap {reference.name!r} with the key {reference.key!r}",
                f"kubectl -n {deployment.metadata.namespace} create configmap {reference.name} "
                f"--from-file={reference.key}=FILE",
            )
            return Refusal("ReferenceMissing", str(problem))
        try:
            deployment = with_instructions(deployment, text)
        except InvalidResource as e:
            return Refusal("InvalidSpec", str(e))
    nowhere = _model_nowhere(deployment)
    if nowhere is not None:
        return Refusal("InvalidSpec", str(nowhere))
    needed = [w for w in wanted(deployment) if w.made != "always" and not (w.made == "later" and _unused(seen))]
    problems = [p for w in needed if (p := _missing(w, deployment, seen)) is not None]
    return Refusal("ReferenceMissing", _sentence(problems)) if problems else deployment


def digests(deployment: AgentDeployment, seen: Observed, key: bytes) -> Mapping[str, str]:
    """A digest of each Secret that was read: keyed, because it stands where more people may read than the Secret.

    Of one that another operator makes only what is used counts: it may add keys of its own, and nobody need restart.
    """
    used = {w.name: w.keys for w in wanted(deployment) if w.made == "later"}
    found = {name: data for name, data in seen.secrets.items() if data is not None}
    return {
        name: _digest({k: v for k, v in data.items() if k in used.get(name, data)}, key) for name, data in found.items()
    }


def _unused(seen: Observed) -> bool:
    """Whether nobody works yet with what another operator makes: then it may still come.

    Once somebody does, a Secret that is gone is as bad as that of a person, unless what makes it is gone too.
    """
    return next(iter(seen.of_kind("ReplicaSet")), None) is None or next(iter(seen.of_kind(KIND)), None) is None


def _model_nowhere(deployment: AgentDeployment) -> Problem | None:
    """On one machine a model may be any file there; a pod has its image and the volume of `cache`."""
    inference = deployment.spec.inference
    if inference.backend != "triton" or inference.engine != "cpu" or inference.model in (BUILT_IN_MODEL, SCRIPTED):
        return None
    if inference.cache is not None and inference.model.startswith(f"{CACHE}/"):
        return None
    return Problem(
        "spec.inference.model",
        f"engine cpu has {BUILT_IN_MODEL} in its image, and what lies on the volume of spec.inference.cache",
        f"name a GGUF file as {CACHE}/NAME.gguf and give `cache`, or use engine llmapi or backend openai",
    )


def _digest(data: Mapping[str, bytes], key: bytes) -> str:
    made = hmac.new(key, digestmod="sha256")
    for name in sorted(data):
        for part in (name.encode(), data[name]):
            made.update(len(part).to_bytes(8) + part)
    return made.hexdigest()[:16]


def _missing(want: Wanted, deployment: AgentDeployment, seen: Observed) -> Problem | None:
    found = lacking(want, deployment.metadata.namespace, seen.secrets.get(want.name))
    if found is None:
        return None
    if want.made == "later":
        return Problem(
            want.path, found.problem, "CloudNativePG made it once, and makes it again: see its operator's log"
        )
    return Problem(want.path, found.problem, found.command)


def _sentence(problems: list[Problem]) -> str:
    shown = "; ".join(str(p) for p in problems[:5])
    return shown if len(problems) <= 5 else f"{shown}; and {len(problems) - 5} more"


def decoded(body: Object | None) -> dict[str, bytes] | None:
    """The values of a Secret; None where there is none."""
    if body is None:
        return None
    return {key: base64.b64decode(value) for key, value in (body.get("data") or {}).items()}
