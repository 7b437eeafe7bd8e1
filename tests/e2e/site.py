"""A cluster with the operator installed by its charts, from Herald's own images: ours, or somebody else's."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.cluster import Client, Trouble, start
from tools.images.building import build

ROOT = Path(__file__).parents[2]
SYSTEM = "herald-system"
# On each namespace of a team, so that what a run leaves behind can be found.
OURS = "app.kubernetes.io/part-of=herald-e2e"
# Where the charts' values name an image of somebody else, the stand-in with the same contract.
_VALUES = {
    "images.gateway": "gateway",
    "images.agent": "agent",
    "images.inferenceCpu": "inference-cpu",
    "images.nats": "test-nats",
    "images.postgres": "test-postgres",
    "images.milvus": "test-milvus",
}
TARGETS = ("operator", *_VALUES.values())
Object = dict[str, Any]


class Site:
    """`images` has names by target. All waiting is bounded, and says what it waited for."""

    def __init__(self, client: Client, images: Mapping[str, str], *, patience: int = 120) -> None:
        """`patience`: seconds in which the operator must lead once it is installed."""
        self.client = client
        self.images = images
        self.crds = True  # false: the cluster has them already, and keeps them as they are
        self._patience = patience

    def install(self, charts: Path = ROOT / "charts", *, images: Mapping[str, str] | None = None) -> None:
        """Both charts, installed or upgraded; returns once the operator leads."""
        known = images or self.images
        if self.crds:
            self.client.helm(
                "upgrade",
                "--install",
                "herald-crds",
                str(charts / "herald-crds"),
                "--namespace",
                SYSTEM,
                "--create-namespace",
            )
        repository, _, tag = known["operator"].rpartition(":")
        values = {"image.repository": repository, "image.tag": tag, "logLevel": "debug"}
        values |= {value: known[target] for value, target in _VALUES.items()}
        sets = [part for name, value in values.items() for part in ("--set-string", f"{name}={value}")]
        self.client.helm(
            "upgrade", "--install", "herald", str(charts / "herald"), "--namespace", SYSTEM, "--create-namespace",
            *sets, "--wait", "--timeout", f"{self._patience}s",
        )  # fmt: skip

    def uninstall(self) -> None:
        self.client.helm("uninstall", "herald", "--namespace", SYSTEM, "--wait")

    def say_something(self) -> None:
        """`helm test`: a message through the chat page of the deployment that is ready. Raises Trouble."""
        self.client.helm("test", "herald", "--namespace", SYSTEM, "--timeout", "180s")

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        return self.client.kubectl(*arguments, stdin=stdin)

    def get(self, *arguments: str) -> Any:
        """`kubectl get ... -o json`; None where there is no such thing."""
        try:
            return json.loads(self.kubectl("get", *arguments, "-o", "json"))
        except Trouble as e:
            if "NotFound" in str(e):
                return None
            raise

    def apply(self, *objects: Object, namespace: str) -> None:
        documents = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(documents))

    def namespace(self, name: str) -> None:
        """A namespace that takes only pods that pass Pod Security `restricted`."""
        key, _, value = OURS.partition("=")
        labels = {"pod-security.kubernetes.io/enforce": "restricted", key: value}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def until(self, what: str, look: Callable[[], bool], *, seconds: float, namespace: str = "") -> float:
        """Look again and again until it is so; how many seconds that took. Raises AssertionError with the state."""
        began = time.monotonic()
        while not look():
            if time.monotonic() - began > seconds:
                raise AssertionError(f"not within {seconds:g} s: {what}\n{self.state(namespace) if namespace else ''}")
            time.sleep(0.5)  # the time between two looks
        return time.monotonic() - began

    def state(self, namespace: str) -> str:
        """What a person would look at first."""
        parts = [
            ("get", "agd,pods,jobs,pvc", "-n", namespace, "-o", "wide"),
            ("get", "agd", "-n", namespace, "-o", "jsonpath={range .items[*]}{.status.conditions}{end}"),
            ("get", "events", "-n", namespace, "--sort-by=.lastTimestamp"),
            ("logs", "-n", SYSTEM, "-l", "app.kubernetes.io/name=herald-operator", "--tail=40"),
        ]
        return "\n".join(self._said(*part)[-6_000:] for part in parts)

    def _said(self, *arguments: str) -> str:
        try:
            return self.kubectl(*arguments)
        except (Trouble, subprocess.SubprocessError) as e:
            return str(e)


@contextlib.contextmanager
def own(state: Path, *, keep: bool, install: bool, say: Callable[[str], None]) -> Iterator[Site]:
    """A real node on this machine: built, started, loaded. Minutes the first time, half a minute afterwards.

    With `keep` it runs on. `install`: also the Debian packages that it lacks.
    """
    images = build(TARGETS)
    cluster = start(state, node="real", install=install, say=say)
    try:
        for image in images.values():
            cluster.load_image(image.archive)
        site = Site(cluster.client, {target: image.name for target, image in images.items()})
        site.install()
        yield site
    finally:
        if not keep:
            cluster.stop()
