"""Score blocks of rows on a Ray cluster: one predictor in each worker, and a bounded number of blocks in flight."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fusionzoo import errors
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.rows import Rows
from fusionzoo.errors.prediction_errors import PredictionJobError
from fusionzoo.library_environment import disable_ray_telemetry
from fusionzoo.serving.predictor import Predictor, ScoredRows
from fusionzoo.serving.value_counts import ValueCounts

BLOCKS_PER_WORKER = 2  # one is scored while the next one arrives


@dataclass(frozen=True)
class WorkerResult:
    """The scores of a block and the counts of its values, or the problems of its values and no scores."""

    scores: np.ndarray | None  # [rows, outputs] float32
    counts: ValueCounts
    problems: tuple[errors.Problem, ...] = ()


class Worker:
    """A process of the cluster with a predictor of its own."""

    def __init__(self, model: str, batch_size: int, threads: int) -> None:
        self._predictor, self._batch_size = Predictor.load(model, threads), batch_size

    def score(self, rows: Rows) -> WorkerResult:
        """Score a block."""
        counts = ValueCounts()
        try:
            (scored,) = self._predictor.predict_blocks([rows], self._batch_size, counts, allow_nonfinite=True)
        except errors.DataError as error:  # an exception of its own class cannot be sent to the driver
            return WorkerResult(None, counts, error.problems)
        return WorkerResult(scored.scores, counts)


@dataclass(frozen=True)
class RayEngine:
    """Scores with the workers of a cluster; the blocks return in their order.

    `columns` are those that a worker needs: others are not sent.
    """

    ray: Any
    workers: list[Any]
    columns: tuple[str, ...]

    def score(self, blocks: Iterable[Rows]) -> Iterator[ScoredRows]:
        """Yield the scores of each block, in their order. Then log the warnings of `Predictor.predict_blocks`.

        Raises:
            errors.DataError: values that cannot be encoded, of all blocks; no scores follow the first of them.
            PredictionJobError: a worker ended.
        """
        problems, counts = ProblemLog(), ValueCounts()
        pending: deque[tuple[Rows, Any]] = deque()
        with problems.collect():
            for number, rows in enumerate(blocks):
                if len(pending) == BLOCKS_PER_WORKER * len(self.workers):
                    yield from self._receive(pending, problems, counts)
                sent = replace(rows, columns={name: rows.columns[name] for name in self.columns})
                pending.append((rows, self.workers[number % len(self.workers)].score.remote(sent)))
        while pending:
            yield from self._receive(pending, problems, counts)
        problems.raise_if_any()
        counts.log_warnings()

    def _receive(
        self, pending: deque[tuple[Rows, Any]], problems: ProblemLog, counts: ValueCounts
    ) -> Iterator[ScoredRows]:
        """Yield the oldest block, unless there are problems."""
        rows, pending_result = pending.popleft()
        try:
            result: WorkerResult = self.ray.get(pending_result)
        except self.ray.exceptions.RayError as error:
            raise PredictionJobError.worker_failed(error) from error
        for problem in result.problems:
            problems.add(problem)
        counts.add(result.counts)
        if result.scores is not None and not problems.problems:
            yield ScoredRows(rows, result.scores)


@contextmanager
def start_ray_engine(model: Path, predictor: Predictor, batch_size: int) -> Iterator[RayEngine]:
    """Yield an engine on the cluster that RAY_ADDRESS names, or on an embedded one with one worker for each core.

    Raises:
        PredictionJobError: Ray is not installed, there is no cluster, or a worker cannot load the model.
    """
    disable_ray_telemetry()
    try:
        import ray as untyped_ray
    except ImportError as cause:
        raise PredictionJobError.ray_missing(cause) from cause
    ray: Any = untyped_ray
    was_running = ray.is_initialized()
    if not was_running:
        _connect(ray)
    workers: list[Any] = []
    try:
        count = max(1, int(ray.cluster_resources().get("CPU", 1)))
        make_worker = ray.remote(num_cpus=1, max_restarts=0)(Worker)
        workers += [make_worker.remote(str(model.resolve()), batch_size, 1) for _ in range(count)]
        yield RayEngine(ray, workers, tuple(dict.fromkeys(predictor.columns)))
    finally:
        for worker in workers:
            ray.kill(worker)  # otherwise it keeps its core until the last reference is gone
        if not was_running:
            ray.shutdown()


def _connect(ray: Any) -> None:
    """Connect to the cluster, or start an embedded one.

    Raises:
        PredictionJobError: there is no such cluster, or it cannot start.
    """
    try:
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
    except Exception as cause:  # Ray raises many types of errors for a wrong address, a full disk or another version
        raise PredictionJobError.no_cluster(os.environ.get("RAY_ADDRESS"), cause) from cause
