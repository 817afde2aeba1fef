"""The answers to requests for predictions: read, scored and written, together with others that wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server.media_types import InputType, OutputType
from fusionzoo.server.outcome import capture
from fusionzoo.server.request_queue import RequestQueue
from fusionzoo.server.scored_response import write_response
from fusionzoo.server.scoring_service import ScoredRequest, ScoringService

MAX_SMALL_BYTES = 8192  # of requests that are answered together: one row, or a few


@dataclass(frozen=True)
class PredictionRequest:
    """The body of a request, and the formats of the body and of the response."""

    body: bytes
    kind: InputType
    output: OutputType

    @property
    def is_small(self) -> bool:
        """Whether the number of rows is small for certain: compressed formats can hold many rows in few bytes."""
        is_plain = not self.kind.gzipped and self.kind.format != "parquet"
        return is_plain and len(self.body) <= MAX_SMALL_BYTES


@dataclass(frozen=True)
class PredictionAnswer:
    """The body of a response, and the number of its rows."""

    content: bytes
    rows: int


class RequestAnswers:
    """Answers requests of several threads, `ServerLimits.concurrency` at the same time."""

    def __init__(self, service: ScoringService) -> None:
        self._service = service
        limits = service.limits
        self._queue = RequestQueue[PredictionRequest, PredictionAnswer](
            self._answer_all, limits.concurrency, limits.queue_seconds, limits.max_waiting
        )

    def answer(self, request: PredictionRequest) -> PredictionAnswer:
        """Return the answer to a request.

        Raises:
            RequestError: too many other requests were answered for too long, or see `ScoringService.score`.
            errors.DataError: see `ScoringService.score`.
            errors.ScoresError: see `ScoringService.score`.
        """
        return self._queue.answer(request, request.is_small)

    def _answer_all(self, requests: Sequence[PredictionRequest]) -> list[PredictionAnswer | Exception]:
        outcomes = self._service.score_all([(request.body, request.kind) for request in requests])
        return [
            scored if isinstance(scored, Exception) else capture(partial(_write_answer, scored, request.output))
            for request, scored in zip(requests, outcomes, strict=True)
        ]


def _write_answer(scored: ScoredRequest, output: OutputType) -> PredictionAnswer:
    try:
        return PredictionAnswer(write_response(scored, output), len(scored))
    except pa.ArrowException as cause:
        raise RequestError.unwritable_values(output.format, cause) from cause
