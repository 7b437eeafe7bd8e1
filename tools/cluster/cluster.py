"""A running cluster, as tests and commands hold it in their hands."""

import json
import signal
import time
from pathlib import Path

from herald_cli.processes import Process
from tools.cluster import binaries, control_plane, nodes, plan, teardown
from tools.cluster.api import Api
from tools.cluster.client import Client
from tools.cluster.processes import Program
from tools.cluster.state import Folder, Settings
from tools.cluster.trouble import Trouble

_ESTABLISHED = 60.0  # seconds


class Cluster:
    """Made by `start` or `attach`. It holds no process and no file open, so it may be dropped without a word."""

    def __init__(self, folder: Folder, settings: Settings) -> None:
        self.folder = folder
        self.settings = settings

    @property
    def kubeconfig(self) -> Path:
        """Of an administrator; its context is `herald-dev`."""
        return self.folder.kubeconfig

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self.settings.server

    @property
    def ca(self) -> Path:
        """PEM file of the authority that signed the API server's certificate."""
        return self.folder.pki / "ca.crt"

    @property
    def api(self) -> Api:
        return control_plane.api(self.folder, self.settings)

    @property
    def programs(self) -> dict[str, Program]:
        """Component -> how it is started, in order."""
        return plan.programs(self.folder, self.settings)

    @property
    def client(self) -> Client:
        """kubectl of this cluster's version, and helm, which is built when it is first used."""
        return Client(self.kubeconfig, self._program)

    def environment(self) -> dict[str, str]:
        """This process's environment, with KUBECONFIG set and this cluster's kubectl first on PATH."""
        return self.client.environment()

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """Standard output of one kubectl command. Raises Trouble with what it said when it fails."""
        return self.client.kubectl(*arguments, stdin=stdin)

    def helm(self, *arguments: str, stdin: str = "") -> str:
        """The same for helm."""
        return self.client.helm(*arguments, stdin=stdin)

    def wait_established(self, definition: str) -> None:
        """Until resources of a CustomResourceDefinition can be applied. Raises Trouble.

        Neither `kubectl wait` nor a jsonpath takes one so new that it has no conditions.
        """
        deadline = time.monotonic() + _ESTABLISHED
        while True:
            found = json.loads(self.kubectl("get", "crd", definition, "-o", "json"))
            conditions = (found.get("status") or {}).get("conditions") or ()
            if any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
                return
            if time.monotonic() > deadline:
                raise Trouble(
                    f"{definition} is not established after {_ESTABLISHED:g} s", f"kubectl describe crd {definition}"
                )
            time.sleep(0.1)  # the time between two looks

    def processes(self) -> dict[str, Process]:
        """Component -> its process, alive or not."""
        return self.folder.processes.recorded()

    def ready(self) -> bool:
        """Whether every component runs and the API server answers."""
        return not self.missing() and control_plane.answers(self.api)

    def missing(self) -> list[str]:
        """Components that should run and do not."""
        recorded = self.processes()
        return [name for name in self.programs if name not in recorded or not recorded[name].alive()]

    def kill(self, component: str) -> None:
        """SIGKILL one component and wait until it is gone; nothing starts it again by itself."""
        self._known(component)
        self.folder.processes.kill([component])

    def freeze(self, component: str) -> None:
        """SIGSTOP: it keeps its connections and answers nobody, as on a machine that hangs."""
        self._known(component)
        self.folder.processes.send(component, signal.SIGSTOP)

    def wake(self, component: str) -> None:
        self._known(component)
        self.folder.processes.send(component, signal.SIGCONT)

    def start_again(self, component: str) -> None:
        """Start a component that was killed, exactly as it was, and return when the API server answers."""
        self._known(component)
        with self.folder.alone() as lock:
            if not self.folder.processes.alive(component):
                self.folder.processes.start(self.programs[component], lock)
        self.folder.processes.wait("API server", lambda: control_plane.answers(self.api), [component])

    def restart(self, component: str = "kube-apiserver") -> None:
        """Kill and start again. Objects stay: they are in etcd, whose files stay as well."""
        self.kill(component)
        self.start_again(component)

    def load_image(self, archive: Path) -> list[str]:
        """Bring the images of an archive (`buildah push NAME oci-archive:FILE:NAME`, `docker save`) into the real node.

        Their names; pods use them with `imagePullPolicy: Never` or `IfNotPresent`. Raises Trouble.
        """
        if self.settings.node != "real":
            raise Trouble(f"a cluster with --node {self.settings.node} runs no images", "start it with --node real")
        return nodes.load(self.folder, archive)

    def stop(self) -> None:
        """End all of it and remove its state; the logs stay. Once more does nothing."""
        teardown.stop(self.folder.root)

    def _known(self, component: str) -> None:
        if component not in self.programs:
            raise Trouble(f"no component {component!r} in this cluster", f"there is: {', '.join(self.programs)}")

    def _program(self, name: str) -> Path:
        return Path(self.settings.program("kubernetes", name)) if name == "kubectl" else binaries.program(name)
