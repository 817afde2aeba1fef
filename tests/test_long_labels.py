"""Labels that are whole numbers of 64 bits or more: the same classes in every format, and in every output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import torch

from data_helpers import SETTINGS, encode_folder, make_column, write_part
from fusionzoo.artifacts.predictions import prediction_columns
from fusionzoo.data.targets.class_labels import ClassLabelScan, label_array
from fusionzoo.serving.predictor import Predictor
from serve_helpers import JSON, Server, decode
from shop import JobFolder, shop_rows
from task_helpers import make_classification

UNSIGNED, BEYOND = (2**63 + 5, 2**64 - 1), (12345678901234567890, 98765432109876543210)
HUGE = (2**70, 2**70 + 1)


def fit(values: list[Any], typed: bool, arrow_type: pa.DataType | None = None) -> tuple[Any, ...]:
    counts = ClassLabelScan("c")
    counts.add(make_column(pa.array(values, arrow_type), typed))
    return counts.fit(SETTINGS).classes


@pytest.mark.parametrize("classes", [UNSIGNED, BEYOND, HUGE, (-(2**63), 2**63), (-(2**64), 0)])
def test_labels_of_any_length_are_classes_in_text_files(classes: tuple[int, int]) -> None:
    fitted = fit([str(label) for label in classes], typed=False)
    assert tuple(map(str, fitted)) == tuple(map(str, classes))
    assert label_array(fitted).to_pylist() == list(fitted)
    task = make_classification(fitted)
    assert f"prob_{classes[1]}" in prediction_columns("id", task)


def test_integers_beyond_int64_are_unsigned_and_longer_ones_are_text() -> None:
    assert fit(list(UNSIGNED), True, pa.uint64()) == fit(list(map(str, UNSIGNED)), False) == UNSIGNED
    assert label_array(UNSIGNED).type == pa.uint64()
    assert fit(list(map(str, BEYOND)), False) == tuple(map(str, BEYOND))
    assert label_array([1, 2]).type == pa.int64()
    assert label_array(BEYOND).to_pylist() == list(map(str, BEYOND))


def test_numbers_that_a_float_would_change_are_text() -> None:
    counts = ClassLabelScan("c")
    counts.add(make_column([2**60 + 1]))
    counts.add(make_column([0.5]))
    assert counts.fit(SETTINGS).classes == ("0.5", str(2**60 + 1))


def test_a_number_of_400_digits_is_not_infinite() -> None:
    assert fit(["1" * 400, "2" * 400], typed=False) == ("1" * 400, "2" * 400)


@pytest.mark.parametrize("classes", [UNSIGNED, BEYOND, HUGE])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_lists_of_such_labels_are_label_sets(classes: tuple[int, int], suffix: str, tmp_path: Path) -> None:
    frame = shop_rows(20)
    lists = [[classes[label]] if i % 3 else list(classes) for i, label in enumerate(frame["target"])]
    path = tmp_path / f"data/train/part{suffix}"
    records = [{**record, "target": row} for record, row in zip(frame.to_dict("records"), lists, strict=True)]
    path.parent.mkdir(parents=True)
    if suffix == ".csv":
        write_part(frame.assign(target=[json.dumps(row) for row in lists]), path)
    else:
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    settings = SETTINGS.model_copy(update={"task": "multilabel", "num_classes": None})
    encoded = encode_folder(tmp_path / "data", settings)
    target: Any = encoded.preprocessor.target
    assert list(map(str, target.labels)) == list(map(str, classes))
    (decoded,) = target.decode(encoded.splits["train"].labels)
    assert decoded.type == target.column_type
    read = decoded.to_pylist() if suffix == ".jsonl" else [json.loads(text) for text in decoded.to_pylist()]
    assert [list(map(str, row)) for row in read] == [list(map(str, sorted(row))) for row in lists]


@pytest.mark.parametrize("classes", [UNSIGNED, BEYOND])
def test_a_job_writes_and_serves_them(classes: tuple[int, int], job: JobFolder) -> None:
    for seed, (name, rows) in enumerate({"train": 60, "val": 30, "test": 20}.items()):
        frame = shop_rows(rows, seed)
        write_part(frame.assign(target=[str(classes[label]) for label in frame["target"]]), job.root / f"x/{name}.csv")
        (job.root / "input/data" / name).mkdir(parents=True)
        (job.root / f"x/{name}.csv").rename(job.root / f"input/data/{name}/part.csv")
    job.settings(max_epochs=1, onnx="required")
    assert job.run() == 0
    names = [str(label) for label in classes]
    results = torch.load(job.output / "predict_results.pth", weights_only=True)
    assert list(map(str, results["classes"])) == names
    (path,) = job.output.glob("test_predictions.*")
    file = pd.read_csv(path, dtype=str)
    test = pd.read_csv(job.root / "input/data/test/part.csv", dtype=str)
    assert file["target"].tolist() == test["target"].tolist()
    assert [name for name in file.columns if name.startswith("prob_")] == [f"prob_{name}" for name in names]
    assert set(file["predicted_target"]) <= set(names)
    server = Server(Predictor.load(job.model))
    rows = test.drop(columns="target").astype({"price": float, "visits": float})
    answer = decode(server.post(rows.to_json(orient="records"), JSON))
    assert [str(row["predicted_target"]) for row in answer] == file["predicted_target"].tolist()
