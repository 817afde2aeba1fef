"""The paths of the server: one list for the application and for its OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Route:
    """A path of the server.

    Attributes:
        path: the path.
        endpoint: the name of the function that answers it.
        method: the HTTP method.
        summary: what the response has, in one sentence.
        media_type: of the response; empty if it has no content.
        errors: the status codes that are errors.
    """

    path: str
    endpoint: str
    method: str
    summary: str
    media_type: str = ""
    errors: tuple[int, ...] = ()


INVOKE_ERRORS = (400, 406, 408, 413, 415, 422, 500, 503)
ROUTES = (
    Route("/ping", "ping", "GET", "No content, once this process has scored a row.", errors=(503,)),
    Route("/invocations", "invoke", "POST", "One record for each row, in the order of the rows.", errors=INVOKE_ERRORS),
    Route("/metrics", "metrics", "GET", "Metrics of all processes, for Prometheus.", "text/plain"),
    Route("/execution-parameters", "execution", "GET", "What a batch transform job may use.", "application/json"),
    Route("/openapi.json", "openapi", "GET", "This document.", "application/json"),
    Route("/", "page", "GET", "A page that scores one row.", "text/html"),
)
STATUSES: Mapping[int, str] = {
    200: "The response.",
    400: "The body cannot be read.",
    406: "The client accepts no format of predictions.",
    408: "The client was too slow.",
    413: "There are too many bytes or rows, or a text is too long.",
    415: "The format, charset or compression of the rows is not supported.",
    422: "A column of the model does not exist, or a value cannot be encoded.",
    500: "The predictions could not be computed.",
    503: "The model does not work, or there are too many requests. Try again after the seconds of Retry-After.",
}
"""What each status code of the application means."""
