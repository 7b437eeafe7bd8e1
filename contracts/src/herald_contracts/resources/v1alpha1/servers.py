"""spec.messaging and spec.database, and where memory's vectors live: Herald's own servers, or yours."""

from typing import ClassVar, Literal

from pydantic import Field, StrictInt, model_validator

from herald_contracts.resources.v1alpha1.schema import (
    Bytes,
    HttpUrl,
    NatsUrl,
    ObjectName,
    Resource,
    Resources,
    Rule,
    SecretRef,
)

_ONE = "has(self.managed) && has(self.external)"
_ONE_MESSAGE = "either managed or external, not both"
FIXED = "a volume keeps its size and class for life: back up, and create the deployment anew"
GROWS = "CloudNativePG makes a volume larger, never smaller, and keeps its class: dump, create the deployment anew"
_ONE_DATABASE = "at most one of managed, cloudNativePG, external"


class Volume(Resource):
    """A PersistentVolumeClaim, which stays when the deployment is deleted unless `deletionPolicy: Delete`."""

    size: Bytes = Field(description="such as 10Gi")
    storage_class_name: ObjectName | None = Field(default=None, description="none: the cluster's default")


# Of each managed server that is not told otherwise. The rules below know it too: leaving it out means this size.
DEFAULT_VOLUME = Volume(size="10Gi")


class ManagedNats(Resource):
    """A NATS server with JetStream of the deployment's own."""

    replicas: Literal[1, 3] = Field(
        default=1, description="3 keeps every message three times and survives a node; it stays what it is for life"
    )
    storage: Volume = Field(default=DEFAULT_VOLUME, description="of each server")
    resources: Resources | None = Field(default=None, description="of each server's container")


class ExternalNats(Resource):
    """Your own NATS with JetStream. Keys of the Secret: `user`, `password`."""

    url: NatsUrl = Field(description="nats://host:port")
    secret_ref: SecretRef | None = Field(default=None, description="Secret with `user` and `password`")
    replicas: StrictInt = Field(default=1, ge=1, le=5, description="copies of each stream")
    storage: Bytes = Field(default="8Gi", description="what the streams may hold, all together")


class Nats(Resource):
    """Where messages are kept until they are answered."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule(f"!({_ONE})", _ONE_MESSAGE),)

    managed: ManagedNats | None = Field(default=None, description="the default")
    external: ExternalNats | None = Field(default=None, description="your own")

    @model_validator(mode="after")
    def _one(self) -> "Nats":
        if self.managed is not None and self.external is not None:
            raise ValueError(_ONE_MESSAGE)
        return self


class Messaging(Resource):
    """The way between gateway and workers."""

    nats: Nats = Field(default=Nats(), description="NATS with JetStream: managed here, or yours")


class ManagedPostgres(Resource):
    """One PostgreSQL server of the deployment's own: for trying out, and for teams that can wait for a restart."""

    storage: Volume = Field(default=DEFAULT_VOLUME, description="its volume")
    resources: Resources | None = Field(default=None, description="of its container")


class CloudNativePG(Resource):
    """A PostgreSQL that fails over, run by the operator CloudNativePG 1.28 or later, which a cluster must have.

    Two instances have every turn before it counts, so that a failover neither loses one nor answers it again.
    """

    instances: StrictInt = Field(
        default=3,
        ge=1,
        le=9,
        description="with 3 or more one may fail; 2 keep every turn twice, but stop while one of them is away",
    )
    storage: Volume = Field(default=DEFAULT_VOLUME, description="of each instance; it may grow")
    resources: Resources | None = Field(default=None, description="of each instance's container")


class ExternalPostgres(Resource):
    """Your own PostgreSQL, 15 or later. Key of the Secret: `dsn`."""

    secret_ref: SecretRef = Field(description="Secret with `dsn`: postgresql://user:password@host/database")
    connections: StrictInt = Field(default=100, ge=4, le=5_000, description="how many all workers may open together")


class Database(Resource):
    """PostgreSQL: the truth about every turn."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.managed), has(self.cloudNativePG), has(self.external)].filter(x, x).size() <= 1", _ONE_DATABASE
        ),
    )

    managed: ManagedPostgres | None = Field(default=None, description="the default")
    cloud_native_pg: CloudNativePG | None = Field(
        default=None, alias="cloudNativePG", description="one that fails over; on a cluster with CloudNativePG only"
    )
    external: ExternalPostgres | None = Field(default=None, description="your own")

    @model_validator(mode="after")
    def _one(self) -> "Database":
        if sum(kind is not None for kind in (self.managed, self.cloud_native_pg, self.external)) > 1:
            raise ValueError(_ONE_DATABASE)
        return self


class ManagedMilvus(Resource):
    """One Milvus of the deployment's own."""

    storage: Volume = Field(default=DEFAULT_VOLUME, description="its volume")
    resources: Resources | None = Field(default=None, description="of its container")


class ExternalMilvus(Resource):
    """Your own Milvus 2.5 or later. Key of the Secret: `token`."""

    url: HttpUrl = Field(description="http://host:port")
    secret_ref: SecretRef | None = Field(default=None, description="Secret with `token`: user:password, or an API key")


class Milvus(Resource):
    """Where the vectors of memory live. They can be computed again: the facts themselves are in PostgreSQL."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule(f"!({_ONE})", _ONE_MESSAGE),)

    managed: ManagedMilvus | None = Field(default=None, description="the default")
    external: ExternalMilvus | None = Field(default=None, description="your own")

    @model_validator(mode="after")
    def _one(self) -> "Milvus":
        if self.managed is not None and self.external is not None:
            raise ValueError(_ONE_MESSAGE)
        return self


def _given(path: str) -> str:
    """Whether all of the path is there; `path` begins with self or oldSelf."""
    root, rest = path.split(".", 1)
    return f"{root}.?{rest}.hasValue()"


def _same(path: str, otherwise: str | None) -> str:
    """That a text is what it was; where it is left out it is `otherwise`, or nothing.

    Every comparison names its fields outright, and none compares two `orValue`: the API server bounds what a rule may
    cost by the maxLength of what it reads, and takes an optional's for endless.
    """
    now, was = f"self.{path}", f"oldSelf.{path}"
    if otherwise is None:
        return f"{_given(now)} ? {_given(was)} && {now} == {was} : !{_given(was)}"
    default = f"'{otherwise}'"
    return (
        f"{_given(now)} ? ({_given(was)} ? {now} == {was} : {now} == {default})"
        f" : (!{_given(was)} || {was} == {default})"
    )


def _kept(path: str, moves: str) -> tuple[Rule, ...]:
    """Rules of the spec that keep the server at `path` and its volume as they were.

    They stand at the spec, which every version has, and not at the server: the API server skips a rule with
    `oldSelf` where the old object has no such field, and leaving a server out means a managed one of default size.
    """
    storage = f"{path}.managed.storage"
    return (
        Rule(f"{_given(f'self.{path}.external')} == {_given(f'oldSelf.{path}.external')}", moves, f".{path}"),
        Rule(_same(f"{storage}.size", DEFAULT_VOLUME.size), FIXED, f".{path}"),
        Rule(_same(f"{storage}.storageClassName", None), FIXED, f".{path}"),
    )


def _only_grows(path: str) -> tuple[Rule, ...]:
    """Rules of the spec about a volume at `path` that may become larger. They stand at the spec for the same reason."""
    now, was, default = f"self.{path}.size", f"oldSelf.{path}.size", f"quantity('{DEFAULT_VOLUME.size}')"
    given, before = _given(now), _given(was)
    size = (
        f"{given} ? ({before} ? quantity({now}).compareTo(quantity({was})) >= 0"
        f" : quantity({now}).compareTo({default}) >= 0)"
        f" : (!{before} || {default}.compareTo(quantity({was})) >= 0)"
    )
    field = f".{path.removesuffix('.storage')}"
    return Rule(size, GROWS, field), Rule(_same(f"{path}.storageClassName", None), GROWS, field)


_DATA_STAYS = "data does not move by itself: dump it, create the deployment anew with the other database, restore it"
KEPT = (
    *_kept("messaging.nats", "messages do not move: drain, then create the deployment anew with the other NATS"),
    *_kept("database", _DATA_STAYS),
    Rule(
        f"{_given('self.database.cloudNativePG')} == {_given('oldSelf.database.cloudNativePG')}",
        _DATA_STAYS,
        ".database",
    ),
    *_only_grows("database.cloudNativePG.storage"),
    *_kept("agent.memory.milvus", "vectors do not move: create the deployment anew with the other Milvus"),
    # Seen with nats-server 2.15: three servers that begin on the disk of a single one know none of its streams, and
    # remove them as orphans. The other way there is no majority.
    Rule(
        "self.?messaging.nats.managed.replicas.orValue(1) == oldSelf.?messaging.nats.managed.replicas.orValue(1)",
        "one NATS server's messages are lost on three, and the reverse: drain, then create the deployment anew",
        ".messaging.nats",
    ),
)
