"""Predictions as the body of a response: one record per row, in the order of the rows."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa

from fusionzoo.artifacts.prediction_formats import PREDICTION_FORMATS, make_csv_writer
from fusionzoo.artifacts.predictions import Predictions
from fusionzoo.data.reading.formats import DELIMITED
from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server.media_types import OutputType
from fusionzoo.server.scoring_service import ScoredRequest


def write_response(scored: ScoredRequest, output: OutputType) -> bytes:
    """Return the body of a response.

    Rows without ids have no id column. CSV has a header if the client asks for one. Otherwise, it has none if the rows
    are lines without a header: then each line of the response belongs to the same line of the request.

    Raises:
        RequestError: CSV would have several lines for a row.
    """
    buffer = io.BytesIO()
    is_headerless = scored.format in (*DELIMITED, "jsonl") and not scored.has_header
    has_header = not is_headerless if output.header is None else output.header
    lines = len(scored) + has_header
    for predictions in scored.blocks:
        schema, batches = _select_columns(predictions, scored.has_ids)
        if output.format == "csv":
            make_csv_writer(",", header=has_header)(buffer, schema, batches)
            has_header = False
        else:
            PREDICTION_FORMATS["jsonl"].write(buffer, schema, batches)
    content = buffer.getvalue()
    if output.format == "csv" and (content.count(b"\n") != lines or b"\r" in content):
        raise RequestError.several_lines()
    if output.format != "json":
        return content
    return b'{"predictions": [%s]}\n' % b", ".join(content.splitlines())


def _select_columns(predictions: Predictions, has_ids: bool) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    schema = predictions.schema(keep_dictionary_ids=False)
    batches = predictions.batches(schema)
    if has_ids:
        return schema, batches
    names = schema.names[1:]
    return schema.remove(0), (pa.RecordBatch.from_arrays(batch.columns[1:], names) for batch in batches)
