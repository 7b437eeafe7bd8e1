"""The inference image, run as its pod runs it: read-only root, nobody's user, and the ports of NVIDIA's image."""

import json
from collections.abc import Iterator, Mapping

import pytest
from tools.images.unpacked import Unpacked

from tests.images.pod import Pod, pod

# As for NVIDIA's image.
COMMAND = (
    "tritonserver",
    "--model-repository=/models",
    "--model-control-mode=explicit",
    "--load-model=embedder",
    "--load-model=tensorrt_llm",
    "--load-model=scripted",
)
EMPTY = ("/tmp", "/dev/shm")


@pytest.fixture(scope="module")
def triton(unpacked: Mapping[str, Unpacked]) -> Iterator[Pod]:
    with pod(unpacked["inference-cpu"], command=COMMAND, empty=EMPTY) as running:
        running.answers(8000, "/v2/health/ready")
        yield running


def _post(running: Pod, path: str, body: object) -> str:
    url = f"http://127.0.0.1:8000/v2/models/{path}"
    return running.outside("curl", "--silent", "--max-time", "60", "--data", json.dumps(body), url)


@pytest.mark.parametrize("model", ["tensorrt_llm", "scripted"])
def test_it_answers(triton: Pod, model: str) -> None:
    asked = {
        "text_input": "Say hello.",
        "streaming": False,
        "sampling_param_max_tokens": 8,
        "return_finish_reason": True,
    }
    event = _post(triton, f"{model}/generate_stream", asked).removeprefix("data: ")
    assert json.loads(event)["text_output"]


def test_it_embeds(triton: Pod) -> None:
    inputs = [
        {"name": "text", "datatype": "BYTES", "shape": [1, 1], "data": ["a text"]},
        {"name": "is_query", "datatype": "BOOL", "shape": [1, 1], "data": [True]},
    ]
    answer = json.loads(_post(triton, "embedder/infer", {"inputs": inputs}))
    assert answer["outputs"][0]["shape"] == [1, 384]


def test_metrics(triton: Pod) -> None:
    assert "nv_inference_request_success" in triton.answers(8002, "/metrics")


def test_it_listens_for_grpc(triton: Pod) -> None:
    triton.outside("curl", "--silent", "--http2-prior-knowledge", "--max-time", "5", "http://127.0.0.1:8001/")


def test_it_stops_when_asked_and_cleans_up(unpacked: Mapping[str, Unpacked]) -> None:
    """Also with an argument of the caller's against ours: the caller's wins."""
    image = unpacked["inference-cpu"]
    with pod(image, command=(*COMMAND[:3], "--load-model=scripted", "--http-port=8123"), empty=EMPTY) as running:
        running.answers(8123, "/v2/health/ready")
        assert "herald-triton-" in running.inside("ls", "/dev/shm")
        assert running.stop(seconds=60) == 0


def test_the_image_alone_serves_its_models(unpacked: Mapping[str, Unpacked]) -> None:
    with pod(unpacked["inference-cpu"], empty=EMPTY) as running:
        running.answers(8000, "/v2/models/tensorrt_llm/ready")
        running.answers(8000, "/v2/models/embedder/ready")
