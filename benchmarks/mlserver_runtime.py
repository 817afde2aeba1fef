"""The model of MLServer that `serve.py` compares with: it runs an ONNX file on arrays, with one thread.

`serve.py` copies this file into MLServer's model folder; only MLServer imports it.
"""

from __future__ import annotations

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """An ONNX file at the URI of the model."""

    async def load(self) -> bool:
        """Open the file."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options, providers=providers)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return the scores of the arrays."""
        inputs = {entry.name: NumpyCodec.decode_input(entry) for entry in payload.inputs}
        (scores,) = self._session.run(None, inputs)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])
