"""The Flask application: its paths, and what it does before and after each request."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

from flask import Flask, Response, g, request
from prometheus_client import CONTENT_TYPE_LATEST

from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server.access_log import choose_request_id, log_request
from fusionzoo.server.error_response import convert_error, describe_error, find_code, find_status
from fusionzoo.server.media_types import choose_output_type, parse_input_type
from fusionzoo.server.memory_budget import MemoryBudget
from fusionzoo.server.openapi_document import describe_api
from fusionzoo.server.page import render_page
from fusionzoo.server.request_answers import PredictionRequest, RequestAnswers
from fusionzoo.server.request_body import discard_body, receive_body
from fusionzoo.server.routes import ROUTES
from fusionzoo.server.scoring_service import ScoringService
from fusionzoo.server.server_limits import MAX_WAITING_FOR_MEMORY, RETRY_SECONDS
from fusionzoo.server.server_metrics import ServerMetrics

REQUEST_ID_HEADER, VERSION_HEADER = "X-Request-Id", "X-Model-Version"
QUIET_PATHS = ("/ping", "/metrics")  # not in the log if they succeed: others call them every few seconds
MAX_TRANSFORM_MB = 100  # the product of both parameters of a batch transform job, by SageMaker's documentation
TRANSFORM_PAYLOAD_MB = 6  # SageMaker's default


def create_application(service: ScoringService, metrics: ServerMetrics, processes: int = 1) -> Flask:
    """Return the application of one server process.

    Args:
        service: scores the rows.
        metrics: counts requests and rows.
        processes: the number of processes of the server.
    """
    app, answers, limits = Flask("fusionzoo", static_folder=None), RequestAnswers(service), service.limits
    memory = MemoryBudget(limits.memory_bytes, limits.queue_seconds, MAX_WAITING_FOR_MEMORY)
    app.config["MAX_CONTENT_LENGTH"] = limits.max_body_bytes + 1  # Werkzeug cuts a chunked body at the limit
    views: Mapping[str, Callable[[], Response]] = {
        "ping": lambda: _ping(service),
        "invoke": lambda: _invoke(service, answers, memory, metrics),
        "metrics": lambda: Response(metrics.render(), content_type=CONTENT_TYPE_LATEST),
        "execution": lambda: _json_response(_describe_execution(service, processes)),
        "openapi": lambda: _json_response(describe_api(service)),
        "page": render_page,
    }
    for route in ROUTES:
        app.add_url_rule(route.path, route.endpoint, views[route.endpoint], methods=[route.method])
    paths = [route.path for route in ROUTES]
    app.before_request(lambda: _begin(metrics))
    app.after_request(lambda response: _end(response, service, metrics))
    app.register_error_handler(Exception, lambda error: _answer_error(error, paths, service))
    return app


def _ping(service: ScoringService) -> Response:
    service.check_ready()
    return Response(status=HTTPStatus.OK)


def _invoke(service: ScoringService, answers: RequestAnswers, memory: MemoryBudget, metrics: ServerMetrics) -> Response:
    service.check_ready()
    kind = parse_input_type(request.headers.get("Content-Type"), request.headers.get("Content-Encoding"))
    output = choose_output_type(request.headers.get("Accept"), kind.format)
    with receive_body(memory, service.limits) as body:
        g.bytes_in = len(body)
        answer = answers.answer(PredictionRequest(body, kind, output))
    g.rows = answer.rows
    metrics.count_rows(g.rows)
    response = Response(answer.content, content_type=f"{output.media_type}; charset=utf-8")
    response.call_on_close(memory.hold(len(answer.content)).release)
    return response


def _describe_execution(service: ScoringService, processes: int) -> dict[str, object]:
    """Return what SageMaker asks a container about before a batch transform job."""
    payload = max(1, min(TRANSFORM_PAYLOAD_MB, service.limits.max_body_bytes // 10**6))
    concurrent = max(1, min(processes * service.limits.concurrency, MAX_TRANSFORM_MB // payload))
    return {"MaxConcurrentTransforms": concurrent, "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": payload}


def _json_response(document: object, status: int = 200) -> Response:
    return Response(json.dumps(document) + "\n", status, content_type="application/json")


def _answer_error(error: Exception, paths: list[str], service: ScoringService) -> Response:
    reported = convert_error(error, paths, service.limits.max_body_bytes)
    status = find_status(reported)
    response = _json_response(describe_error(reported, g.request_id), status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        seconds = reported.retry_after if isinstance(reported, RequestError) else None
        response.headers["Retry-After"] = str(seconds or RETRY_SECONDS)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        response.headers["Allow"] = ", ".join(getattr(error, "valid_methods", None) or ())
    g.error_code = find_code(reported)
    return response


def _begin(metrics: ServerMetrics) -> None:
    g.started = time.perf_counter()
    g.request_id = choose_request_id(request.headers.get(REQUEST_ID_HEADER))
    metrics.in_progress.inc()


def _end(response: Response, service: ScoringService, metrics: ServerMetrics) -> Response:
    if "bytes_in" not in g:  # the body was not received completely
        discard_body()
    seconds = time.perf_counter() - g.started
    metrics.in_progress.dec()
    path = request.url_rule.rule if request.url_rule else "other"
    metrics.count_request(path, response.status_code, seconds)
    response.headers[REQUEST_ID_HEADER] = g.request_id
    response.headers[VERSION_HEADER] = service.version
    is_quiet = path in QUIET_PATHS and response.status_code == HTTPStatus.OK
    log_request(
        logging.DEBUG if is_quiet else logging.INFO,
        request_id=g.request_id,
        method=request.method,
        path=request.path[:200],
        status=response.status_code,
        seconds=round(seconds, 6),
        rows=g.get("rows"),
        bytes_in=g.get("bytes_in"),
        bytes_out=response.content_length,
        client=request.remote_addr,
        content_type=request.headers.get("Content-Type", "")[:100] or None,
        accept=request.headers.get("Accept", "")[:100] or None,
        error=g.get("error_code"),
    )
    return response
