"""A cluster with a real node, with Herald's images in it and the operator installed by its charts."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tools.cluster import Cluster, Trouble, start
from tools.images.building import Image, build

ROOT = Path(__file__).parents[2]
SYSTEM = "herald-system"
# Where the charts' values name an image of somebody else, the stand-in with the same contract.
_VALUES = {
    "images.gateway": "gateway",
    "images.agent": "agent",
    "images.inferenceCpu": "inference-cpu",
    "images.nats": "test-nats",
    "images.postgres": "test-postgres",
    "images.milvus": "test-milvus",
}
Object = dict[str, Any]


class Site:
    """`images` by target. All waiting is bounded, and says what it waited for."""

    def __init__(self, cluster: Cluster, images: Mapping[str, Image]) -> None:
        self.cluster = cluster
        self.images = images

    @classmethod
    def open(cls, state: Path, say: Callable[[str], None]) -> "Site":
        """Build what is missing, start, load. Minutes the first time on a machine, half a minute afterwards."""
        images = build()
        cluster = start(state, node="real", install=bool(os.environ.get("CI")), say=say)
        try:
            for image in images.values():
                cluster.load_image(image.archive)
        except BaseException:
            cluster.stop()
            raise
        return cls(cluster, images)

    def install(self, charts: Path = ROOT / "charts", *, images: Mapping[str, Image] | None = None) -> None:
        """Both charts, installed or upgraded; returns once the operator leads."""
        known = images or self.images
        self.cluster.helm(
            "upgrade",
            "--install",
            "herald-crds",
            str(charts / "herald-crds"),
            "--namespace",
            SYSTEM,
            "--create-namespace",
        )
        operator = known["operator"].name
        repository, _, tag = operator.rpartition(":")
        values = {"image.repository": repository, "image.tag": tag, "logLevel": "debug"}
        values |= {value: known[target].name for value, target in _VALUES.items()}
        sets = [part for name, value in values.items() for part in ("--set-string", f"{name}={value}")]
        self.cluster.helm(
            "upgrade", "--install", "herald", str(charts / "herald"), "--namespace", SYSTEM, *sets,
            "--wait", "--timeout", "120s",
        )  # fmt: skip

    def uninstall(self) -> None:
        self.cluster.helm("uninstall", "herald", "--namespace", SYSTEM, "--wait")

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        return self.cluster.kubectl(*arguments, stdin=stdin)

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
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
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
