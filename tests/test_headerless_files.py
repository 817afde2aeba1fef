"""Files without a header, `csv_header`: rows to score may lack the labels, in jobs, commands and the Python API."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.errors import DataError
from fusionzoo.serving.predictor import Predictor
from plot_rendering import plots_rendered
from prediction_helpers import assert_same_predictions, predict, read_frame
from shop import JobFolder, shop_rows

HEADER = ["visits", "target", "id", "country", "message", "price", "source"]
UNLABELED = [name for name in HEADER if name != "target"]


def write(path: Path, columns: list[str], seed: int = 2, rows: int = 40) -> pd.DataFrame:
    frame = shop_rows(rows, seed).assign(source="web")
    path.parent.mkdir(parents=True, exist_ok=True)
    frame[columns].to_csv(path, index=False, header=False)
    return frame


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, blank_plots: None) -> JobFolder:
    """A job with files without a header. Its test rows have no labels."""
    job = JobFolder(tmp_path_factory.mktemp("headerless"))
    for seed, (name, columns) in enumerate({"train": HEADER, "val": HEADER, "test": UNLABELED}.items()):
        write(job.root / f"input/data/{name}/part-0.csv", columns, seed)
    job.settings(num_classes=2, max_epochs=1, onnx="required", csv_header=HEADER)
    with plots_rendered():
        assert job.run() == 0
    return job


@pytest.mark.parametrize("name", ["rows.csv", "rows"])
@pytest.mark.parametrize("columns", [HEADER, UNLABELED], ids=["labeled", "unlabeled"])
def test_predict_reads_rows_with_and_without_labels(
    job: JobFolder, columns: list[str], name: str, tmp_path: Path
) -> None:
    frame = write(tmp_path / "rows" / name, columns)
    result = predict(job, tmp_path / "rows", tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    out, expected = read_frame(tmp_path / "out.csv"), read_frame(job.output / "test_predictions.csv")
    assert out["id"].tolist() == frame["id"].tolist()
    assert ("target" in out) == ("target" in columns)
    assert_same_predictions(out.drop(columns="target", errors="ignore"), expected.drop(columns="target"))


def test_rows_with_a_column_too_few_are_still_an_error(job: JobFolder, tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", UNLABELED[1:])
    result = predict(job, tmp_path / "rows.csv", tmp_path / "out.csv")
    assert result.exit_code == 1
    assert "40 rows with another number of columns" in result.output


def test_the_python_api_reads_them_too(job: JobFolder, tmp_path: Path) -> None:
    write(tmp_path / "all.csv", HEADER)
    write(tmp_path / "some.csv", UNLABELED)
    predictor = Predictor.load(job.model)
    assert predictor.predict_proba(tmp_path / "all.csv").equals(predictor.predict_proba(tmp_path / "some.csv"))


@pytest.mark.parametrize("lacking", ["train", "val"])
def test_train_and_val_need_labels(lacking: str, tmp_path: Path) -> None:
    write(tmp_path / f"{lacking}/part.csv", UNLABELED)
    with pytest.raises(DataError, match="40 rows with another number of columns"):
        list(open_channel(lacking, tmp_path / lacking, HEADER, ReadOptions(header=tuple(HEADER))))


def test_all_labels_are_absent_or_none(tmp_path: Path) -> None:
    options = ReadOptions(header=("a", "b", "one", "two"), optional_names=("one", "two"))
    assert options.choose_names(4) == options.choose_names(3) == ("a", "b", "one", "two")
    assert options.choose_names(2) == ("a", "b")


def test_a_header_in_an_unlabeled_file_is_an_error(job: JobFolder, tmp_path: Path) -> None:
    frame = write(tmp_path / "rows.csv", UNLABELED)
    frame[UNLABELED].to_csv(tmp_path / "rows.csv", index=False)
    result = predict(job, tmp_path / "rows.csv", tmp_path / "out.csv")
    assert result.exit_code == 1
    assert "the first line is a header" in result.output
