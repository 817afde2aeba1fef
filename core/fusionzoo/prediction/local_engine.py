"""Where blocks of rows are scored: in this process, or by an engine with the same interface."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from fusionzoo.data.reading.rows import Rows
from fusionzoo.serving.predictor import Predictor, ScoredRows


class Engine(Protocol):
    """Scores the blocks of rows of one prediction file after the other."""

    def score(self, blocks: Iterable[Rows]) -> Iterator[ScoredRows]:
        """Yield the scores of each block, in their order, like `Predictor.predict_blocks`; they may be NaN or infinite.

        Raises:
            errors.DataError: values cannot be encoded.
        """


@dataclass(frozen=True)
class LocalEngine:
    """Scores in this process; onnxruntime uses its cores."""

    predictor: Predictor
    batch_size: int

    def score(self, blocks: Iterable[Rows]) -> Iterator[ScoredRows]:
        return self.predictor.predict_blocks(blocks, self.batch_size, allow_nonfinite=True)
