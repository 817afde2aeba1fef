"""Score raw rows with a model folder alone: ONNX Runtime and the preprocessor, without torch, network or plugins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from fusionzoo import errors
from fusionzoo.artifacts.file_names import ONNX_FILE
from fusionzoo.artifacts.onnx_session import open_onnx_session
from fusionzoo.artifacts.verified_folder import verify_folder
from fusionzoo.data.preprocessor import PREPROCESSOR_FILE, TOKENIZER_FILE, Preprocessor
from fusionzoo.data.reading.rows import Rows
from fusionzoo.serving.data_frames import is_data_frame, predictions_to_data_frame, rows_from_data_frame
from fusionzoo.serving.records import check_batch_size, check_blocks, rows_from_checked_records
from fusionzoo.serving.scoring import Scorer
from fusionzoo.tasks.task_choice import choose_task

if TYPE_CHECKING:
    import onnxruntime
    import pandas as pd
    from typing_extensions import Self

    from fusionzoo.data.targets.class_labels import Label

__all__ = ["Predictor", "ScoredRows"]


@dataclass(frozen=True)
class ScoredRows:
    """A block of rows, and their scores [rows, outputs] float32. `Predictor.task` says what scores mean."""

    rows: Rows
    scores: np.ndarray


class Predictor:
    """A trained model that turns raw rows into scores, such as the probabilities of classes."""

    def __init__(self, preprocessor: Preprocessor, session: onnxruntime.InferenceSession) -> None:
        self.preprocessor, self._session, self.task = preprocessor, session, choose_task(preprocessor)

    @classmethod
    def load(cls, folder: str | Path, threads: int | None = None) -> Self:
        """Load the predictor of a model folder, after every file that its manifest.json lists was verified.

        Args:
            folder: the model folder.
            threads: the number of threads that compute one batch; None for one per core.

        Raises:
            fusionzoo.errors.ModelFolderError: the folder or a file is missing, damaged, changed or of a later version,
                or the job exported no ONNX file.
        """
        folder = Path(folder)
        verified = verify_folder(folder, keep=(PREPROCESSOR_FILE, TOKENIZER_FILE, ONNX_FILE))
        if ONNX_FILE not in verified.files:
            raise errors.ModelFolderError.without_onnx(folder / ONNX_FILE)
        preprocessor = Preprocessor.restore(folder, verified.read)
        return cls(preprocessor, open_onnx_session(folder / ONNX_FILE, verified.read(ONNX_FILE), threads))

    @property
    def classes(self) -> Sequence[Label]:
        """The classes in the order of the scores; empty if the scores are not those of classes."""
        return self.task.classes

    @property
    def columns(self) -> list[str]:
        """The columns that the model reads."""
        settings = self.preprocessor.settings
        return [*settings.text_columns, *settings.cat_field_list, *settings.tab_field_list]

    def predict_records(self, records: Iterable[Mapping[str, Any]], batch_size: int = 64) -> np.ndarray:
        """Return scores [rows, outputs] float32 of rows that are mappings of plain Python values.

        An absent key is a missing value, and keys that are not columns of the model are ignored. A DataFrame counts as
        the records of its rows.

        Raises:
            fusionzoo.errors.PredictorInputError: an item is not a mapping or has no column of the model, or a key
                differs from an absent column only in case, spaces or punctuation.
            fusionzoo.errors.DataError: see `predict`.
        """
        if is_data_frame(records):
            return self._score([rows_from_data_frame(records, self.columns)], batch_size)
        return self._score([rows_from_checked_records(records, self.columns)], batch_size)

    @overload
    def predict(self, rows: pd.DataFrame, batch_size: int = 64) -> pd.DataFrame: ...

    @overload
    def predict(self, rows: Iterable[Rows], batch_size: int = 64) -> np.ndarray: ...

    def predict(self, rows: pd.DataFrame | Iterable[Rows], batch_size: int = 64) -> pd.DataFrame | np.ndarray:
        """Return the predictions for raw rows, in their order.

        Args:
            rows: a pandas DataFrame, or blocks of rows such as an open channel.
            batch_size: the maximum number of rows of one batch; it does not change the predictions.

        Returns:
            For a DataFrame, a DataFrame with the same index and the columns of a prediction file; of a classification
            `prob_<class>` float32 for each class, and `predicted_<label>`. Otherwise scores [rows, outputs] float32.

        Raises:
            fusionzoo.errors.PredictorInputError: `rows` is something else, or `batch_size` is not at least 1.
            fusionzoo.errors.DataError: values that cannot be encoded, with their rows, or a column that is absent.
        """
        if is_data_frame(rows):
            scores = self._score([rows_from_data_frame(rows, self.columns)], batch_size)
            return predictions_to_data_frame(scores, self.task, rows.index)
        return self._score(check_blocks(cast("Iterable[Rows]", rows), self.columns), batch_size)

    def predict_blocks(self, blocks: Iterable[Rows], batch_size: int = 64) -> Iterator[ScoredRows]:
        """Yield the scores of each block of rows, in their order, as soon as they are computed.

        Memory does not grow with the number of blocks: while a block is scored, at most 16,384 of its rows are encoded
        at once, in batches of rows of similar length. The scores do not depend on how rows are divided into blocks.

        Args:
            blocks: blocks of raw rows that have the columns of the model, such as an open channel; further columns are
                ignored, and are in the result too.
            batch_size: the maximum number of rows of one batch.

        Raises:
            fusionzoo.errors.PredictorInputError: `blocks` or one of them is something else, or `batch_size` is not at
                least 1.
            fusionzoo.errors.DataError: a block lacks a column, or has values that cannot be encoded, with their rows.
                The problems of all blocks are reported together, after the last block; no scores follow the first one.
        """
        check_batch_size(batch_size)
        return self._predict_blocks(blocks, batch_size)

    def _predict_blocks(self, blocks: Iterable[Rows], batch_size: int) -> Iterator[ScoredRows]:
        scorer = Scorer(self.preprocessor, self._session, batch_size)
        with scorer.problems.collect():
            for block in check_blocks(blocks, self.columns):
                scores = scorer.score(block)
                if scores is not None:
                    yield ScoredRows(block, scores)
        scorer.finish()

    def _score(self, blocks: Iterable[Rows], batch_size: int) -> np.ndarray:
        scores = [scored.scores for scored in self.predict_blocks(blocks, batch_size)]
        return np.concatenate([np.zeros((0, self.preprocessor.target.num_outputs), np.float32), *scores])
