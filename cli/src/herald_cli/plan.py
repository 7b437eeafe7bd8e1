"""What `herald up` will start, in what order, with which settings: decided before anything is started.

Pure but for asking the installed packages where their binaries are. The order is a graph: what does not need
something else starts at once.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from herald_cli import leftovers
from herald_cli.ports import Ports
from herald_cli.servers import milvus, nats, postgres, services, triton
from herald_cli.servers.program import File, Program
from herald_cli.state import Choices, StateFolder
from herald_contracts import settings
from herald_contracts.errors import ConfigurationError
from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_contracts.streams import Topology, topology
from herald_contracts.subjects import Names
from herald_operator.build import settings as render

GATEWAY_PORT = 8080
GATEWAY_HEALTH = "gateway-health"  # the name of the port of its probes and metrics
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
GIB = 2**30
_MOST_STORAGE = 8 * GIB
_LEAST_STORAGE = GIB // 4
# Names of what is done once, between the servers and the services.
STREAMS, DATABASE = "streams", "database"


@dataclass(frozen=True, slots=True)
class Plan:
    """`programs` in the order in which they are shown; `stop_order` in groups, each stopped before the next."""

    programs: tuple[Program, ...]
    stop_order: tuple[tuple[str, ...], ...]
    files: tuple[File, ...]
    names: Names
    streams: Topology
    dsn_file: Path
    web: str
    gateway: str
    revision: str


@dataclass(frozen=True, slots=True)
class Passwords:
    """Of Herald's own servers; made once and kept in the state folder."""

    nats_user: str
    nats: str
    postgres: str


def choose(deployment: AgentDeployment, kept: Choices, ports: Ports, *, free_bytes: int) -> Choices:
    """Ports for every part, and how much the streams may hold. What was chosen before stays where it can.

    Raises ConfigurationError when the folder is another deployment's, the port of the file is taken, the disk is too
    small, or the file asks for what only a cluster has.
    """
    _refuse_what_needs_a_cluster(deployment)
    whose = f"{deployment.metadata.namespace}/{deployment.metadata.name}"
    if kept.deployment not in ("", whose):
        raise ConfigurationError(
            f"this state folder keeps the messages of {kept.deployment}, and the file says {whose}",
            path="metadata.name",
            hint="name another folder with --state, or delete this one with all that is in it",
        )
    host, wanted = deployment.spec.local.host, deployment.spec.local.port
    if wanted is not None:
        chosen = {"gateway": ports.exactly(wanted, host=host, path="spec.local.port")}
    else:
        chosen = {"gateway": ports.pick(kept.ports.get("gateway"), GATEWAY_PORT, host=host)}
    names = [GATEWAY_HEALTH, "nats", "nats-monitor", "postgres"]
    if render.triton_models(deployment):
        names += ["triton", "triton-http"]
    if deployment.spec.agent.memory.enabled:
        names.append("milvus")
    names += [f"agent-{number}" for number in range(1, deployment.spec.agent.least + 1)]
    for name in names:
        chosen[name] = ports.pick(kept.ports.get(name))
    storage = kept.storage or _storage(free_bytes)
    ports_ = {**kept.ports, **chosen}
    return kept.model_copy(update={"deployment": whose, "ports": ports_, "storage": storage})


def _refuse_what_needs_a_cluster(deployment: AgentDeployment) -> None:
    spec = deployment.spec
    own = "on one machine Herald brings its own"
    for path, there, problem in (
        ("spec.messaging.nats.external", spec.messaging.nats.external, own),
        ("spec.database.external", spec.database.external, own),
        ("spec.database.cloudNativePG", spec.database.cloud_native_pg, own),
        ("spec.agent.memory.milvus.external", spec.agent.memory.milvus.external, own),
        ("spec.inference.gpu", spec.inference.gpu, "TensorRT-LLM is run on a cluster only"),
    ):
        if there is not None:
            raise ConfigurationError(problem, path=path, hint="remove it from the file for this machine")


def _storage(free_bytes: int) -> int:
    storage = min(_MOST_STORAGE, free_bytes // 2)
    if storage < _LEAST_STORAGE:
        raise ConfigurationError(
            f"only {free_bytes // 2**20} MiB are free on this disk, Herald needs {2 * _LEAST_STORAGE // 2**20} MiB",
            path="--state",
            hint="free some space, or name a folder on another disk",
        )
    return storage


def make(
    deployment: AgentDeployment,
    folder: StateFolder,
    choices: Choices,
    passwords: Passwords,
    *,
    repository: Path,
    gguf: Path | None,
    chat_template: Path | None,
) -> Plan:
    """The whole plan. `gguf` is the chat model's file and None where Triton serves none."""
    names = Names(deployment.metadata.namespace, deployment.metadata.name)
    port = choices.ports
    storage = choices.storage or _MOST_STORAGE
    web_channels = tuple(channel.name for channel in deployment.spec.channels if channel.web is not None)
    places = render.Places(
        nats=settings.Nats(url=f"nats://127.0.0.1:{port['nats']}", credentials=folder.credentials / "nats"),
        dsn_file=folder.credentials / "postgres" / "dsn",
        secrets=folder.secrets,
        triton=f"127.0.0.1:{port.get('triton', 0)}",
        milvus_uri=f"http://127.0.0.1:{port.get('milvus', 0)}",
        connections=postgres.FOR_WORKERS,
        chat_template=chat_template,
    )
    servers = _servers(deployment, folder, choices, passwords, places, storage, repository, gguf)
    rendered = render.gateway(
        deployment,
        places,
        host=deployment.spec.local.host,
        port=port["gateway"],
        health_port=port[GATEWAY_HEALTH],
        public_hosts=public_hosts(deployment.spec.local.host),
    )
    gateway = services.gateway(folder.settings, rendered, (STREAMS,))
    agents = tuple(
        services.agent(
            folder.settings,
            f"agent-{number}",
            render.agent(deployment, places, health_port=port[f"agent-{number}"]),
            (STREAMS, DATABASE),
        )
        for number in range(1, deployment.spec.agent.least + 1)
    )
    return Plan(
        programs=(*servers, gateway, *agents),
        stop_order=(("gateway",), tuple(a.name for a in agents), tuple(s.name for s in servers)),
        files=(
            File(places.dsn_file, postgres.dsn(port["postgres"], passwords.postgres)),
            File(folder.credentials / "nats" / "user", passwords.nats_user),
            File(folder.credentials / "nats" / "password", passwords.nats),
        ),
        names=names,
        streams=topology(names, web_channels=web_channels, storage=storage),
        dsn_file=places.dsn_file,
        web=f"{gateway.address}/channels/{web_channels[0]}/" if web_channels else "",
        gateway=gateway.address,
        revision=render.revision(deployment),
    )


def public_hosts(host: str) -> tuple[str, ...]:
    """By which names a browser may ask for the page of a gateway that listens on `host`; () for any.

    Who listens for this machine alone is asked by its own names alone: another name that leads here is a trick (DNS
    rebinding). Who listens for others has names that we cannot know.
    """
    if host in _LOOPBACK:
        return _LOOPBACK
    try:
        alone = ipaddress.ip_address(host).is_loopback
    except ValueError:
        return ()
    return (*_LOOPBACK, host) if alone else ()


def _servers(
    deployment: AgentDeployment,
    folder: StateFolder,
    choices: Choices,
    passwords: Passwords,
    places: render.Places,
    storage: int,
    repository: Path,
    gguf: Path | None,
) -> tuple[Program, ...]:
    port = choices.ports
    models = render.triton_models(deployment)
    made = [
        nats.program(
            folder.server("nats"),
            port=port["nats"],
            monitor_port=port["nats-monitor"],
            user=passwords.nats_user,
            password=passwords.nats,
            storage=storage,
        ),
        postgres.program(
            folder.server("postgres"),
            port=port["postgres"],
            password_file=folder.credentials / "postgres" / "password",
        ),
    ]
    if models:
        made.append(
            triton.program(
                folder.server("triton"),
                repository=repository,
                models=models,
                parameters=chat_parameters(deployment, gguf),
                grpc_port=port["triton"],
                http_port=port["triton-http"],
                litter=leftovers.litter(choices),
            )
        )
    if deployment.spec.agent.memory.enabled:
        made.append(milvus.program(folder.server("milvus"), port=port["milvus"]))
    return tuple(made)


def chat_parameters(deployment: AgentDeployment, gguf: Path | None) -> Mapping[str, str]:
    """Environment of the models, as `inference/local/README.md` names it."""
    if gguf is None:
        return {}
    inference = deployment.spec.inference
    return {
        "HERALD_CHAT_GGUF": str(gguf),
        "HERALD_CHAT_CONTEXT": str(inference.max_input_tokens + inference.max_tokens),
    }
