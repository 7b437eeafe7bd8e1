"""Triton: one Deployment for each set of models that some running revision needs. Pure.

Its name carries the hash of the inference part alone, so that a change of the prompt does not start the models a
second time. On CPUs one server holds the chat model and the embedder; with GPUs the embedder has a small CPU
server of its own, because TensorRT-LLM's image brings no such model.
"""

import json
import math
from dataclasses import dataclass

from herald_contracts.resources.v1alpha1.inference import Inference
from herald_contracts.resources.v1alpha1.schema import amount
from herald_operator.build import nats, pod
from herald_operator.build.context import TRITON_GRPC, TRITON_HTTP, TRITON_METRICS, Context
from herald_operator.build.naming import Object, digest
from herald_operator.build.settings import CHAT_MODEL, EMBEDDER, triton_models
from herald_operator.build.shape import Shape, reshaped

COMPONENT = "inference"
BUILT_IN_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
CACHE = "/cache"
_CPU = {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}
_EMBEDDER = {"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}
_GPU_MEMORY = {"requests": {"cpu": "4", "memory": "32Gi"}, "limits": {"memory": "64Gi"}}
_UPSTREAM = "/app/all_models/llmapi/tensorrt_llm"  # NVIDIA's image brings the model's code, matched to its version


@dataclass(frozen=True, slots=True)
class Unit:
    """One Triton server. `models` are what it loads."""

    name: str
    engine: str
    models: tuple[str, ...]
    image: str
    inference: Inference

    @property
    def replicas(self) -> int:
        return 1 if self.models == (EMBEDDER,) else self.inference.replicas

    def address(self, namespace: str) -> str:
        return f"{self.name}.{namespace}.svc:{TRITON_GRPC}"


def units(context: Context, kept: Shape) -> tuple[Unit, ...]:
    """The servers that a revision of this shape needs; the one with the chat model first, the embedder's last."""
    deployment = reshaped(context.deployment, kept)
    inference, models = deployment.spec.inference, triton_models(deployment)
    if inference.gpu is None:
        return (_unit(context, "cpu", models, kept.inference_image, inference),) if models else ()
    made = [_unit(context, "llmapi", (CHAT_MODEL,), kept.inference_image, inference)]
    if EMBEDDER in models:
        made.append(_unit(context, "cpu", (EMBEDDER,), kept.embedder_image, inference))
    return tuple(made)


def _unit(context: Context, engine: str, models: tuple[str, ...], image: str, inference: Inference) -> Unit:
    part: Object = {"engine": engine, "models": models, "image": image}
    if models != (EMBEDDER,):
        part["model"] = inference.model
        part["tokens"] = [inference.max_input_tokens, inference.max_tokens]
    if engine == "llmapi" and inference.gpu is not None:
        part["gpus"] = inference.gpu.count
        part["batch"] = inference.max_batch_size
    return Unit(context.owner.child(f"inference-{digest(part, 8)}"), engine, models, image, inference)


def objects(context: Context, unit: Unit) -> tuple[Object, ...]:
    """Everything of one server. How many there are is set apart (`Unit.replicas`)."""
    owner = context.owner
    label = {"herald.dev/inference": unit.name}
    selector = owner.selector(COMPONENT, **label)
    ports = [
        {"name": name, "port": port, "targetPort": name, "protocol": "TCP"}
        for name, port in (("grpc", TRITON_GRPC), ("http", TRITON_HTTP), ("metrics", TRITON_METRICS))
    ]
    made = [
        owner.object(
            "Service", "v1", unit.name, COMPONENT, {"spec": {"selector": selector, "ports": ports}}, labels=label
        ),
        owner.object(
            "Deployment",
            "apps/v1",
            unit.name,
            COMPONENT,
            {
                "spec": {
                    "revisionHistoryLimit": 1,
                    # A GPU that is in use cannot be had a second time for the new pod.
                    "strategy": {"type": "Recreate"}
                    if unit.engine == "llmapi"
                    else {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                    "progressDeadlineSeconds": 3_600,
                    "selector": {"matchLabels": selector},
                    "template": _template(context, unit, label),
                }
            },
            labels=label,
        ),
    ]
    if unit.engine == "llmapi":
        made.append(
            owner.object(
                "ConfigMap",
                "v1",
                unit.name,
                COMPONENT,
                {"data": {"model.yaml": model_yaml(unit.inference)}},
                labels=label,
            )
        )
    return tuple(made)


def cache(context: Context) -> tuple[Object, ...]:
    """The volume that keeps downloaded models, shared by all inference pods; it stays where the policy says so."""
    wanted = context.deployment.spec.inference.cache
    if wanted is None:
        return ()
    owner = context.owner
    return (
        owner.object(
            "PersistentVolumeClaim",
            "v1",
            owner.child("models"),
            COMPONENT,
            {"spec": nats.claim_spec(wanted.volume, wanted.access_mode)},
            owned=context.deployment.spec.deletion_policy == "Delete",
        ),
    )


def model_yaml(inference: Inference) -> str:
    """TensorRT-LLM's own settings, as JSON, which is YAML: keys of its `LLM` class, and `triton_config`.

    NVIDIA/TensorRT-LLM, triton_backend/all_models/llmapi: batching happens inside the engine, so Triton's own is off.
    """
    assert inference.gpu is not None, "the model makes sure of it"  # noqa: S101
    return json.dumps(
        {
            "model": inference.model,
            "backend": "pytorch",
            "tensor_parallel_size": inference.gpu.count,
            "max_batch_size": inference.max_batch_size,
            "max_seq_len": inference.max_input_tokens + inference.max_tokens,
            "kv_cache_config": {"free_gpu_memory_fraction": 0.85, "enable_block_reuse": True},
            "triton_config": {"max_batch_size": 0, "decoupled": True},
        },
        indent=2,
    )


def _template(context: Context, unit: Unit, label: dict[str, str]) -> Object:
    images = context.deployment.spec.images
    mounts = [
        pod.scratch("tmp", "/tmp", size="1Gi"),  # noqa: S108 - a volume of the pod's own
        pod.scratch("shm", "/dev/shm", memory=True, size="2Gi" if unit.engine == "llmapi" else "512Mi"),  # noqa: S108
    ]
    spec = unit.inference  # of its revision, whatever today's spec says
    if spec.cache is not None and unit.models != (EMBEDDER,):
        mounts.append(pod.claim("cache", context.owner.child("models"), CACHE))
    llmapi = unit.engine == "llmapi"
    container = _llmapi(context, unit, mounts) if llmapi else _cpu(unit, mounts)
    annotations = {}
    if llmapi:
        annotations["herald.dev/config"] = digest(model_yaml(unit.inference))
        if spec.secret_ref is not None:
            annotations[f"herald.dev/secret-{spec.secret_ref.name}"[:63]] = context.secrets.get(
                spec.secret_ref.name, ""
            )
    return pod.template(
        context.owner,
        COMPONENT,
        container,
        images,
        pull_secrets=context.images.pull_secrets,
        labels=label,
        annotations=annotations,
        user=1000 if llmapi else pod.USER,
        grace=60,
        more=_scheduling(unit) if llmapi else pod.spread(context.owner, COMPONENT, **label),
    )


def _probes(seconds: int) -> dict[str, Object]:
    # Strict readiness: true once every model of the list is loaded.
    return {
        "startupProbe": pod.http("/v2/health/ready", "http", period=5, failures=seconds // 5),
        "readinessProbe": pod.http("/v2/health/ready", "http", period=5, failures=3),
        "livenessProbe": pod.http("/v2/health/live", "http", period=15, failures=4, timeout=10),
    }


_PORTS = {"http": TRITON_HTTP, "grpc": TRITON_GRPC, "metrics": TRITON_METRICS}


def _cpu(unit: Unit, mounts: list[pod.Mount]) -> pod.Container:
    only_embeds = unit.models == (EMBEDDER,)
    inference = unit.inference
    env: dict[str, str | Object] = {}
    if CHAT_MODEL in unit.models:
        env["HERALD_CHAT_CONTEXT"] = str(inference.max_input_tokens + inference.max_tokens)
        if inference.model != BUILT_IN_MODEL:
            env["HERALD_CHAT_GGUF"] = inference.model
        limit = inference.resources.limits.get("cpu") if inference.resources is not None else None
        if limit is not None:
            # Unless told, it takes a thread for each CPU of the node, and is throttled.
            env["HERALD_CHAT_THREADS"] = str(max(1, math.ceil(amount(limit))))
    return pod.Container(
        name="triton",
        image=unit.image,
        command=("tritonserver",),
        args=(
            "--model-repository=/models",
            "--model-control-mode=explicit",
            *(f"--load-model={model}" for model in unit.models),
        ),
        env=env,
        ports=_PORTS,
        mounts=mounts,
        probes=_probes(1_800),
        resources=_EMBEDDER if only_embeds else pod.resources(inference.resources, _CPU),
    )


def _llmapi(context: Context, unit: Unit, mounts: list[pod.Mount]) -> pod.Container:
    inference = unit.inference
    assert inference.gpu is not None, "the model makes sure of it"  # noqa: S101
    mounts += [
        pod.config("settings", unit.name, "/etc/herald/triton"),
        pod.scratch("repository", "/repository"),
    ]
    env: dict[str, str | Object] = {
        "LLM_CONFIG_PATH": "/etc/herald/triton/model.yaml",
        "HF_HOME": f"{CACHE if inference.cache is not None else '/tmp'}/huggingface",  # noqa: S108
        "HOME": "/tmp",  # noqa: S108 - a volume of the pod's own
    }
    if inference.secret_ref is not None:
        mounts.append(pod.secret("token", inference.secret_ref.name, "/etc/herald/model-token"))
        env["HF_TOKEN_PATH"] = "/etc/herald/model-token/token"  # noqa: S105 - a path
    given = pod.resources(inference.resources, _GPU_MEMORY)
    gpus = {"nvidia.com/gpu": str(inference.gpu.count)}
    return pod.Container(
        name="triton",
        image=unit.image,
        # The image's own copy of the model is read-only for us, and Triton wants a repository of its own.
        command=("sh", "-ec"),
        args=(
            f"cp -r {_UPSTREAM} /repository/ && exec tritonserver --model-repository=/repository "
            "--model-control-mode=explicit --load-model=tensorrt_llm",
        ),
        env=env,
        ports=_PORTS,
        mounts=mounts,
        probes=_probes(3_600),
        resources={**given, "limits": {**given.get("limits", {}), **gpus}},
    )


def _scheduling(unit: Unit) -> Object:
    gpu = unit.inference.gpu
    assert gpu is not None, "the model makes sure of it"  # noqa: S101
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    tolerations += [t.model_dump(by_alias=True, exclude_none=True) for t in gpu.tolerations]
    return {
        "tolerations": tolerations,
        **({"nodeSelector": dict(gpu.node_selector)} if gpu.node_selector else {}),
        **({"runtimeClassName": gpu.runtime_class_name} if gpu.runtime_class_name else {}),
    }
