"""The git repository that Argo CD follows: a copy of ours, with the address filled in and agents of a team in it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.servers import Nats

ROOT = Path(__file__).parents[3]
LOGIN, HOOKS = "messaging", "hooks"  # names of the Secrets that a team has made by hand
_APPLICATIONS = "manifests/argocd"
_WHO = ("-c", "user.name=A Person", "-c", "user.email=person@example.com")
Object = dict[str, Any]


class Repository:
    """Every change is a commit at once. `url` is what Argo CD is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"file://{folder}"
        for part in ("charts", "manifests"):
            shutil.copytree(ROOT / part, folder / part)
        for path in (folder / _APPLICATIONS).rglob("*.yaml"):
            text = path.read_text().replace("https://example.com/herald.git", self.url)
            path.write_text(text.replace("targetRevision: v0.1.0", "targetRevision: main"))
        self._git("init", "--quiet", "--initial-branch=main")
        self.commit("Herald as it ships")

    def write(self, path: str, content: str | Object) -> None:
        """For the next commit."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))

    def read(self, path: str) -> Any:
        return yaml.safe_load((self.folder / path).read_text())

    def remove(self, path: str) -> None:
        (self.folder / path).unlink()

    def commit(self, message: str) -> str:
        """Its id."""
        self._git("add", "--all")
        self._git(*_WHO, "commit", "--quiet", f"--message={message}")
        return self._git("rev-parse", "HEAD").strip()

    def application(self, file: str, **changes: Any) -> None:
        """Change an Application of ours: `path` of its source, `name`, `namespace` of its destination, `options`."""
        body = self.read(f"{_APPLICATIONS}/applications/3-agents.yaml")
        spec = body["spec"]
        body["metadata"]["name"] = changes.get("name", body["metadata"]["name"])
        body["metadata"]["annotations"] |= changes.get("annotations", {})
        spec["source"]["path"] = changes["path"]
        spec["destination"]["namespace"] = changes.get("namespace", spec["destination"]["namespace"])
        if "options" in changes:
            spec["syncPolicy"]["syncOptions"] = changes["options"]
        self.write(f"{_APPLICATIONS}/applications/{file}", body)

    def team(self, path: str, nats: Nats) -> None:
        """A Kustomize overlay in `path`: our base, with what a team adds to it."""
        up = "/".join(".." for _ in Path(path).parts)
        self.write(
            f"{path}/kustomization.yaml",
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": [f"{up}/manifests/kustomize/base"],
                "patches": [{"path": "team.yaml"}],
            },
        )
        self.write(
            f"{path}/team.yaml",
            {
                "apiVersion": "herald.dev/v1alpha1",
                "kind": "AgentDeployment",
                "metadata": {"name": "support"},
                "spec": {
                    "channels": [
                        {"name": "web", "web": {"title": "IT support"}},
                        {
                            "name": "hooks",
                            "hmac": {"secretRef": {"name": HOOKS}, "replyURL": "https://example.com/replies"},
                        },
                    ],
                    "gateway": {"autoscaling": {"min": 2, "max": 6}},
                    "agent": {"autoscaling": {"min": 2, "max": 6}},
                    "messaging": {
                        "nats": {
                            "external": {
                                "url": nats.settings.url,
                                "secretRef": {"name": LOGIN},
                                "storage": "64Mi",
                            }
                        }
                    },
                    "rollout": {"scaleDownDelaySeconds": 1, "drainDeadlineSeconds": 5},
                },
            },
        )

    def change(self, path: str, message: str, **fields: Any) -> str:
        """Change fields of a team's spec, `__` for dots, None to remove one; the commit's id."""
        body = self.read(f"{path}/team.yaml")
        for name, value in fields.items():
            *parents, last = name.split("__")
            here = body["spec"]
            for parent in parents:
                here = here.setdefault(parent, {})
            if value is None:
                here.pop(last, None)
            else:
                here[last] = json.loads(json.dumps(value))
        self.write(f"{path}/team.yaml", body)
        return self.commit(message)

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout
