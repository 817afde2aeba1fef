"""Score raw rows with a model folder alone: ONNX runtime and the preprocessor, no torch, no network, no plugin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fusionzoo.artifacts.file_names import ONNX_FILE
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.reading.rows import Rows, rows_from_records
from fusionzoo.data.sampling import RowSizes, make_scoring_batches

if TYPE_CHECKING:
    import onnxruntime

    from fusionzoo.data.labels import Label


class Predictor:
    """A trained model that turns raw rows into probabilities."""

    def __init__(self, preprocessor: Preprocessor, session: onnxruntime.InferenceSession) -> None:
        self.preprocessor, self._session = preprocessor, session
        self._inputs = [given.name for given in session.get_inputs()]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The predictor of a model folder.

        Raises:
            fusionzoo.errors.ModelFolderError: a file is missing or damaged.
        """
        import onnxruntime

        preprocessor = Preprocessor.load(folder)
        return cls(preprocessor, onnxruntime.InferenceSession(str(folder / ONNX_FILE)))

    @property
    def classes(self) -> Sequence[Label]:
        """The labels as they came in training, in the order of the probabilities' columns."""
        return self.preprocessor.labels.classes

    @property
    def columns(self) -> list[str]:
        """The columns that a row must have."""
        settings = self.preprocessor.settings
        return [*settings.text_columns, *settings.cat_field_list, *settings.tab_field_list]

    def predict_records(self, records: Sequence[Mapping[str, Any]], batch_size: int = 64) -> np.ndarray:
        """Probabilities [rows, classes] float32 of rows given as mappings of plain values; an absent key is missing."""
        return self.predict([rows_from_records(records, self.columns)], batch_size)

    def predict(self, rows: Iterable[Rows], batch_size: int = 64) -> np.ndarray:
        """Probabilities [rows, classes] float32 of raw rows, such as an open channel, in their order.

        Raises:
            fusionzoo.errors.DataError: values that cannot be encoded, with the rows where they stand.
        """
        split = self.preprocessor.encode(rows, "rows", labeled=False)
        scores = np.empty((len(split), len(self.classes)), np.float32)
        for chosen in make_scoring_batches(RowSizes.of(split), batch_size):
            scores[chosen] = self._run(split, chosen)
        return scores

    def _run(self, split: EncodedSplit, rows: np.ndarray) -> np.ndarray:
        batch = split.batch(rows)
        (probabilities,) = self._session.run(None, {name: batch[name] for name in self._inputs})
        result: np.ndarray = probabilities
        return result
