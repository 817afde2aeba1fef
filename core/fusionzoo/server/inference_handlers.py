"""What SageMaker's inference toolkits call, see inference.py: the server without its HTTP part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fusionzoo.server.media_types import InputType, choose_output_type, parse_input_type
from fusionzoo.server.scored_response import write_response
from fusionzoo.server.scoring_service import ScoredRequest, ScoringService
from fusionzoo.server.server_limits import ServerLimits
from fusionzoo.serving.predictor import Predictor

__all__ = ["HandlerRequest", "ScoredRequest", "ScoringService", "load_service", "make_request", "make_response"]

LIMITS = ServerLimits(max_body_bytes=100_000_000, max_rows=10_000_000)  # SageMaker's own limit of a payload is 100 MB


@dataclass(frozen=True)
class HandlerRequest:
    """The body of a request and its format."""

    body: bytes
    kind: InputType


def load_service(model_dir: str | Path) -> ScoringService:
    """Return the model in a folder, after it has scored a row.

    Raises:
        errors.ModelFolderError: the folder cannot be used.
        errors.RequestError: the model does not work.
    """
    service = ScoringService(Predictor.load(model_dir), LIMITS)
    service.warm_up()
    service.check_ready()
    return service


def make_request(body: str | bytes | bytearray, content_type: str) -> HandlerRequest:
    """Return a request. Toolkits decode some formats to text.

    Raises:
        errors.RequestError: there is no such format.
    """
    content = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body)
    return HandlerRequest(content, parse_input_type(content_type, None))


def make_response(scored: ScoredRequest, accept: str | None) -> tuple[str, str]:
    """Return the predictions as text, and their media type.

    Raises:
        errors.RequestError: the client accepts no format of predictions.
    """
    output = choose_output_type(accept, "csv" if scored.is_delimited else "json")
    return write_response(scored, output).decode(), output.media_type
