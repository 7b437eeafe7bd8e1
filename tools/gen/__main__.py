"""`python -m tools.gen [--check]`: write what is generated from the models, or say which file is not what they say."""

import argparse
import sys
from pathlib import Path

import yaml

from herald_contracts.resources.v1alpha1 import GROUP, PLURAL
from tools.gen import argocd, crd

ROOT = Path(__file__).parents[2]


def outputs() -> dict[str, str]:
    """Path in the repository -> what it must hold."""
    return {
        f"crds/{GROUP}_{PLURAL}.yaml": _yaml(crd.definition()),
        f"charts/herald-crds/templates/{PLURAL}.yaml": _template(_yaml(crd.definition(crd.KEEP))),
        "manifests/argocd/argocd-cm.yaml": _yaml(argocd.config_map(), "manifests/argocd/health.lua"),
    }


def stale(root: Path = ROOT) -> list[str]:
    """Paths whose file is not there or not what it must be."""
    return [path for path, text in outputs().items() if not (root / path).exists() or (root / path).read_text() != text]


class _Plain(yaml.SafeDumper):
    """Long texts as they are written, and no anchors: two places that happen to hold the same list stay two places."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: _Plain, data: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Plain.add_representer(str, _text)


def _yaml(document: object, source: str = "contracts/src/herald_contracts/resources") -> str:
    text: str = yaml.dump(document, Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
    return f"# Written by `make gen` from {source}: change it there.\n{text}"


def _template(text: str) -> str:
    """The text as a Helm template that gives it back: nothing in it may mean something to Helm."""
    if "{{" in text:
        raise ValueError("a description or pattern holds {{, which Helm would read as its own")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.gen", description="Write the files that models generate.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when a file is out of date")
    arguments = parser.parse_args()
    old = stale()
    if arguments.check:
        for path in old:
            print(f"{path} is not what the models say: run `make gen`", file=sys.stderr)
        return bool(old)
    written = outputs()
    for path in old:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(written[path])
        print(f"wrote {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
