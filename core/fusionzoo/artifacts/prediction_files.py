"""Prediction files: one line per row, in the format of the input; each is read back before it replaces an older one."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from fusionzoo import errors
from fusionzoo.artifacts.file_names import PREDICT_RESULTS_FILE
from fusionzoo.artifacts.prediction_formats import PREDICTION_FORMATS
from fusionzoo.artifacts.prediction_stream import write_prediction_blocks
from fusionzoo.artifacts.predictions import Predictions, plain_ids
from fusionzoo.atomic_files import write_atomically

__all__ = ["Predictions", "write_predict_results", "write_predictions"]


def write_predictions(path: Path, format: str, predictions: Predictions) -> None:
    """Write a prediction file and read it back; `path` is written completely or not at all.

    Ids and labels keep their type; a row without a label has null. JSON Lines only has text and numbers: there, a date
    or time is ISO 8601 text, a value of any other type is its text, and NaN is null. Scores read back
    bit-identically as float32.

    Raises:
        errors.PredictionColumnsError: see `prediction_columns`.
        errors.OutputError: the file cannot be written, or reads back differently.
    """

    def write_and_verify(file: BinaryIO) -> None:
        write_prediction_blocks(file, format, iter([predictions]))
        file.flush()
        read_back = PREDICTION_FORMATS[format].read_scores(Path(file.name), predictions.task.score_columns)
        _check_equal(path, predictions.scores, read_back)

    write_atomically(path, write_and_verify)


def write_predict_results(path: Path, predictions: Predictions, split: str) -> None:
    """Write predict_results.pth, which loads with `weights_only=True`, and read it back.

    It holds `ids` (list), `y_true` (encoded labels; of a classification int64 tensor [rows], -1 for a row without a
    label), `y_pred` float32 tensor [rows, outputs] of scores, `classes` (list) and `split`. Ids that are numbers,
    booleans or text keep their type. No other type loads safely, so a value of any other type, such as a date, is its
    text, as in CSV.

    Raises:
        errors.PredictionColumnsError: the labels are not of one type.
        errors.OutputError: the file cannot be written, or reads back differently.
    """
    import torch

    labels = predictions.labels
    if labels is None:
        raise ValueError(f"{PREDICT_RESULTS_FILE} holds labels, but the predictions have none")
    content = {
        "ids": plain_ids(predictions.ids),
        "y_true": torch.tensor(labels.astype(np.int64) if labels.dtype.kind == "i" else labels),
        "y_pred": torch.tensor(predictions.scores),
        **predictions.task.report_entries(),
        "split": split,
    }

    def write_and_verify(file: BinaryIO) -> None:
        torch.save(content, file)
        file.flush()
        read_back = torch.load(file.name, weights_only=True, map_location="cpu")
        _check_equal(path, predictions.scores, read_back["y_pred"].numpy())

    write_atomically(path, write_and_verify)


def _check_equal(path: Path, written: NDArray[np.float32], read_back: NDArray[np.float32]) -> None:
    if written.shape != read_back.shape:
        raise errors.OutputError.other_shape(path, written.shape, read_back.shape)
    differing = np.flatnonzero((written != read_back).any(axis=1))
    if len(differing):
        raise errors.OutputError.other_content(path, int(differing[0]), len(differing))
