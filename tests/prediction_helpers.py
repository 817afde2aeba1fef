"""Files of rows and predictions for the tests of `fusionzoo predict` and `fusionzoo evaluate`."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from fusionzoo.cli.commands import app
from fusionzoo.data.reading.rows import Rows
from fusionzoo.prediction.predict_job import StartEngine
from fusionzoo.serving.predictor import Predictor, ScoredRows
from shop import JobFolder


def read_frame(path: Path | io.BytesIO, format: str = "") -> pd.DataFrame:
    """Read a file of rows or predictions; text columns of CSV and TSV stay text."""
    name = format or "".join(Path(str(path)).suffixes)
    content = path.getvalue() if isinstance(path, io.BytesIO) else path.read_bytes()
    if name.endswith(".gz"):
        content, name = gzip.decompress(content), name.removesuffix(".gz")
    kind, stream = name.rpartition(".")[2], io.BytesIO(content)
    if kind == "parquet":
        return pq.read_table(stream).to_pandas()
    if kind in ("jsonl", "json"):
        return pd.read_json(stream, lines=True, dtype={"id": str})
    return pd.read_csv(stream, sep="\t" if kind == "tsv" else ",", dtype={"id": str}, keep_default_na=False)


def write_frame(path: Path, frame: pd.DataFrame) -> Path:
    """Write rows in the format of the file's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".parquet" in path.suffixes:
        frame.to_parquet(path, index=False)
    elif {".json", ".jsonl"} & {*path.suffixes}:
        frame.to_json(path, orient="records", lines=".jsonl" in path.suffixes)
    else:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in path.suffixes else ",")
    return path


def read_test_rows(job: JobFolder) -> pd.DataFrame:
    """Return the raw rows of the test channel."""
    return pd.read_parquet(job.root / "input/data/test/part-00000.parquet")


def read_expected(job: JobFolder) -> pd.DataFrame:
    """Return the predictions that the job wrote for its test channel."""
    return read_frame(job.output / "test_predictions.parquet")


def predict(job: JobFolder, source: object, output: object, *options: str, stdin: bytes | None = None) -> Result:
    """Run `fusionzoo predict` in this process, with the model of the job unless the options have another one."""
    model = [] if "--model" in options else ["--model", str(job.model)]
    paths = [*model, "--input", str(source), "--output", str(output)]
    return CliRunner().invoke(app, ["predict", *paths, *options], input=stdin)


def assert_same_predictions(actual: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Assert the same columns in the same order, and the same values; scores within 1e-6."""
    assert list(actual.columns) == list(expected.columns)
    for name in expected.columns:
        if expected[name].dtype.kind == "f":
            np.testing.assert_allclose(actual[name].to_numpy(), expected[name].to_numpy(), rtol=0, atol=1e-6)
        else:
            assert actual[name].astype(str).tolist() == expected[name].astype(str).tolist(), name


def assert_predict_reproduces(job: JobFolder, folder: Path, relative_tolerance: float = 0.0) -> None:
    """Assert that `predict` gives the predictions of the job for its test channel."""
    source, written = job.root / "input/data/test", pq.read_table(job.output / "test_predictions.parquet")
    done = predict(job, source, folder / "predictions.parquet")
    assert done.exit_code == 0, done.stderr
    predicted = pq.read_table(folder / "predictions.parquet")
    assert predicted.schema.equals(written.schema)
    for column in written.schema:
        if column.type == "float":
            pair = predicted[column.name].to_numpy(), written[column.name].to_numpy()
            np.testing.assert_allclose(*pair, rtol=relative_tolerance, atol=1e-6)
        else:
            assert predicted[column.name].equals(written[column.name]), column.name


def assert_commands_reproduce(job: JobFolder, folder: Path, relative_tolerance: float = 0.0) -> None:
    """Assert that `predict` and `evaluate` give the predictions and metrics of the job for its test channel."""
    assert_predict_reproduces(job, folder, relative_tolerance)
    source = job.root / "input/data/test"
    paths = ["--model", str(job.model), "--input", str(source), "--output", str(folder / "evaluation")]
    done = CliRunner().invoke(app, ["evaluate", *paths, "--skip-unlabeled"])
    assert done.exit_code == 0, done.stderr
    split, job_split = (
        json.loads((place / "metrics.json").read_text())["splits"]["test"]
        for place in (folder / "evaluation", job.output)
    )
    assert split["rows"] == job_split["rows"]
    assert split["metrics"] == pytest.approx(job_split["metrics"], rel=max(relative_tolerance, 1e-6), abs=1e-6)


@dataclass
class FailingEngine:
    """An engine that raises an exception instead of the scores of a block, counted from 0."""

    predictor: Predictor
    blocks_left: int
    error: BaseException

    def score(self, blocks: Iterable[Rows]) -> Iterator[ScoredRows]:
        for scored in self.predictor.predict_blocks(blocks):
            if not self.blocks_left:
                raise self.error
            self.blocks_left -= 1
            yield scored


def fail_at(block: int, error: BaseException) -> StartEngine:
    """Return what starts an engine that fails at a block."""
    return lambda predictor: nullcontext(FailingEngine(predictor, block, error))
