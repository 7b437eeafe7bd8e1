"""A model whose cost is known: 20 ms per batch and 0.3 ms per row, as a GPU model of modest size behaves.

Loaded twice by P9, with and without dynamic batching, so that the only difference is Triton's.
"""

import time
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

PER_BATCH, PER_ROW = 0.020, 0.0003


class TritonPythonModel:
    def execute(self, requests: list[Any]) -> list[Any]:
        values = [pb_utils.get_input_tensor_by_name(request, "value").as_numpy() for request in requests]
        time.sleep(PER_BATCH + PER_ROW * sum(len(value) for value in values))
        return [
            pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("result", value.astype(np.float32))])
            for value in values
        ]
