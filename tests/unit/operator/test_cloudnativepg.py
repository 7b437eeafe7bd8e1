"""The database that CloudNativePG runs: what is asked of it, what is waited for, and what is never touched."""

from typing import Any

import pytest

from herald_operator.build import cloudnativepg
from herald_operator.build.naming import DEPLOYMENT, INSTANCE, Object
from herald_operator.planning import children
from herald_operator.planning.difference import differs, stamped
from tests.resource_documents import SMALLEST, changed
from tests.unit.operator.imagined import EVERY_API, Imagined, resource
from tests.unit.operator.specs import FAILOVER, imagined

CLUSTER, LOGIN = ("Cluster", "support-postgres"), "support-postgres-app"


def world(database: dict[str, Any] | None = None, *, login: bool = True, **changes: Any) -> Imagined:
    """The smallest deployment with such a database, before its first look."""
    paths = {f"spec.{path.replace('__', '.')}": value for path, value in changes.items()}
    document = changed(SMALLEST, {"spec.database": {"cloudNativePG": database or {}}, **paths})
    made = Imagined(resource(document=document)).give()
    if not login:
        del made.secrets[LOGIN]
    return made


def cluster(database: dict[str, Any] | None = None, **changes: Any) -> Object:
    return cloudnativepg.objects(world(database, **changes).context())[0]


def said(of: Imagined) -> tuple[bool, str]:
    """Of the database, in status.components."""
    of.carry_out(of.plan())
    [part] = [c for c in of.resource["status"]["components"] if c["name"] == "postgres"]
    return part["ready"], part["message"]


def test_what_nobody_says_is_three_instances_that_fail_over() -> None:
    spec = cluster()["spec"]
    assert spec["instances"] == 3
    assert spec["storage"] == {"size": "10Gi"}
    assert "imageName" not in spec, "CloudNativePG knows which image it can run"
    assert spec["enableSuperuserAccess"] is False
    assert spec["bootstrap"]["initdb"]["owner"] == spec["bootstrap"]["initdb"]["database"] == "herald"


def test_a_turn_is_kept_by_two_before_it_counts() -> None:
    """A replica that lacks the last turns and takes over would have them answered again (docs/adr/0011)."""
    kept = {"method": "any", "number": 1, "dataDurability": "required", "failoverQuorum": True}
    assert [cluster({"instances": n})["spec"]["postgresql"].get("synchronous") for n in (1, 2, 9)] == [None, kept, kept]


def test_there_are_connections_for_all_workers() -> None:
    made = world()
    allowed = int(cluster()["spec"]["postgresql"]["parameters"]["max_connections"])
    assert 2 * made.context().connections < allowed


def test_the_longest_name_is_short_enough_for_cloudnativepg() -> None:
    made = world()
    made.resource["metadata"]["name"] = "n" * 40
    assert len(cloudnativepg.objects(made.context())[0]["metadata"]["name"]) <= 50


def test_what_it_makes_is_found_by_the_deployment_and_claimed_by_no_application() -> None:
    assert cluster()["spec"]["inheritedMetadata"] == {"labels": {DEPLOYMENT: "support"}}


@pytest.mark.parametrize(("policy", "owned"), [("Retain", False), ("Delete", True)])
def test_the_data_goes_with_its_cluster_and_so_does_not_go_unasked(policy: str, owned: bool) -> None:
    metadata = cluster(deletionPolicy=policy)["metadata"]
    assert ("ownerReferences" in metadata) is owned
    assert (INSTANCE in metadata["labels"]) is owned, "without an owner Argo CD must not take it for its own"


def test_no_change_of_the_spec_removes_it() -> None:
    made = imagined(FAILOVER)
    made.change(database={"managed": {}})  # the API server refuses this; an older one may not have
    made.rest()
    assert CLUSTER in made.children
    assert not [b for b in made.plan().delete if b["kind"] == "Cluster"]


def test_everybody_reads_the_login_that_it_makes() -> None:
    made = imagined(FAILOVER)
    assert LOGIN not in {b["metadata"]["name"] for b in children.secrets(made.context(), made.seen())}
    files = []
    for body in made.children.values():
        for volume in ((body.get("spec") or {}).get("template") or {"spec": {}})["spec"].get("volumes", ()):
            if volume["name"] == "postgres":
                files.append((body["kind"], volume["secret"]["secretName"], volume["secret"]["items"]))
    assert sorted({kind for kind, *_ in files}) == ["Job", "ReplicaSet"]
    assert all(rest == (LOGIN, [{"key": "uri", "path": "dsn"}]) for _, *rest_ in files for rest in [tuple(rest_)])
    [trigger] = made.of("TriggerAuthentication")
    assert trigger["spec"]["secretTargetRef"] == [{"parameter": "connection", "name": LOGIN, "key": "uri"}]


def test_a_cluster_without_cloudnativepg_is_told_what_to_do_and_noticed_when_it_has_it() -> None:
    made = world(login=False)
    made.apis = EVERY_API - {"Cluster"}
    assert not said(made)[0]
    message = made.condition("DatabaseReady")["message"]
    assert "needs CloudNativePG, which this cluster does not have: install it" in message
    assert CLUSTER not in made.children
    assert made.condition("Ready")["message"] == message
    made.apis = EVERY_API
    assert CLUSTER in {(b["kind"], b["metadata"]["name"]) for b in made.plan().make}


def _instances(**more: Any) -> Object:
    return Imagined.clustered(CLUSTER[1], 3, **more)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (None, "waits for CloudNativePG; see that it runs: `kubectl get pods --all-namespaces"),
        ({"phase": "Setting up primary", "phaseReason": "Creating primary instance x"}, "primary (Creating primary"),
        (
            {**_instances(), "instancesStatus": {"replicating": ["support-postgres-1"]}},
            "CloudNativePG says: Cluster in",
        ),
        ({**_instances(), "instancesStatus": {"healthy": ["support-postgres-1"]}}, "is not ready"),
        (
            {**_instances(), "instancesStatus": {"healthy": ["support-postgres-2", "support-postgres-3"]}},
            "is not ready",
        ),
        (_instances(targetPrimary="pending", phase="Failing over"), "CloudNativePG says: Failing over"),
        (_instances(conditions=[{"type": "cnpg.io/hibernation", "status": "True"}]), ""),
    ],
    ids=["no operator", "first start", "not up", "one alone", "no primary", "failing over", "awake again"],
)
def test_it_is_ready_when_a_turn_can_be_kept(status: Object | None, message: str) -> None:
    made = world()
    made.carry_out(made.plan())
    if status is not None:
        made.children[CLUSTER]["status"] = status
    assert said(made)[0] is not bool(message)
    assert message in said(made)[1]
    assert bool(made.of("Job")) is not bool(message), "nothing is migrated before"


def test_one_of_three_may_be_away() -> None:
    made = world()
    made.carry_out(made.plan())
    made.children[CLUSTER]["status"] = Imagined.clustered(CLUSTER[1], 2)
    ready, message = said(made)
    assert ready
    assert "not all 3 instances are ready; see `kubectl -n team describe clusters.postgresql.cnpg.io" in message


def test_what_only_a_person_can_repair_is_trouble() -> None:
    made = world()
    made.carry_out(made.plan())
    made.children[CLUSTER]["status"] = {"phase": "Cluster is unrecoverable and needs manual intervention"}
    said(made)
    assert made.condition("DatabaseReady")["reason"] == "Trouble"


def test_who_put_it_to_sleep_is_reminded() -> None:
    made = world()
    made.carry_out(made.plan())
    asleep = [{"type": "cnpg.io/hibernation", "status": "True"}]
    made.children[CLUSTER]["status"] = Imagined.clustered(CLUSTER[1], 0, conditions=asleep)
    assert "is hibernated by the annotation cnpg.io/hibernation" in said(made)[1]


def test_the_login_is_waited_for_and_refused_to_nobody() -> None:
    made = world(login=False)
    made.well().carry_out(made.plan())
    made.well()
    ready, message = said(made)
    assert (ready, made.condition("Accepted")["status"]) == (False, "True")
    assert f"waits for the Secret '{LOGIN}', which CloudNativePG makes" in message
    made.secrets[LOGIN] = {"uri": b"postgresql://"}
    made.rest()
    assert made.condition("Ready")["status"] == "True"


def test_a_login_that_is_gone_takes_no_worker_with_it() -> None:
    made = imagined(FAILOVER)
    before = dict(made.children)
    del made.secrets[LOGIN]
    plan = made.plan()
    made.carry_out(plan)
    assert (plan.make, plan.delete) == ((), ())
    assert made.children == before
    assert "CloudNativePG made it once, and makes it again" in made.condition("Accepted")["message"]
    # But where all of it is gone, only we can begin anew.
    del made.children[CLUSTER]
    assert CLUSTER in {(b["kind"], b["metadata"]["name"]) for b in made.plan().make}


def test_a_new_password_replaces_workers_and_a_key_that_nobody_reads_does_not() -> None:
    made = imagined(FAILOVER)

    def worker() -> str:
        made.rest()
        [crew] = made.of("ReplicaSet")
        return str(crew["spec"]["template"]["metadata"]["annotations"]["herald.dev/settings"])

    first = worker()
    made.secrets[LOGIN]["fqdn-uri"] = b"postgresql://new"
    assert worker() == first
    made.secrets[LOGIN]["uri"] = b"postgresql://herald:other@support-postgres-rw.team:5432/herald"
    assert worker() != first


def test_suspend_stops_it_after_the_workers_and_wakes_it_again() -> None:
    made = imagined(FAILOVER)

    def asleep() -> bool:
        return "cnpg.io/hibernation" in (made.children[CLUSTER]["metadata"].get("annotations") or {})

    made.change(suspend=True).carry_out(made.plan())
    assert not asleep(), "somebody is still at work"
    for _ in range(3):
        made.pods = []
        made.carry_out(made.plan())
    assert asleep()
    made.change(suspend=False).rest()
    assert not asleep()


def test_one_that_begins_suspended_is_not_made_yet() -> None:
    made = world(suspend=True)
    made.rest()
    assert CLUSTER not in made.children


def test_what_its_webhook_fills_in_is_left_alone_and_ours_is_put_right() -> None:
    wanted = stamped(cluster())
    live = changed(
        wanted,
        {
            "spec.imageName": "ghcr.io/cloudnative-pg/postgresql:18",
            "spec.postgresql.parameters": {
                **wanted["spec"]["postgresql"]["parameters"],
                "wal_level": "logical",
                "archive_timeout": "5min",
            },
            "spec.affinity": {"podAntiAffinityType": "preferred"},
            "spec.logLevel": "info",
        },
    )
    assert differs(wanted, live) == ""
    assert differs(wanted, changed(live, {"spec.postgresql.synchronous.dataDurability": "preferred"}))
    assert differs(wanted, changed(live, {"spec.enableSuperuserAccess": True}))
    assert differs(wanted, changed(live, {"spec.instances": 1}))
