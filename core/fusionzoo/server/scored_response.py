"""Predictions as the body of a response: one record per row, in the order of the rows."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa

from fusionzoo.artifacts.prediction_formats import PREDICTION_FORMATS, make_csv_writer
from fusionzoo.artifacts.predictions import Predictions
from fusionzoo.server.media_types import OutputType
from fusionzoo.server.scoring_service import ScoredRequest


def write_response(scored: ScoredRequest, output: OutputType) -> bytes:
    """Return the body of a response.

    Rows without ids have no id column. CSV has a header if the client asks for one, or if the rows are delimited and
    have one: then each line of the response belongs to the same line of the request.
    """
    buffer = io.BytesIO()
    has_header = scored.has_header if output.header is None else output.header
    for predictions in scored.blocks:
        schema, batches = _select_columns(predictions, scored.has_ids)
        if output.format == "csv":
            make_csv_writer(",", header=has_header)(buffer, schema, batches)
            has_header = False
        else:
            PREDICTION_FORMATS["jsonl"].write(buffer, schema, batches)
    if output.format != "json":
        return buffer.getvalue()
    return b'{"predictions": [%s]}\n' % b", ".join(buffer.getvalue().splitlines())


def _select_columns(predictions: Predictions, has_ids: bool) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    schema = predictions.schema(keep_dictionary_ids=False)
    batches = predictions.batches(schema)
    if has_ids:
        return schema, batches
    names = schema.names[1:]
    return schema.remove(0), (pa.RecordBatch.from_arrays(batch.columns[1:], names) for batch in batches)
