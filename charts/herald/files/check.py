"""`helm test`: does the cluster know AgentDeployment, and is an operator at work? It says what to do where not.

Run in the operator's image as the operator's ServiceAccount, with the standard library alone.
"""

import datetime
import json
import os
import pathlib
import ssl
import sys
import urllib.error
import urllib.request
from typing import Any

ACCOUNT = pathlib.Path(os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
SERVER = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
NAMESPACE = os.environ["POD_NAMESPACE"]
FRESH = 60  # seconds since the Lease was renewed


def get(path: str) -> dict[str, Any]:
    """The object at a path; empty where there is none."""
    token = (ACCOUNT / "token").read_text().strip()
    request = urllib.request.Request(SERVER + path, headers={"Authorization": f"Bearer {token}"})
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as e:
        if e.code == 404:
            return {}
        raise


def problem() -> str:
    """What is wrong and what to do, or nothing."""
    served = get("/apis/herald.dev/v1alpha1").get("resources", [])
    if "agentdeployments" not in {resource["name"] for resource in served}:
        return "AgentDeployment is not known here: helm install herald-crds charts/herald-crds"
    lease = get(f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/herald-operator").get("spec", {})
    if not lease.get("holderIdentity"):
        return f"no operator is at work: kubectl -n {NAMESPACE} describe pods -l app.kubernetes.io/name=herald-operator"
    renewed = datetime.datetime.fromisoformat(lease["renewTime"].replace("Z", "+00:00"))
    age = (datetime.datetime.now(datetime.UTC) - renewed).total_seconds()
    if age > FRESH:
        where = f"kubectl -n {NAMESPACE} logs -l app.kubernetes.io/name=herald-operator"
        return f"the operator was last seen {age:.0f} s ago: {where}"
    print(f"AgentDeployment is known, and {lease['holderIdentity']} is at work")
    return ""


if __name__ == "__main__":
    sys.exit(problem() or 0)
