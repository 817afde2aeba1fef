"""Write predictions block by block, in bounded memory, to a file or to standard output."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

from fusionzoo.artifacts.prediction_formats import PREDICTION_FORMATS
from fusionzoo.artifacts.predictions import Predictions


def write_prediction_blocks(file: BinaryIO, format: str, blocks: Iterator[Predictions]) -> None:
    """Write blocks of predictions one after the other, as `write_predictions` writes a split, without reading back.

    Args:
        file: any stream that can be written.
        format: a key of `PREDICTION_FORMATS`.
        blocks: at least one, which may be empty. Unless the format is JSON Lines, all have the types of the first.

    Raises:
        errors.PredictionColumnsError: see `prediction_columns`.
    """
    file_format = PREDICTION_FORMATS[format]
    first = next(blocks)
    schema = first.schema(keep_dictionary_ids=file_format.keeps_dictionaries)
    batches = (
        batch
        for block in chain([first], blocks)
        for batch in block.batches(schema if file_format.has_types else block.schema(keep_dictionary_ids=False))
    )
    file_format.write(file, schema, batches)
