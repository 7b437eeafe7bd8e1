"""The decision how to bring a stream to what is wanted: never by losing a message."""

from typing import Any

import pytest
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, StreamSource

from herald_contracts.errors import ConfigurationError
from herald_contracts.streams import topology
from herald_contracts.subjects import Names
from herald_operator.messaging import bucket_config, repair, stream_config

TOPOLOGY = topology(Names("default", "support"), web_channels=("web",))
WANTED = stream_config(TOPOLOGY.streams[0], replicas=1)


def test_no_difference_needs_nothing() -> None:
    plan = repair(WANTED, WANTED)
    assert plan.config is None
    assert plan.kept == ()


@pytest.mark.parametrize(
    "drift",
    [
        {"discard": DiscardPolicy.OLD},
        {"max_bytes": 1024},
        {"max_age": 60.0},
        {"duplicate_window": 5.0},
        {"num_replicas": 3},
        {"subjects": ["other.>"]},
        {"subjects": None},
        {"sources": [StreamSource(name="X")]},
    ],
)
def test_drift_is_repaired(drift: dict[str, Any]) -> None:
    (field,) = drift
    plan = repair(WANTED, WANTED.evolve(**drift) if drift[field] is not None else _without(field))
    assert plan.config is not None
    assert getattr(plan.config, field) == getattr(WANTED, field)
    assert plan.kept == ()


def _without(field: str) -> StreamConfig:
    config = WANTED.evolve()
    setattr(config, field, None)
    return config


@pytest.mark.parametrize("field", ["max_msgs", "max_msg_size", "max_consumers"])
def test_a_limit_that_we_did_not_set_is_lifted(field: str) -> None:
    plan = repair(WANTED, WANTED.evolve(**{field: 10}))
    assert plan.config is not None
    assert getattr(plan.config, field) == -1


@pytest.mark.parametrize(("field", "larger"), [("max_bytes", 2**50), ("max_age", 10.0**9), ("max_bytes", -1)])
def test_nothing_is_made_smaller(field: str, larger: float) -> None:
    plan = repair(WANTED, WANTED.evolve(**{field: larger}))
    assert plan.config is None
    assert len(plan.kept) == 1
    assert field in plan.kept[0]


def test_what_can_be_repaired_is_even_when_something_is_kept() -> None:
    plan = repair(WANTED, WANTED.evolve(max_bytes=2**50, discard=DiscardPolicy.OLD))
    assert plan.config is not None
    assert plan.config.max_bytes == 2**50
    assert plan.config.discard == DiscardPolicy.NEW
    assert plan.kept


@pytest.mark.parametrize("immutable", [{"storage": StorageType.MEMORY}, {"retention": RetentionPolicy.WORK_QUEUE}])
def test_what_the_server_cannot_change_is_a_persons_decision(immutable: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="cannot be changed") as refused:
        repair(WANTED, WANTED.evolve(**immutable))
    assert WANTED.name is not None
    assert WANTED.name in refused.value.path
    assert refused.value.hint


def test_a_bucket_is_the_stream_that_clients_expect() -> None:
    config = bucket_config(TOPOLOGY.buckets[0], replicas=1)
    assert config.name == "KV_herald-default-support-deliveries"
    assert config.subjects == ["$KV.herald-default-support-deliveries.>"]
    assert (config.allow_rollup_hdrs, config.deny_delete, config.max_msgs_per_subject) == (True, True, 1)
