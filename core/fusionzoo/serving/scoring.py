"""From raw rows to scores: encode a bounded number of rows at a time, and run them in batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.artifacts.memory_limit import find_limit_error
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.ragged import compute_starts
from fusionzoo.data.reading import blocks
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.sampling import RowSizes, make_scoring_batches
from fusionzoo.data.text.text_tokenizer import CachedTokenizer
from fusionzoo.errors.wording import pluralize
from fusionzoo.serving.value_counts import ValueCounts

if TYPE_CHECKING:
    import onnxruntime

# Tokens of one batch, padding included. A batch with more is divided; a single row with more is a batch of its own.
# More tokens make MiniLM on a CPU slower, and the peak memory then depends on the number of rows: see
# docs/decisions/serving-speed.md.
MAX_BATCH_TOKENS = 2**9


class Scorer:
    """Scores the rows of one call of a predictor, one block after the other, each in any number of batches."""

    def __init__(self, preprocessor: Preprocessor, session: onnxruntime.InferenceSession, batch_size: int) -> None:
        self._preprocessor, self._session, self._batch_size = preprocessor, session, batch_size
        self._input_names = [model_input.name for model_input in session.get_inputs()]
        text = preprocessor.text
        self._tokenizer = None if text is None else CachedTokenizer(text.tokenizer)
        self.problems, self.counts = ProblemLog(), ValueCounts()

    def score(self, rows: Rows) -> np.ndarray | None:
        """Return scores [rows, outputs] float32. At most one window of the rows is encoded at a time.

        Returns None if these rows, or earlier ones, have values that cannot be encoded. `problems` has what is wrong.

        Raises:
            errors.MemoryExhaustedError: the process may not use more memory.
            errors.ModelFolderError: onnxruntime cannot compute the model.
        """
        scores = np.empty((len(rows), self._preprocessor.target.num_outputs), np.float32)
        start = 0
        for window in divide_into_windows(rows):
            self.problems.count_rows(window)
            split = self._encode(window)
            if split is not None:
                for row_indices in _make_batches(RowSizes.of(split), self._batch_size):
                    scores[start + row_indices] = self._run(split.batch(row_indices))
            start += len(window)
        return None if self.problems.problems else scores

    def _encode(self, window: Rows) -> EncodedSplit | None:
        """Return the encoded rows; None after a problem, when the other rows are only searched for problems."""
        tokenizer = None if self.problems.problems else self._tokenizer
        with self.problems.collect():
            split = self._preprocessor.encode_unlabeled(window, tokenizer)
        if self.problems.problems:
            return None
        self.counts.add_split(split, self._preprocessor)
        return split

    def _run(self, batch: dict[str, np.ndarray]) -> np.ndarray:
        try:
            (scores,) = self._session.run(None, {name: batch[name] for name in self._input_names})
        except Exception as cause:  # the errors of onnxruntime have no common base class
            rows = len(batch["row"])
            if limit_error := find_limit_error(cause, f"while a batch of {pluralize(rows, 'row')} is scored"):
                raise limit_error from cause
            raise errors.ModelFolderError.not_computed(rows, cause) from cause
        result: np.ndarray = scores
        return result


def find_nonfinite_rows(scores: np.ndarray) -> np.ndarray:
    """Return the indices of the rows of scores, [rows, outputs], that have NaN or infinity."""
    return np.flatnonzero(~np.isfinite(scores).all(axis=1))


def check_finite(rows: Rows, scores: np.ndarray) -> None:
    """Check the scores of rows, [rows, outputs].

    Raises:
        errors.ScoresError: the scores of some rows are NaN or infinite; names the first ones.
    """
    wrong = find_nonfinite_rows(scores)
    if len(wrong):
        raise errors.ScoresError.rows_not_finite(len(wrong), rows.locate_first(wrong))


def divide_into_windows(rows: Rows) -> Iterator[Rows]:
    """Yield the rows in windows of at most `BLOCK_ROWS` rows and `BLOCK_LENGTH` bytes of text, as `blocks` has them.

    A row that is longer than that is a window of its own.
    """
    if len(rows) <= blocks.BLOCK_ROWS and sum(values.nbytes for values in rows.columns.values()) <= blocks.BLOCK_LENGTH:
        yield rows
        return
    lengths = np.zeros(len(rows), np.int64)
    for values in rows.columns.values():
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            lengths += pc.fill_null(pc.binary_length(values), 0).to_numpy(zero_copy_only=False)
    ends = compute_starts(lengths)
    start = 0
    while start < len(rows):
        by_length = int(np.searchsorted(ends, ends[start] + blocks.BLOCK_LENGTH, side="right")) - 1
        stop = min(max(by_length, start + 1), start + blocks.BLOCK_ROWS, len(rows))
        yield rows.slice(start, stop)
        start = stop


def _make_batches(sizes: RowSizes, batch_size: int) -> Iterator[np.ndarray]:
    """Yield the rows of each batch, longest first: at most `batch_size` rows and `MAX_BATCH_TOKENS` tokens."""
    for row_indices in make_scoring_batches(sizes, batch_size):
        batch = sizes.take(row_indices)
        if int(batch.chunks.sum() * batch.longest.max()) <= MAX_BATCH_TOKENS:
            yield row_indices
        else:
            for part in make_scoring_batches(batch, batch_size, MAX_BATCH_TOKENS):
                yield row_indices[part]
