"""Ids and carried columns of types that text formats lack: one text in CSV, TSV, JSON and predict_results.pth."""

from __future__ import annotations

import datetime
import io
import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from fusionzoo.artifacts.prediction_files import write_predict_results
from fusionzoo.artifacts.prediction_formats import PREDICTION_FORMATS
from fusionzoo.artifacts.predictions import Predictions
from fusionzoo.data.preprocessor import get_ids
from fusionzoo.data.reading.column_text import values_as_text
from fusionzoo.data.reading.rows import Rows
from fusionzoo.errors import DataError
from prediction_helpers import predict
from shop import JobFolder, shop_rows
from task_helpers import make_classification

TIME = datetime.datetime(2024, 7, 1, 12, 30, 0, 500_000)
DAY = datetime.datetime(2024, 7, 1)
IDS: dict[str, tuple[pa.Array, str]] = {
    "date": (pa.array([DAY.date(), None]), "2024-07-01"),
    "second": (pa.array([DAY, None], pa.timestamp("s")), "2024-07-01 00:00:00"),
    "millisecond": (pa.array([TIME, None], pa.timestamp("ms")), "2024-07-01 12:30:00.500000"),
    "nanosecond": (pa.array([1, None], pa.timestamp("ns")), "1970-01-01 00:00:00.000000001"),
    "zone": (pa.array([DAY, None], pa.timestamp("us", "Europe/Berlin")), "2024-07-01 02:00:00+02:00"),
    "utc": (pa.array([DAY, None], pa.timestamp("us", "UTC")), "2024-07-01 00:00:00+00:00"),
    "time": (pa.array([TIME.time(), None], pa.time64("us")), "12:30:00.500000"),
}
if hasattr(pa, "uuid"):
    IDS["uuid"] = (pa.array([uuid.UUID(int=7).bytes, None], pa.uuid()), str(uuid.UUID(int=7)))


def make_predictions(ids: pa.Array) -> Predictions:
    scores = np.full((2, 2), 0.5, np.float32)
    return Predictions("id", make_classification(), ids, np.array([0, 1]), scores, {"carried": ids})


@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize("is_encoded", [False, True])
def test_each_text_format_writes_the_same_text(format: str, kind: str, is_encoded: bool) -> None:
    ids, text = IDS[kind]
    if is_encoded and kind == "uuid":
        pytest.skip("Arrow cannot encode UUIDs as a dictionary")
    predictions = make_predictions(ids.dictionary_encode() if is_encoded else ids)
    schema, buffer = predictions.schema(keep_dictionary_ids=False), io.BytesIO()
    carried = Predictions("id", predictions.task, predictions.ids, None, predictions.scores, {"carried": ids})
    schema = carried.schema(keep_dictionary_ids=False)
    PREDICTION_FORMATS[format].write(buffer, schema, carried.batches(schema))
    if format == "jsonl":
        rows = [json.loads(line) for line in buffer.getvalue().splitlines()]
        found = [[row["id"], row["carried"]] for row in rows]
    else:
        frame = pd.read_csv(io.BytesIO(buffer.getvalue()), sep="," if format == "csv" else "\t", dtype=str)
        found = (
            frame[["id", "carried"]].astype(object).where(frame[["id", "carried"]].notna(), None).to_numpy().tolist()
        )
    assert found == [[text, text], [None, None]]
    assert values_as_text(ids).to_pylist() == [text, None]


@pytest.mark.parametrize("kind", IDS)
def test_predict_results_have_the_same_text_and_parquet_keeps_the_type(kind: str, tmp_path: Path) -> None:
    ids, text = IDS[kind]
    predictions = make_predictions(ids)
    write_predict_results(tmp_path / "results.pth", predictions, "test")
    assert torch.load(tmp_path / "results.pth", weights_only=True)["ids"] == [text, None]
    assert predictions.schema().field("id").type == ids.type


@pytest.mark.parametrize("values", [pa.array([1], pa.duration("us")), pa.array([[1]]), pa.array([{"a": 1}])])
def test_ids_without_a_text_are_an_error(values: pa.Array) -> None:
    with pytest.raises(DataError, match=r"column 'id': the column holds .*FZ-D103"):
        get_ids(Rows({"id": values}, "x", 1, typed=True), "id")
    assert get_ids(Rows({"id": pa.array([b"x"])}, "x", 1, typed=True), "id").to_pylist() == [b"x"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_carried_column_of_durations_is_an_error(suffix: str, trained_job: JobFolder, tmp_path: Path) -> None:
    frame = shop_rows(10).drop(columns="target").assign(wait=pd.to_timedelta(range(10), unit="D"))
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    done = predict(trained_job, tmp_path / "rows.parquet", tmp_path / f"out{suffix}", "--columns", "wait")
    assert done.exit_code == 1
    assert "column 'wait' of --columns holds durations" in done.stderr


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_predict_writes_ids_of_every_kind(suffix: str, trained_job: JobFolder, tmp_path: Path) -> None:
    for kind, (ids, text) in IDS.items():
        table: Any = pa.Table.from_pandas(shop_rows(2).drop(columns="target"), preserve_index=False)
        pq.write_table(table.set_column(0, "id", ids), tmp_path / f"{kind}.parquet")
        output = tmp_path / f"{kind}{suffix}"
        assert predict(trained_job, tmp_path / f"{kind}.parquet", output).exit_code == 0
        assert text in output.read_text()
