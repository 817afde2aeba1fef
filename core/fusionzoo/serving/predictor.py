"""Score raw rows with a model folder alone: ONNX Runtime and the preprocessor, without torch, network or plugins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.artifacts.file_names import ONNX_FILE
from fusionzoo.artifacts.onnx_session import open_onnx_session
from fusionzoo.artifacts.verified_folder import verify_folder
from fusionzoo.data.preprocessor import PREPROCESSOR_FILE, TOKENIZER_FILE, Preprocessor
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.rows import Rows
from fusionzoo.serving.arguments import check_batch_size, check_blocks, check_not_url, check_threads, choose_source
from fusionzoo.serving.row_source import ModelColumns, Predictions, RowSource
from fusionzoo.serving.scoring import Scorer, check_finite
from fusionzoo.serving.value_counts import ValueCounts
from fusionzoo.tasks.task import Task
from fusionzoo.tasks.task_choice import choose_task

if TYPE_CHECKING:
    import onnxruntime
    import pandas as pd
    from typing_extensions import Self

    from fusionzoo.data.targets.class_labels import Label

__all__ = ["Predictor", "ScoredRows"]

BATCH_SIZE = 64  # rows


@dataclass(frozen=True)
class ScoredRows:
    """A block of rows, and their scores [rows, outputs] float32. `Predictor.task` says what scores mean."""

    rows: Rows
    scores: np.ndarray


@dataclass(frozen=True)
class _Origin:
    """The arguments of `Predictor.load`; the folder is an absolute path."""

    folder: Path
    threads: int | None


@dataclass(frozen=True)
class _LoadedModel:
    preprocessor: Preprocessor
    session: onnxruntime.InferenceSession
    task: Task
    columns: ModelColumns

    @classmethod
    def of(cls, preprocessor: Preprocessor, session: onnxruntime.InferenceSession) -> _LoadedModel:
        columns = ModelColumns.of(preprocessor.settings)
        return cls(preprocessor, session, choose_task(preprocessor), columns)


class Predictor:
    """A trained model that turns raw rows into predictions.

    Rows are a pandas DataFrame, a `pyarrow.Table` or `RecordBatch`, another table with Arrow's PyCapsule interface such
    as a polars DataFrame, an iterable of dictionaries, or the path of a file or folder in any format that training
    reads. Predictions are returned in the same kind and order:

    - a DataFrame for a DataFrame, with the same index;
    - a RecordBatch for a RecordBatch, and a Table for a Table or another table; `polars.from_arrow` converts it;
    - a list of dictionaries with plain values for an iterable of dictionaries;
    - a Table for a path. Its first column has the ids, if the files have the id column of the model.

    Each column that the model reads must be there. An absent column is an error; among dictionaries, a column is absent
    if no dictionary has its key. A missing value is data: null, None, NaN, NaT, pandas.NA, or a key that only some
    dictionaries lack. Labels and ids are optional. The prediction of a row does not depend on the other rows, on
    their order, kind or number.

    One predictor can be used by several threads at the same time. Memory does not grow with the number of rows, except
    for the rows that the caller holds and for the result: at most 16,384 rows are encoded at once.

    A predictor that was loaded from a folder can be pickled, for example as an argument of another process. The pickle
    has no model: it is loaded again from the same path when the predictor is first used, and has to be the same model,
    with the same checksum of its manifest.json. copy and deepcopy return the predictor itself.
    """

    def __init__(self, preprocessor: Preprocessor, session: onnxruntime.InferenceSession, version: str = "") -> None:
        self._model = _LoadedModel.of(preprocessor, session)
        self.version = version  # of the model: the checksum of its manifest.json; "" if it has none
        self._origin: _Origin | None = None

    @classmethod
    def load(cls, folder: str | Path, threads: int | None = None) -> Self:
        """Load the predictor of a model folder, after every file that its manifest.json lists was verified.

        Args:
            folder: the model folder.
            threads: the number of threads that compute one batch; None for one per core. The tokenizer uses one thread
                per core, unless the environment sets RAYON_NUM_THREADS.

        Raises:
            fusionzoo.errors.ModelFolderError: the folder or a file is missing, damaged, changed or of a later version,
                or the job exported no ONNX file.
            fusionzoo.errors.PathError: the folder is a URL.
            fusionzoo.errors.PredictorInputError: `threads` is neither None nor at least 1.
        """
        check_threads(threads)
        check_not_url("folder", folder)
        folder = Path(folder)
        verified = verify_folder(folder, keep=(PREPROCESSOR_FILE, TOKENIZER_FILE, ONNX_FILE))
        if ONNX_FILE not in verified.files:
            raise errors.ModelFolderError.without_onnx(folder / ONNX_FILE)
        preprocessor = Preprocessor.restore(folder, verified.read)
        session = open_onnx_session(folder / ONNX_FILE, verified.read(ONNX_FILE), threads)
        predictor = cls(preprocessor, session, verified.manifest.checksum)
        predictor._origin = _Origin(folder.absolute(), threads)
        return predictor

    def __getstate__(self) -> dict[str, Any]:
        if self._origin is None:
            raise errors.ModelFolderError.copy_without_folder()
        return {name: value for name, value in vars(self).items() if name != "_model"}

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: dict[int, Any]) -> Self:
        return self

    @cached_property
    def _model(self) -> _LoadedModel:
        """The model of an unpickled predictor. It is not loaded before: a pool of processes hides errors of unpickling.

        Raises:
            fusionzoo.errors.ModelFolderError: the folder does not exist, has another model, or see `load`.
        """
        if self._origin is None:
            raise errors.ModelFolderError.copy_without_folder()
        folder = self._origin.folder
        if not folder.is_dir():
            raise errors.ModelFolderError.copy_without_model(folder)
        loaded = self.load(folder, self._origin.threads)
        if loaded.version != self.version:
            raise errors.ModelFolderError.copy_of_other_model(folder)
        return loaded._model

    @property
    def preprocessor(self) -> Preprocessor:
        """What turns rows into the inputs of the model, as it was fitted on train."""
        return self._model.preprocessor

    @property
    def task(self) -> Task:
        """The task of the model; it says what scores mean."""
        return self._model.task

    @property
    def classes(self) -> Sequence[Label]:
        """The classes in the order of the scores; empty if the scores are not those of classes."""
        return self.task.classes

    @property
    def columns(self) -> list[str]:
        """The columns that the model reads."""
        return list(self._model.columns.features)

    @overload
    def predict(self, rows: pd.DataFrame, batch_size: int = BATCH_SIZE, *, strict: bool = False) -> pd.DataFrame: ...

    @overload
    def predict(
        self, rows: Iterable[Mapping[str, Any]], batch_size: int = BATCH_SIZE, *, strict: bool = False
    ) -> list[dict[str, Any]]: ...

    @overload
    def predict(self, rows: str | Path | pa.Table, batch_size: int = BATCH_SIZE, *, strict: bool = False) -> Any: ...

    def predict(self, rows: Any, batch_size: int = BATCH_SIZE, *, strict: bool = False) -> Any:
        """Return what the model decides for each row, in the kind and order of the rows.

        The columns, or keys, are those of a prediction file:

        - classification: `predicted_<label>` with the class of the highest probability, as the labels are spelled;
        - regression: `predicted_<column>` float32 for each column to predict, in its units; with `quantiles`, also
          `predicted_<column>_q<percent>` for each quantile other than the median;
        - multilabel: `predicted_<column>` for each label column, in the form of the label columns.

        Args:
            rows: a DataFrame, a table, an iterable of dictionaries, or a path, see `Predictor`.
            batch_size: the maximum number of rows of one batch; it does not change the predictions.
            strict: whether columns are refused that are neither features nor labels nor ids; they are ignored by
                default.

        Raises:
            fusionzoo.errors.PredictorInputError: the rows are of another kind, `batch_size` is not at least 1, a key
                is nearly that of an absent column, or `strict` and there are unknown columns.
            fusionzoo.errors.DataError: a column is absent or occurs twice, values that cannot be encoded, with their
                rows, or a file that cannot be read; all problems together.
            fusionzoo.errors.ScoresError: the model computes NaN or infinity for some rows; names them.
        """
        source, scores = self._score(rows, batch_size, strict)
        if self.task.decision_columns:
            return source.convert(Predictions(self.task.decision_columns, self.task.decide(scores)))
        return source.convert(Predictions(self.task.score_columns, _columns_of(scores)))

    @overload
    def predict_proba(
        self, rows: pd.DataFrame, batch_size: int = BATCH_SIZE, *, strict: bool = False
    ) -> pd.DataFrame: ...

    @overload
    def predict_proba(
        self, rows: Iterable[Mapping[str, Any]], batch_size: int = BATCH_SIZE, *, strict: bool = False
    ) -> list[dict[Label, float]]: ...

    @overload
    def predict_proba(
        self, rows: str | Path | pa.Table, batch_size: int = BATCH_SIZE, *, strict: bool = False
    ) -> Any: ...

    def predict_proba(self, rows: Any, batch_size: int = BATCH_SIZE, *, strict: bool = False) -> Any:
        """Return the probabilities for each row, in the kind and order of the rows.

        There is one float32 column, or key, for each class, or for each label of a multilabel task. It is named by the
        class itself: `predict_proba(frame)[1]` if a class is the integer 1. A Table names it by its text, "1".

        Args:
            rows: see `predict`.
            batch_size: see `predict`.
            strict: see `predict`.

        Raises:
            fusionzoo.errors.PredictorInputError: the model predicts numbers, such as a regression; or see `predict`.
            fusionzoo.errors.DataError: see `predict`.
        """
        if not self.classes:
            raise errors.PredictorInputError.no_probabilities(self.task.title)
        source, scores = self._score(rows, batch_size, strict)
        return source.convert(Predictions(self.classes, _columns_of(scores)))

    def predict_records(self, rows: Any, batch_size: int = BATCH_SIZE, *, strict: bool = False) -> np.ndarray:
        """Return the scores of the rows as one array, [rows, outputs] float32, in the order of the rows.

        The scores are the probabilities of `classes`, or the predicted numbers in the order of the score columns of a
        prediction file.

        Args:
            rows: see `predict`; dictionaries, or any other kind.
            batch_size: see `predict`.
            strict: see `predict`.

        Raises:
            fusionzoo.errors.PredictorInputError: see `predict`.
            fusionzoo.errors.DataError: see `predict`.
        """
        return self._score(rows, batch_size, strict)[1]

    def predict_blocks(
        self,
        blocks: Iterable[Rows],
        batch_size: int = BATCH_SIZE,
        counts: ValueCounts | None = None,
        *,
        allow_nonfinite: bool = False,
    ) -> Iterator[ScoredRows]:
        """Yield the scores of each block of rows, in their order, as soon as they are computed.

        Memory does not grow with the number of blocks: while a block is scored, at most 16,384 of its rows are encoded
        at once, in batches of rows of similar length. The scores do not depend on how rows are divided into blocks.

        Args:
            blocks: blocks of raw rows that have the columns of the model, such as an open channel; further columns are
                ignored, and are in the result too.
            batch_size: the maximum number of rows of one batch.
            counts: receives the numbers of missing, unknown and clipped values after the last block. Without it,
                warnings about clipped values, and about many unknown ones, are logged, as `predict` does.
            allow_nonfinite: whether scores may be NaN or infinite, so that the caller can leave such rows out.

        Raises:
            fusionzoo.errors.PredictorInputError: `blocks` or one of them is something else, or `batch_size` is not at
                least 1.
            fusionzoo.errors.DataError: a block lacks a column, or has values that cannot be encoded, with their rows.
                The problems of all blocks are reported together, after the last block; no scores follow the first one.
            fusionzoo.errors.ScoresError: the model computes NaN or infinity for rows of a block; names them.
        """
        check_batch_size(batch_size)
        scored = self._predict_blocks(check_blocks(blocks, self._model.columns.features), batch_size, counts)
        return scored if allow_nonfinite else _check_scores(scored)

    def _predict_blocks(
        self, blocks: Iterable[Rows], batch_size: int, counts: ValueCounts | None = None
    ) -> Iterator[ScoredRows]:
        scorer = Scorer(self.preprocessor, self._model.session, batch_size)
        with errors.scoring_fixes():
            with scorer.problems.collect():
                for block in blocks:
                    scores = scorer.score(block)
                    if scores is not None:
                        yield ScoredRows(block, scores)
            scorer.problems.raise_if_any()
        if counts is None:
            scorer.counts.log_warnings()
        else:
            counts.add(scorer.counts)

    def _score(self, rows: object, batch_size: int, strict: bool) -> tuple[RowSource, np.ndarray]:
        """Return the source of the rows, which is read completely, and the scores [rows, outputs] float32."""
        check_batch_size(batch_size)
        source = choose_source(rows, ReadOptions.for_scoring(self.preprocessor.settings))
        blocks = _check_scores(self._predict_blocks(source.read(self._model.columns, strict), batch_size))
        scores = [scored.scores for scored in blocks]
        if len(scores) == 1:
            return source, scores[0]
        return source, np.concatenate([np.zeros((0, self.preprocessor.target.num_outputs), np.float32), *scores])


def _check_scores(blocks: Iterator[ScoredRows]) -> Iterator[ScoredRows]:
    for scored in blocks:
        check_finite(scored.rows, scored.scores)
        yield scored


def _columns_of(scores: np.ndarray) -> list[pa.Array]:
    """Return scores [rows, outputs] as one array for each output."""
    return [pa.array(column) for column in np.ascontiguousarray(scores.T)]
