"""Which Secrets a deployment refers to and which keys it needs: one list for one machine and a cluster. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from herald_contracts.resources.v1alpha1 import AgentDeployment, Spec
from herald_contracts.resources.v1alpha1.channels import SECRET_KEYS
from herald_operator.build.naming import made_by_cloudnativepg
from herald_operator.build.settings import session_secret


@dataclass(frozen=True, slots=True)
class Wanted:
    """One Secret, the field that refers to it and the keys that it must have.

    `made` says where somebody may make it up when nobody gave it: nowhere, on one machine only (whoever signs
    there is the same person), or everywhere; `later` is by another operator, once it has what we make.
    """

    name: str
    path: str
    keys: tuple[str, ...]
    made: Literal["never", "locally", "always", "later"] = "never"
    kind: Literal["text", "whsec"] = "text"
    used_by: Literal["gateway", "agent", "inference", "all"] = "gateway"


@dataclass(frozen=True, slots=True)
class Lacking:
    """What a Secret lacks: one sentence about it, and what to type."""

    problem: str
    command: str


def lacking(want: Wanted, namespace: str, data: Mapping[str, object] | None) -> Lacking | None:
    """What is missing in `data`, the Secret's keys and values; None stands for no Secret. None: nothing is.

    Values come from files, so that they are in no history of a shell and no list of processes.
    """
    absent = [key for key in want.keys if not (data or {}).get(key)]
    if not absent:
        return None
    files = " ".join(f"--from-file={key}=FILE" for key in absent)
    command = f"kubectl -n {namespace} create secret generic {want.name} {files}"
    if data is None:
        return Lacking(f"there is no Secret {want.name!r}", command)
    keys = " and no key ".join(repr(key) for key in absent)
    # A merge: keys that are there stay.
    patch = f"kubectl -n {namespace} patch secret {want.name} --patch-file=/dev/stdin"
    return Lacking(f"the Secret {want.name!r} has no key {keys}", f"{command} --dry-run=client -o json | {patch}")


def wanted(deployment: AgentDeployment) -> tuple[Wanted, ...]:
    """Every Secret that the deployment needs, in the order of its fields."""
    spec = deployment.spec
    return (*_channels(deployment), *_servers(deployment), *_inference(spec))


def _channels(deployment: AgentDeployment) -> Iterator[Wanted]:
    for index, channel in enumerate(deployment.spec.channels):
        path = f"spec.channels[{index}].{channel.type}"
        if channel.web is not None:
            yield Wanted(session_secret(deployment, channel.name), path, ("session-key",), made="always")
        elif channel.secret is not None:
            yield Wanted(
                channel.secret,
                f"{path}.secretRef.name",
                SECRET_KEYS[channel.type],
                made="never" if channel.feishu is not None else "locally",
                kind="whsec" if channel.standard_webhooks is not None else "text",
            )


def _servers(deployment: AgentDeployment) -> Iterator[Wanted]:
    spec = deployment.spec
    nats, database, milvus = spec.messaging.nats.external, spec.database.external, spec.agent.memory.milvus.external
    if nats is not None and nats.secret_ref is not None:
        path = "spec.messaging.nats.external.secretRef.name"
        yield Wanted(nats.secret_ref.name, path, ("user", "password"), used_by="all")
    if database is not None:
        yield Wanted(database.secret_ref.name, "spec.database.external.secretRef.name", ("dsn",), used_by="agent")
    if spec.database.cloud_native_pg is not None:
        login = made_by_cloudnativepg(deployment)
        yield Wanted(login, "spec.database.cloudNativePG", ("uri",), made="later", used_by="agent")
    if milvus is not None and milvus.secret_ref is not None:
        path = "spec.agent.memory.milvus.external.secretRef.name"
        yield Wanted(milvus.secret_ref.name, path, ("token",), used_by="agent")


def _inference(spec: Spec) -> Iterator[Wanted]:
    openai = spec.inference.openai
    if openai is not None and openai.secret_ref is not None:
        yield Wanted(openai.secret_ref.name, "spec.inference.openai.secretRef.name", ("api-key",), used_by="agent")
    if spec.inference.secret_ref is not None:
        yield Wanted(spec.inference.secret_ref.name, "spec.inference.secretRef.name", ("token",), used_by="inference")
