"""Errors as responses: the status code, and a JSON document that names rows and columns."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from werkzeug.exceptions import BadRequest, HTTPException, MethodNotAllowed, RequestEntityTooLarge

from fusionzoo import errors
from fusionzoo.errors.request_errors import RequestError, RequestProblem

log = logging.getLogger(__name__)
# Codes of channels, files and lines, without that of a header that lacks columns; others are about columns and values.
SYNTAX_CODES = re.compile(r"FZ-D(0|3(?!04))\d\d")


def find_status(error: errors.ZooError) -> int:
    """Return the status code of an error: 400 if the body cannot be read, 422 if its columns or values are wrong."""
    if isinstance(error, RequestError):
        return error.status
    if isinstance(error, errors.DataError):
        return 400 if all(SYNTAX_CODES.match(problem.code) for problem in error.problems) else 422
    return 503 if isinstance(error, errors.MemoryExhaustedError) else 500


def convert_error(error: Exception, paths: list[str], max_body_bytes: int) -> errors.ZooError:
    """Return what is reported about an exception. One that is not the fault of the client is logged."""
    if isinstance(error, errors.ZooError) and find_status(error) != 500:
        return error
    if isinstance(error, RequestEntityTooLarge):
        return RequestError.body_too_large(max_body_bytes)
    if isinstance(error, MethodNotAllowed):
        return RequestError.http(405, "The path does not allow this method", list(error.valid_methods or ()))
    if isinstance(error, BadRequest):  # the client closed the connection, or Content-Length is wrong
        return RequestError.incomplete_body(EOFError("it ended early, or its length is not valid"))
    if isinstance(error, HTTPException):
        status = error.code or 500
        reason = "The path does not exist" if status == 404 else error.name
        return RequestError.http(status, reason, paths)
    log.error("A request failed.", exc_info=error)
    if isinstance(error, errors.ScoresError) and error.rows:
        return RequestError.not_finite(error)
    return RequestError.internal()


def describe_error(error: errors.ZooError, request_id: str) -> dict[str, Any]:
    """Return the JSON document of an error, without a stack trace."""
    summary = {"code": find_code(error), "message": error.parts[0], "fix": error.fix}
    if isinstance(error, errors.ProblemsError):
        first = error.problems[0]
        others = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        summary |= {"message": f"{first.where}: {first.message}{others}.", "fix": f"{first.fix}."}
    problems = [_describe_problem(problem) for problem in _list_problems(error)]
    return {"error": {**summary, "problems": problems}, "request_id": request_id}


def render_response(error: RequestError, request_id: str, has_content: bool = True) -> bytes:
    """Return a whole HTTP response, for connections that no application answers. The connection is closed after it."""
    content = json.dumps(describe_error(error, request_id)).encode() + b"\n"
    headers = {
        "Content-Type": "application/json",
        "Content-Length": len(content),
        "X-Request-Id": request_id,
        "Connection": "close",
    }
    if error.retry_after is not None:
        headers["Retry-After"] = error.retry_after
    lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + (content if has_content else b"")


def find_code(error: errors.ZooError) -> str:
    """Return the code of an error, or of its first problem."""
    return error.problems[0].code if isinstance(error, errors.ProblemsError) else error.code


def _describe_problem(problem: RequestProblem) -> dict[str, Any]:
    known = {"row": problem.row, "column": problem.column, "message": problem.message}
    return {**known, **({"fix": problem.fix, "code": problem.code} if problem.code else {})}


def _list_problems(error: errors.ZooError) -> Iterator[RequestProblem]:
    if isinstance(error, RequestError):
        yield from error.problems
    elif isinstance(error, errors.ProblemsError):
        for problem in error.problems[: errors.MAX_LISTED_PROBLEMS]:
            yield from _find_places(problem)


def _find_places(problem: errors.Problem) -> Iterator[RequestProblem]:
    """Yield a problem once for each row that it names."""
    for row in problem.rows or (None,):
        yield RequestProblem(row, problem.column, problem.message, problem.fix, problem.code)
