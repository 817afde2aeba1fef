"""Scores the rows of requests, a bounded number of requests at the same time, once the model has scored a row."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fusionzoo.artifacts.predictions import Predictions, prediction_columns
from fusionzoo.data.data_settings import ROW_ID
from fusionzoo.data.preprocessor import get_ids
from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server.joined_rows import join_rows
from fusionzoo.server.media_types import InputType
from fusionzoo.server.outcome import capture
from fusionzoo.server.request_rows import RequestReader, RequestRows
from fusionzoo.server.server_limits import RETRY_SECONDS, ServerLimits
from fusionzoo.serving.predictor import Predictor, ScoredRows
from fusionzoo.serving.value_counts import UnusualValueLog, ValueCounts

if TYPE_CHECKING:
    from fusionzoo.server.server_metrics import ServerMetrics

log = logging.getLogger(__name__)
MODEL_VERSION = "model_version"
VERSION_LENGTH = 12  # hexadecimal digits of the checksum of the manifest
TEXT_EXAMPLE = "A text."
MAX_EXAMPLES, MAX_EXAMPLE_LENGTH = 20, 100


@dataclass(frozen=True)
class ScoredRequest:
    """The predictions for a request.

    Attributes:
        blocks: the predictions in the order of the rows. Without ids, their id column has no meaning.
        has_ids: whether the rows have ids.
        has_header: whether the rows are delimited and have a header.
        format: the format of the rows, as `InputType` has it.
    """

    blocks: list[Predictions]
    has_ids: bool
    has_header: bool
    format: str

    def __len__(self) -> int:
        return sum(map(len, self.blocks))


@dataclass(frozen=True)
class ColumnExample:
    """A column that the model reads: its name, its role (text, category or number) and values that it may have."""

    name: str
    role: str
    values: tuple[str | float, ...] = ()


class ScoringService:
    """Scores the rows of requests with one predictor.

    Construction loads nothing. The service is ready after `warm_up`, which every process calls for itself.

    Args:
        predictor: the model.
        limits: what clients may do.
        metrics: count the values of requests that the model does not know; None if nobody reads them.

    Raises:
        errors.PredictionColumnsError: the id column has the name of another column of the predictions.
    """

    def __init__(self, predictor: Predictor, limits: ServerLimits, metrics: ServerMetrics | None = None) -> None:
        self._predictor, self.limits, self._metrics, self._value_log = predictor, limits, metrics, UnusualValueLog()
        self.version, self.title = predictor.version[:VERSION_LENGTH], predictor.task.title
        self.id_name = predictor.preprocessor.settings.id_name
        self._reader = RequestReader(predictor.preprocessor.settings, limits)
        self._is_ready = False
        self._failure: Exception | None = None
        prediction_columns(self.id_name or ROW_ID, predictor.task, [MODEL_VERSION], has_labels=False)

    def column_examples(self) -> list[ColumnExample]:
        """Return the columns that the model reads, with the most frequent categories and the mean numbers of train."""
        fitted = self._predictor.preprocessor
        texts = [ColumnExample(name, "text", (TEXT_EXAMPLE,)) for name in fitted.settings.text_columns]
        categories = [ColumnExample(c.name, "category", _choose_short(c.values)) for c in fitted.categories]
        numbers = [ColumnExample(n.name, "number", (float(f"{n.mean:.3g}"),)) for n in fitted.numbers]
        columns = {column.name: column for column in (*numbers, *categories, *texts)}
        return [columns[name] for name in self._predictor.columns]

    def record_schema(self) -> pa.Schema:
        """Return the names and types of the values of a record, for rows without ids."""
        scores = np.zeros((0, self._predictor.preprocessor.target.num_outputs), np.float32)
        versions = {MODEL_VERSION: pa.array([], pa.string())}
        schema = Predictions(ROW_ID, self._predictor.task, pa.nulls(0), None, scores, versions).schema()
        return schema.remove(0)

    def warm_up(self) -> None:
        """Score a row of missing values and one with a text. The service is ready if that works, or logs why not.

        The text lets the tokenizer start its threads now, when no request has taken the last one that is allowed.
        """
        missing = dict.fromkeys(self._predictor.columns)
        texts = dict.fromkeys(self._predictor.preprocessor.settings.text_columns, TEXT_EXAMPLE)
        try:
            self._predictor.predict([missing, {**missing, **texts}])
        except Exception as error:  # every request reports it
            self._failure = error
            log.critical("The model cannot score a row of missing values.", exc_info=error)
        else:
            self._is_ready = True

    def check_ready(self) -> None:
        """Raise RequestError if no row has been scored yet, or the model does not work."""
        if self._failure is not None:
            raise RequestError.not_working(self._failure, 10 * RETRY_SECONDS) from self._failure
        if not self._is_ready:
            raise RequestError.loading(RETRY_SECONDS)

    def score(self, body: bytes, kind: InputType) -> ScoredRequest:
        """Return the predictions for the rows of a request, in their order.

        The columns are those of a prediction file without labels, and `model_version`.

        Raises:
            RequestError: the body or its rows cannot be used.
            errors.DataError: columns do not exist, or values cannot be encoded.
            errors.ScoresError: a score is not finite.
        """
        return self._score_rows(self._reader.read(body, kind))

    def score_all(self, requests: Sequence[tuple[bytes, InputType]]) -> list[ScoredRequest | Exception]:
        """Return what `score` returns for each request, or raises. The rows of small requests are scored together."""
        outcomes = [capture(partial(self._reader.read, body, kind)) for body, kind in requests]
        members = {i: read for i, read in enumerate(outcomes) if isinstance(read, RequestRows)}
        scored = capture(
            partial(self._score_together, {i: rows for i, rows in members.items() if len(rows.blocks) == 1})
        )
        if isinstance(scored, Exception):  # of some of the requests: alone, each of them has its own error
            scored = {}
        alone = {i: capture(partial(self._score_rows, rows)) for i, rows in members.items() if i not in scored}
        errors = {i: error for i, error in enumerate(outcomes) if isinstance(error, Exception)}
        answers = errors | alone | scored
        return [answers[i] for i in range(len(requests))]

    def _score_together(self, requests: Mapping[int, RequestRows]) -> dict[int, ScoredRequest]:
        """Return the predictions for those requests, each of one block, that share the types of their columns."""
        scored, numbers, counts = {}, list(requests), ValueCounts()
        for joined in join_rows([rows.blocks[0] for rows in requests.values()], self._predictor.columns):
            blocks = self._predictor.predict_blocks([joined.rows], counts=counts)
            scores = np.concatenate([block.scores for block in blocks])
            start = 0
            for number in (numbers[i] for i in joined.indices):
                rows = requests[number]
                block = ScoredRows(rows.blocks[0], scores[start : start + len(rows)])
                scored[number] = self._make_response(rows, [block])
                start += len(rows)
        self._report(counts)
        return scored

    def _score_rows(self, read: RequestRows) -> ScoredRequest:
        counts = ValueCounts()
        response = self._make_response(read, list(self._predictor.predict_blocks(read.blocks, counts=counts)))
        self._report(counts)
        return response

    def _report(self, counts: ValueCounts) -> None:
        """Report the values of requests that were scored completely."""
        self._value_log.write(counts)
        if self._metrics is not None:
            self._metrics.count_values(counts.values)

    def _make_response(self, read: RequestRows, scored: Sequence[ScoredRows]) -> ScoredRequest:
        blocks = [self._make_predictions(block, read.id_name) for block in scored]
        return ScoredRequest(blocks, read.id_name is not None, read.has_header, read.format)

    def _make_predictions(self, scored: ScoredRows, id_name: str | None) -> Predictions:
        versions = pa.array([self.version] * len(scored.rows), pa.string())
        ids = get_ids(scored.rows, id_name)
        task, carried = self._predictor.task, {MODEL_VERSION: versions}
        return Predictions(id_name or ROW_ID, task, ids, None, scored.scores, carried)


def _choose_short(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(islice((value for value in values if len(value) <= MAX_EXAMPLE_LENGTH), MAX_EXAMPLES))
