"""What the builders are given: the deployment, its owner reference, the operator's images, and where things are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from herald_contracts import settings
from herald_contracts.resources.v1alpha1 import AgentDeployment
from herald_operator.build import naming
from herald_operator.build.settings import Places

ETC = Path("/etc/herald")
NATS_PORT = 4222
POSTGRES_PORT = 5432
MILVUS_PORT = 19_530
TRITON_GRPC, TRITON_HTTP, TRITON_METRICS = 8001, 8000, 8002
GATEWAY_PORT = 8080
HEALTH_PORT = 9090
POSTGRES_CONNECTIONS = 300


@dataclass(frozen=True, slots=True)
class DefaultImages:
    """The images that this version of the operator brings, and how they are pulled."""

    gateway: str
    agent: str
    inference_cpu: str
    inference_gpu: str
    nats: str
    postgres: str
    milvus: str
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Context:
    """`deployment` has its instructions in place; `secrets` maps the name of each Secret in use to its digest.

    `restart` is what a person wrote to have gateway and workers begin anew: another text, another beginning.
    """

    deployment: AgentDeployment
    uid: str
    images: DefaultImages
    secrets: Mapping[str, str] = field(default_factory=dict)
    restart: str = ""

    @property
    def owner(self) -> naming.Owner:
        return naming.owner(self.deployment, self.uid)

    @property
    def nats_secret(self) -> str | None:
        """Name of the Secret with `user` and `password`; None where the external NATS asks for none."""
        external = self.deployment.spec.messaging.nats.external
        if external is None:
            return self.owner.child("nats")
        return external.secret_ref.name if external.secret_ref is not None else None

    @property
    def database_secret(self) -> str:
        """Name of the Secret that says where the database is, under `database_key`."""
        database, ours = self.deployment.spec.database, self.owner.child("postgres")
        if database.external is not None:
            return database.external.secret_ref.name
        return ours if database.cloud_native_pg is None else naming.made_by_cloudnativepg(self.deployment)

    @property
    def database_key(self) -> str:
        return "dsn" if self.deployment.spec.database.cloud_native_pg is None else "uri"

    @property
    def milvus_secret(self) -> str | None:
        external = self.deployment.spec.agent.memory.milvus.external
        return external.secret_ref.name if external is not None and external.secret_ref is not None else None

    @property
    def nats_url(self) -> str:
        external = self.deployment.spec.messaging.nats.external
        return external.url if external is not None else f"nats://{self.host('nats')}:{NATS_PORT}"

    @property
    def connections(self) -> int:
        """How many database connections the workers of one revision may use: two run at once during a switch."""
        external = self.deployment.spec.database.external
        return (external.connections if external is not None else POSTGRES_CONNECTIONS - 20) // 2

    def host(self, suffix: str) -> str:
        """Name of a child's Service, as pods of any namespace resolve it."""
        return f"{self.owner.child(suffix)}.{self.owner.namespace}.svc"

    def places(self, triton: str, embedder: str) -> Places:
        """Where the parts are, as pods see them; `triton` and `embedder` are host:port."""
        milvus = self.deployment.spec.agent.memory.milvus.external
        return Places(
            nats=settings.Nats(url=self.nats_url, credentials=ETC / "nats" if self.nats_secret else None),
            dsn_file=ETC / "postgres" / "dsn",
            secrets=ETC / "secrets",
            triton=triton,
            embedder=embedder,
            milvus_uri=milvus.url if milvus is not None else f"http://{self.host('milvus')}:{MILVUS_PORT}",
            milvus_credentials=ETC / "milvus" if self.milvus_secret else None,
            connections=self.connections,
        )
