"""spec.inference: the model, and what serves it."""

from typing import ClassVar, Literal

from pydantic import Field, StrictFloat, StrictInt, model_validator

from herald_contracts.resources.v1alpha1.schema import (
    HttpUrl,
    Labels,
    ObjectName,
    Resource,
    Resources,
    Rule,
    SecretRef,
    Toleration,
)
from herald_contracts.resources.v1alpha1.servers import FIXED, Volume
from herald_contracts.settings import Generation

_OPENAI = "backend openai needs `openai: {baseURL: ...}`, and only that backend takes it"
_GPU = "engine llmapi needs `gpu`, and only that engine takes it"
_ELSEWHERE = "backend openai computes elsewhere: engine, gpu, cache and secretRef are Triton's"
_NOT_HERE = "backend openai computes elsewhere: leave out replicas, maxBatchSize and resources, which are Triton's"
_BATCHES = "maxBatchSize is for engine llmapi: leave it out, or take that engine and give `gpu`"
_GATED = "secretRef is for gated models that engine llmapi downloads: leave it out, or take that engine and give `gpu`"
_REPLICAS, _BATCH_SIZE = 1, 32  # as good as left out: an API server writes defaults down


class OpenAi(Resource):
    """Any OpenAI-compatible endpoint. Key of the Secret: `api-key`."""

    base_url: HttpUrl = Field(alias="baseURL", description="up to and with /v1")
    secret_ref: SecretRef | None = Field(default=None, description="Secret with `api-key`")


class Gpu(Resource):
    """The GPUs of one inference pod."""

    count: StrictInt = Field(default=1, ge=1, le=16, description="per pod; more than one is tensor parallelism")
    node_selector: Labels = Field(default_factory=dict, description="labels of the nodes that have them")
    tolerations: tuple[Toleration, ...] = Field(
        default=(), max_length=16, description="taints of those nodes; that of nvidia.com/gpu is always tolerated"
    )
    runtime_class_name: ObjectName | None = Field(default=None, description="such as nvidia, where nodes need it")


class ModelCache(Resource):
    """A volume that keeps downloaded models, shared by the inference pods of the deployment."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("self == oldSelf", FIXED),)

    volume: Volume = Field(description="its size and class")
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = Field(
        default="ReadWriteOnce", description="ReadWriteMany lets pods on several nodes share it"
    )


class Inference(Resource):
    """The model, and what serves it."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("(self.backend == 'openai') == has(self.openai)", _OPENAI),
        Rule("(self.engine == 'llmapi') == has(self.gpu)", _GPU),
        Rule(
            "self.backend == 'triton' || (self.engine == 'cpu' && !has(self.cache) && !has(self.secretRef))", _ELSEWHERE
        ),
        Rule(
            f"self.backend == 'triton' || (self.replicas == {_REPLICAS} && self.maxBatchSize == {_BATCH_SIZE} && "
            "!has(self.resources))",
            _NOT_HERE,
        ),
        Rule(
            f"self.backend == 'openai' || self.engine == 'llmapi' || self.maxBatchSize == {_BATCH_SIZE}",
            _BATCHES,
            ".maxBatchSize",
        ),
        Rule(
            "self.backend == 'openai' || self.engine == 'llmapi' || !has(self.secretRef)",
            _GATED,
            ".secretRef",
        ),
    )

    model: str = Field(
        min_length=1,
        max_length=512,
        description="HuggingFaceTB/SmolLM2-135M-Instruct, a path to a GGUF file, `scripted` (tests), a Hugging Face "
        "name with engine llmapi, or with backend openai the endpoint's own name",
    )
    backend: Literal["triton", "openai"] = Field(
        default="triton", description="Triton, or an OpenAI-compatible endpoint"
    )
    engine: Literal["cpu", "llmapi"] = Field(
        default="cpu",
        description="what computes in Triton: llama.cpp on CPUs, or TensorRT-LLM on GPUs (a cluster only)",
    )
    openai: OpenAi | None = Field(default=None, description="with backend openai")
    gpu: Gpu | None = Field(default=None, description="with engine llmapi")
    replicas: StrictInt = Field(default=_REPLICAS, ge=1, le=32, description="inference pods per model")
    max_batch_size: StrictInt = Field(
        default=_BATCH_SIZE, ge=1, le=512, description="answers computed at the same time (llmapi)"
    )
    max_tokens: StrictInt = Field(default=Generation().max_tokens, ge=1, le=8_192, description="longest answer")
    max_input_tokens: StrictInt = Field(
        default=Generation().max_input_tokens, ge=128, le=131_072, description="longest prompt; older history is cut"
    )
    temperature: StrictFloat = Field(
        default=Generation().temperature, ge=0, le=2, description="0 is always the same answer"
    )
    cache: ModelCache | None = Field(default=None, description="keeps downloaded models; none: each pod downloads")
    secret_ref: SecretRef | None = Field(default=None, description="Secret with `token`, for gated Hugging Face models")
    resources: Resources | None = Field(default=None, description="of each inference pod's container")

    @model_validator(mode="after")
    def _fits(self) -> "Inference":
        if (self.backend == "openai") != (self.openai is not None):
            raise ValueError(_OPENAI)
        if (self.engine == "llmapi") != (self.gpu is not None):
            raise ValueError(_GPU)
        triton_only = self.engine != "cpu" or self.cache is not None or self.secret_ref is not None
        if self.backend == "openai" and triton_only:
            raise ValueError(_ELSEWHERE)
        return self

    @model_validator(mode="after")
    def _means_something(self) -> "Inference":
        batch = self.max_batch_size != _BATCH_SIZE
        if self.backend == "openai" and (batch or self.replicas != _REPLICAS or self.resources is not None):
            raise ValueError(_NOT_HERE)
        if self.backend == "triton" and self.engine == "cpu" and batch:
            raise ValueError(_BATCHES)
        if self.backend == "triton" and self.engine == "cpu" and self.secret_ref is not None:
            raise ValueError(_GATED)
        return self
