"""Which images there are and which files of the repository go into each.

The files decide the image's name, so that a change of the gateway leaves the agent's image as it is. What a target's
part of the Dockerfile copies has to be listed here: tests/images/test_targets.py compares.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("contracts", "runtime", "operator", "gateway", "agent", "cli")
# Not the root's pyproject.toml: what of it reaches an image is in the lock, the rest is about tests and style.
_SHARED = (
    "images/build",
    "tools/get_uv.py",
    "uv.lock",
    *(f"{package}/pyproject.toml" for package in _PACKAGES),
)
_LEFT_OUT = {"__pycache__", ".mypy_cache", ".ruff_cache"}


@dataclass(frozen=True, slots=True)
class Target:
    """One stage of a Dockerfile that becomes an image. `sources` are its own, besides what all share."""

    name: str
    repository: str
    dockerfile: str
    sources: tuple[str, ...]

    @property
    def stage(self) -> str:
        return self.name.removeprefix("test-")

    def files(self) -> Iterator[Path]:
        """Every file that the image is made of, in one order."""
        for source in sorted({self.dockerfile, *_SHARED, *self.sources}):
            path = ROOT / source
            if path.is_file():
                yield path
            else:
                yield from sorted(p for p in path.rglob("*") if p.is_file() and not _LEFT_OUT & set(p.parts))

    def digest(self, base: str) -> str:
        """12 hexadecimal digits of all that goes in; `base` says on what it stands."""
        whole = hashlib.sha256(f"{base}\0{self.stage}\0".encode())
        for path in self.files():
            executable = path.stat().st_mode & 0o111 != 0
            whole.update(f"{path.relative_to(ROOT)}\0{executable}\0".encode())
            whole.update(hashlib.sha256(path.read_bytes()).digest())
        return whole.hexdigest()[:12]


def _service(name: str, *sources: str) -> Target:
    return Target(name, f"localhost/herald/{name}", "images/Dockerfile", sources)


def _test(name: str) -> Target:
    return Target(f"test-{name}", f"localhost/herald-test/{name}", "images/test/Dockerfile", ("images/test",))


TARGETS = {
    target.name: target
    for target in (
        _service("operator", "contracts", "runtime", "operator"),
        _service("gateway", "contracts", "runtime", "gateway"),
        _service("agent", "contracts", "runtime", "agent"),
        _service("cli", *_PACKAGES),
        _service("inference-cpu", "agent", "inference/local", "images/inference"),
        _test("nats"),
        _test("postgres"),
        _test("milvus"),
    )
}
