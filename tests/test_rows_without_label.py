"""A test channel without labels: predictions are written, and metrics are computed from the labeled rows only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from data_helpers import SETTINGS, encode_folder, write_part
from fusionzoo.artifacts.prediction_files import write_predictions
from fusionzoo.artifacts.prediction_formats import PREDICTION_FORMATS
from fusionzoo.artifacts.predictions import Predictions
from fusionzoo.data.cache import Cache
from fusionzoo.data.encoding import EncodedData, encode_channels
from fusionzoo.data.reading.channel import Channel, open_channel
from fusionzoo.data.targets.target import NO_LABEL
from fusionzoo.errors import DataError
from fusionzoo.evaluation.report import ScoredSplit, evaluate
from shop import JobFolder, shop_rows
from task_helpers import make_classification

SUFFIXES = ("csv", "tsv", "parquet", "jsonl", "csv.gz")


def without_labels(kind: str, rows: int = 20) -> pd.DataFrame:
    """Return rows of test without the label column, with empty labels, or with every second label."""
    frame = shop_rows(rows, 2)
    if kind == "no column":
        return frame.drop(columns="target")
    labels = frame["target"].astype(object)
    labels[:: 1 if kind == "empty" else 2] = None
    return frame.assign(target=labels)


def encode_with_test(folder: Path, test: dict[str, pd.DataFrame], cache: Cache | None = None) -> EncodedData:
    write_part(shop_rows(60), folder / "data/train/a.parquet")
    write_part(shop_rows(20, 1), folder / "data/val/a.parquet")
    for file, frame in test.items():
        write_part(frame, folder / "data/test" / file)
    channels: dict[str, Channel] = {}
    for name in ("train", "val", "test"):
        optional = SETTINGS.label_columns if name == "test" else ()
        channels[name] = open_channel(name, folder / "data" / name, SETTINGS.columns, optional_columns=optional)
    return encode_channels(SETTINGS, channels, cache or Cache(folder / "cache", 10**9), 0, lambda rows: None)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", ["no column", "empty", "some"])
def test_rows_of_test_without_a_label_are_encoded_like_labeled_ones(tmp_path: Path, suffix: str, kind: str) -> None:
    labeled = encode_with_test(tmp_path / "labeled", {f"a.{suffix}": shop_rows(20, 2)}).splits["test"]
    split = encode_with_test(tmp_path, {f"a.{suffix}": without_labels(kind)}).splits["test"]
    assert split.labels is not None
    assert labeled.labels is not None
    known = np.zeros(20, bool) if kind != "some" else np.arange(20) % 2 == 1
    assert split.labels.tolist() == np.where(known, labeled.labels, NO_LABEL).tolist()
    assert np.array_equal(split.tokens, labeled.tokens)
    assert np.array_equal(split.numbers, labeled.numbers)


def test_part_files_with_and_without_the_label_column_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test/b\.csv: column 'target' does not exist"):
        encode_with_test(tmp_path, {"a.csv": shop_rows(20, 2), "b.csv": without_labels("no column")})


@pytest.mark.parametrize("name", ["train", "val"])
@pytest.mark.parametrize("kind", ["no column", "empty", "some"])
def test_train_and_val_need_labels(tmp_path: Path, name: str, kind: str) -> None:
    frames = {"train": shop_rows(60), "val": shop_rows(20, 1), name: without_labels(kind)}
    for channel, frame in frames.items():
        write_part(frame, tmp_path / "data" / channel / "a.csv")
    with pytest.raises(DataError, match="target"):
        encode_folder(tmp_path / "data")


def test_a_cached_test_split_without_labels_is_not_used_as_val(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", 10**9)
    encode_with_test(tmp_path / "one", {"a.csv": without_labels("empty")}, cache)
    write_part(shop_rows(60), tmp_path / "two/train/a.parquet")
    write_part(without_labels("empty"), tmp_path / "two/val/a.csv")
    with pytest.raises(DataError, match="20 labels are null"):
        encode_folder(tmp_path / "two", cache=cache)


def test_a_label_that_train_lacks_is_still_an_error_in_test(tmp_path: Path) -> None:
    frame = without_labels("some")
    frame.loc[3, "target"] = 7
    with pytest.raises(DataError, match=r"not seen in train: test/a\.csv row 4 '7'.*in test, they may be empty"):
        encode_with_test(tmp_path, {"a.csv": frame})


def test_metrics_are_computed_from_the_labeled_rows() -> None:
    rng = np.random.default_rng(0)
    y_true, scores = rng.integers(0, 2, 40), rng.random((40, 2))
    scores /= scores.sum(axis=1, keepdims=True)
    some = np.where(np.arange(40) % 3 == 0, NO_LABEL, y_true)
    nothing = np.full(40, NO_LABEL)
    report = evaluate({"val": ScoredSplit(some, scores), "test": ScoredSplit(nothing, scores)}, make_classification())
    expected = evaluate({"val": ScoredSplit(y_true[some >= 0], scores[some >= 0])}, make_classification())
    assert report.as_json() == expected.as_json()


@pytest.mark.parametrize("format", PREDICTION_FORMATS)
@pytest.mark.parametrize("classes", [(0, 1), ("no", "yes"), (False, True)])
def test_prediction_files_hold_null_for_a_row_without_a_label(
    tmp_path: Path, format: str, classes: tuple[Any, ...]
) -> None:
    scores = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]], np.float32)
    labels = np.array([1, NO_LABEL, 0])
    path = tmp_path / f"predictions.{format}"
    write_predictions(
        path, format, Predictions("id", make_classification(classes), pa.array([1, 2, 3]), labels, scores)
    )
    match format:
        case "parquet":
            frame = pd.read_parquet(path)
        case "jsonl":
            frame = pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
        case _:
            frame = pd.read_csv(path, sep="\t" if format == "tsv" else ",")
    assert frame["y"].isna().tolist() == [False, True, False]
    assert frame["predicted_y"].notna().all()


@pytest.mark.parametrize("kind", ["no column", "empty", "some"])
def test_a_job_predicts_a_test_channel_without_labels(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    job = JobFolder(tmp_path).fill(rows=64, max_epochs=1, onnx="required")
    (job.root / "input/data/test/part-00000.parquet").unlink()
    job.channel("test", without_labels(kind), "test.csv")
    assert job.run() == 0
    out = pd.read_csv(job.output / "test_predictions.csv")
    assert len(out) == 20
    assert out["prob_1"].notna().all()
    assert out["target"].isna().sum() == (10 if kind == "some" else 20)
    results = torch.load(job.output / "predict_results.pth", weights_only=True)
    assert (results["y_true"] == NO_LABEL).sum() == (10 if kind == "some" else 20)
    splits = json.loads((job.output / "metrics.json").read_text())["splits"]
    plots = {path.name.partition("_")[0] for path in (job.output / "plots").iterdir()}
    log = capsys.readouterr().out
    if kind == "some":
        assert splits["test"]["rows"] == 10
        assert "test: 10 rows of 20 without a label" in log
    else:
        assert (set(splits), plots) == ({"val"}, {"training", "val"})  # no plot of test
        assert "test has no labels" in log


def test_a_similar_column_is_named_if_the_label_column_is_absent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from fusionzoo.data.reading.channel import warn_of_similar_columns

    write_part(shop_rows(20, 2).rename(columns={"target": "Target"}), tmp_path / "a.csv")
    warn_of_similar_columns(open_channel("test", tmp_path, SETTINGS.columns, optional_columns=["target"]))
    assert caplog.messages == ["test has no column 'target', but it has 'Target'. Rename it if it is the same."]
