"""The functions that SageMaker's inference toolkits call to serve a model folder, without torch.

`fusionzoo package` copies this file to `code/inference.py` of a model.tar.gz, for an image of AWS in which
`fusionzoo[serve]` is installed. `fusionzoo serve` needs none of them.
"""

from __future__ import annotations

from fusionzoo.server.inference_handlers import (
    HandlerRequest,
    ScoredRequest,
    ScoringService,
    load_service,
    make_request,
    make_response,
    score,
)


def model_fn(model_dir: str) -> ScoringService:
    """Return the model in a folder, which is verified and has scored a row. Other folders are ignored."""
    return load_service(model_dir)


def input_fn(request_body: str | bytes | bytearray, content_type: str) -> HandlerRequest:
    """Return the rows of a request; the model is needed to read them."""
    return make_request(request_body, content_type)


def predict_fn(data: HandlerRequest, model: ScoringService) -> ScoredRequest:
    """Return the predictions for the rows of a request, in their order."""
    return score(model, data)


def output_fn(prediction: ScoredRequest, accept: str) -> tuple[str, str]:
    """Return the response in the format that the client prefers, and its media type."""
    return make_response(prediction, accept)
