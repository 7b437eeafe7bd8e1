"""`helm test`: is AgentDeployment known, is an operator at work, does a message get its answer? What to do where not.

Run in the operator's image, with the standard library alone, as an account that may read AgentDeployments and the
operator's Lease. The message goes the way of the chat page, for which no Secret is needed.
"""

import datetime
import json
import os
import pathlib
import secrets
import ssl
import sys
import time
import urllib.error
import urllib.request
from typing import Any

Object = dict[str, Any]

ACCOUNT = pathlib.Path(os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
FRESH = 60  # seconds since the Lease was renewed
ROOT = "/apis/herald.dev/v1alpha1"


class Failed(Exception):
    """What is wrong, and what to do."""


def get(path: str) -> Object:
    """The object at a path of the API server; empty where there is none."""
    server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    token = (ACCOUNT / "token").read_text().strip()
    request = urllib.request.Request(server + path, headers={"Authorization": f"Bearer {token}"})
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            found: Object = json.load(answer)
            return found
    except urllib.error.HTTPError as e:
        if e.code == 404:
            return {}
        raise


def operator(namespace: str) -> str:
    """Who is at work. Raises Failed."""
    served = get(ROOT).get("resources", [])
    if "agentdeployments" not in {resource["name"] for resource in served}:
        raise Failed("AgentDeployment is not known here: helm install herald-crds charts/herald-crds")
    lease = get(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/herald-operator").get("spec", {})
    pods = "-l app.kubernetes.io/name=herald-operator"
    if not lease.get("holderIdentity"):
        raise Failed(f"no operator is at work: kubectl -n {namespace} describe pods {pods}")
    renewed = datetime.datetime.fromisoformat(lease["renewTime"].replace("Z", "+00:00"))
    age = (datetime.datetime.now(datetime.UTC) - renewed).total_seconds()
    if age > FRESH:
        raise Failed(f"the operator was last seen {age:.0f} s ago: kubectl -n {namespace} logs {pods}")
    return str(lease["holderIdentity"])


def chosen(name: str, namespaces: list[str]) -> Object | None:
    """The deployment to ask: the one that was named, or the first that could answer. Raises Failed."""
    if name:
        namespace, _, own = name.partition("/")
        found = get(f"{ROOT}/namespaces/{namespace}/agentdeployments/{own}")
        if not found:
            raise Failed(f"there is no AgentDeployment {name}: helm upgrade --set test.deployment=NAMESPACE/NAME")
        said = ready(found)
        if said.get("status") != "True":
            raise Failed(f"{name} is not ready: {said.get('message') or 'nobody has looked at it yet'}")
        if not page(found):
            raise Failed(f"{name} has no web channel: kubectl herald send -n {namespace} {own} 'Hello'")
        return found
    paths = [f"{ROOT}/namespaces/{n}/agentdeployments" for n in namespaces] or [f"{ROOT}/agentdeployments"]
    able = [d for path in paths for d in get(path).get("items", []) if ready(d).get("status") == "True" and page(d)]
    return min(able, key=full_name, default=None)


def full_name(deployment: Object) -> str:
    return f"{deployment['metadata']['namespace']}/{deployment['metadata']['name']}"


def ready(deployment: Object) -> Object:
    """Its condition."""
    conditions = (deployment.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == "Ready"), {})


def page(deployment: Object) -> str:
    """Its first chat page, "" where it has none."""
    return next((str(c["name"]) for c in deployment["spec"]["channels"] if "web" in c), "")


def ask(root: str, host: str, text: str, seconds: float) -> str:
    """What the chat page at `root` is told in answer; `host` is its public name, if any. Raises Failed, OSError."""
    until = time.monotonic() + seconds
    # What a browser says of a request that our own page makes (W3C Fetch Metadata).
    headers = {"Sec-Fetch-Site": "same-origin", **({"Host": host} if host else {})}

    def request(method: str, path: str, body: Object | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        more = {"Content-Type": "application/json"} if data is not None else {}
        made = urllib.request.Request(root + path, data=data, headers=headers | more, method=method)
        try:
            return urllib.request.urlopen(made, timeout=max(1.0, until - time.monotonic()))
        except urllib.error.HTTPError as e:
            raise Failed(f"the gateway says {e.code} to {method} {path}: {e.read(300).decode(errors='replace')}") from e

    with request("POST", "/session") as begun:
        headers["Cookie"] = begun.headers.get("Set-Cookie", "").partition(";")[0]
    event = f"helm-test-{secrets.token_hex(8)}"
    with request("GET", "/stream?chat=&after=0") as stream:
        for line in stream:
            if time.monotonic() > until:
                raise TimeoutError
            name, _, value = line.decode().rstrip("\r\n").partition(": ")
            told = json.loads(value) if name == "data" else {}
            if told.get("type") == "caught-up":
                request("POST", "/events", {"id": event, "chat": "", "text": text}).close()
            elif told.get("type") == "reply" and told.get("to") == event:
                if told.get("kind") != "answer":
                    raise Failed(f"the message failed: {told.get('text')}")
                return str(told["text"])
    raise ConnectionError("the gateway ended the conversation")


def main() -> None:
    """Raises Failed."""
    held = operator(os.environ["POD_NAMESPACE"])
    print(f"AgentDeployment is known, and {held} is at work")
    deployment = chosen(os.environ.get("DEPLOYMENT", ""), os.environ.get("NAMESPACES", "").split())
    if deployment is None:
        print("no message was sent: there is no AgentDeployment that is Ready and has a web channel")
        return
    metadata, spec, name = deployment["metadata"], deployment["spec"], full_name(deployment)
    gateway = os.environ.get("GATEWAY", f"http://{metadata['name']}-gateway.{metadata['namespace']}.svc")
    root, host = f"{gateway}/channels/{page(deployment)}", (spec.get("gateway") or {}).get("host") or ""
    seconds, begun = float(os.environ["SECONDS"]), time.monotonic()
    doctor = f"kubectl herald doctor -n {metadata['namespace']} {metadata['name']}"
    try:
        answer = ask(root, host, os.environ["TEXT"], seconds)
    except TimeoutError:
        raise Failed(f"{name} did not answer within {seconds:g} s: {doctor}") from None
    except (Failed, OSError) as e:
        raise Failed(f"{name} could not be asked ({e}): {doctor}") from None
    print(f"{name} answered after {time.monotonic() - begun:.1f} s: {answer[:200]}")


if __name__ == "__main__":
    try:
        main()
    except Failed as e:
        sys.exit(str(e))
