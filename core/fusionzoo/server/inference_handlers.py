"""What SageMaker's inference toolkits call, see inference.py: the server without its HTTP part."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from fusionzoo import errors
from fusionzoo.artifacts.verified_folder import find_model_folder
from fusionzoo.server.error_response import find_status
from fusionzoo.server.media_types import InputType, choose_output_type, parse_input_type
from fusionzoo.server.scored_response import write_response
from fusionzoo.server.scoring_service import ScoredRequest, ScoringService
from fusionzoo.server.server_limits import ServerLimits
from fusionzoo.serving.predictor import Predictor

__all__ = [
    "HandlerRequest",
    "ScoredRequest",
    "ScoringService",
    "load_service",
    "make_request",
    "make_response",
    "score",
]

TOOLKIT_ERRORS = "sagemaker_inference.errors"  # the module whose errors have a status code
LIMITS = ServerLimits(max_body_bytes=100_000_000, max_rows=10_000_000)  # SageMaker's own limit of a payload is 100 MB


@dataclass(frozen=True)
class HandlerRequest:
    """The body of a request and its format."""

    body: bytes
    kind: InputType


def load_service(model_dir: str | Path) -> ScoringService:
    """Return the model in a folder, or in the only folder in it that has a manifest.json, after it has scored a row.

    Raises:
        errors.ModelFolderError: the folder cannot be used.
        errors.RequestError: the model does not work.
    """
    service = ScoringService(Predictor.load(find_model_folder(Path(model_dir))), LIMITS)
    service.warm_up()
    service.check_ready()
    return service


def make_request(body: str | bytes | bytearray, content_type: str) -> HandlerRequest:
    """Return a request. Toolkits decode some formats to text.

    Raises:
        errors.RequestError: there is no such format.
    """
    content = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
    with _state_status():
        return HandlerRequest(content, parse_input_type(content_type, None))


def score(service: ScoringService, request: HandlerRequest) -> ScoredRequest:
    """Return the predictions for the rows of a request, in their order.

    Raises:
        errors.ZooError: the rows cannot be scored.
    """
    with _state_status():
        return service.score(request.body, request.kind)


def make_response(scored: ScoredRequest, accept: str | None) -> tuple[str, str]:
    """Return the predictions as text, and their media type.

    Raises:
        errors.RequestError: the client accepts no format of predictions, or the format cannot hold them.
    """
    with _state_status():
        output = choose_output_type(accept, scored.format)
        return write_response(scored, output).decode(), output.media_type


@contextmanager
def _state_status() -> Iterator[None]:
    """In the block, let a toolkit answer the fault of a client with its status, as the server does, instead of 500.

    Only a running toolkit has its module imported, so that the errors of fusionzoo stay the same elsewhere.
    """
    try:
        yield
    except errors.ZooError as error:
        toolkit, status = sys.modules.get(TOOLKIT_ERRORS), find_status(error)
        if toolkit is None or status == HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        raise toolkit.BaseInferenceToolkitError(status, str(error), HTTPStatus(status).phrase) from error
