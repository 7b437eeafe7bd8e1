"""Is the PostgreSQL there that CloudNativePG runs, and if not: what is it waiting for, and what can be done? Pure.

Its pods are not ours and not watched: what is known of them is what CloudNativePG writes into the Cluster's status. A
message here, too, holds nothing that changes by itself.
"""

from herald_operator.build import cloudnativepg as build
from herald_operator.build.context import Context
from herald_operator.build.naming import Object
from herald_operator.planning.observed import Observed
from herald_operator.planning.readiness import Readiness

# Words of its `status.phase` that stay until somebody does something (CloudNativePG 1.30, api/v1/cluster_types.go).
_STUCK = (
    "unrecoverable", "user action", "invalid", "unknown plugin", "interacting with plugins", "unable to create",
    "missing architecture",
)  # fmt: skip


def cloudnativepg(context: Context, seen: Observed) -> Readiness:
    """Ready once the primary can keep a turn: with several instances another one has to be there for that."""
    server, name = build.wanted(context.deployment), context.owner.child(build.COMPONENT)
    if build.KIND not in seen.apis:
        return Readiness(
            False,
            "needs CloudNativePG, which this cluster does not have: install it (https://cloudnative-pg.io), the rest "
            "follows by itself",
            trouble=True,
        )
    body = seen.child(build.KIND, name)
    if body is None or server is None:
        return Readiness(False, "is being created")
    status = body.get("status") or {}
    if not status:
        look = "`kubectl get pods --all-namespaces --selector app.kubernetes.io/name=cloudnative-pg`"
        return Readiness(False, f"waits for CloudNativePG; see that it runs: {look}")
    primary = str(status.get("currentPrimary") or "")
    well = set((status.get("instancesStatus") or {}).get("healthy") or ())
    if primary not in well or status.get("targetPrimary") != primary or len(well) < min(server.instances, 2):
        return _not_ready(context, name, status)
    login = seen.secrets.get(context.database_secret) or {}
    if not login.get(context.database_key):
        return Readiness(False, f"waits for the Secret {context.database_secret!r}, which CloudNativePG makes")
    if len(well) < server.instances:
        return Readiness(True, f"not all {server.instances} instances are ready; see {_command(context, name)}")
    return Readiness(True)


def _not_ready(context: Context, name: str, status: Object) -> Readiness:
    if any(c.get("type") == build.HIBERNATION for c in status.get("conditions") or ()):
        return Readiness(False, f"is hibernated by the annotation {build.HIBERNATION} of its Cluster {name!r}")
    phase, reason = str(status.get("phase") or "nothing yet"), str(status.get("phaseReason") or "")
    why = f" ({reason.splitlines()[0][:300]})" if reason else ""
    said = f"is not ready, CloudNativePG says: {phase}{why}; see {_command(context, name)}"
    return Readiness(False, said, trouble=any(word in phase.lower() for word in _STUCK))


def _command(context: Context, name: str) -> str:
    return f"`kubectl -n {context.owner.namespace} describe clusters.postgresql.cnpg.io {name}`"
