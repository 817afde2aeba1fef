"""`fusionzoo evaluate`: the metrics, plots and predictions of a job for its test channel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fusionzoo.cli.commands import app
from prediction_helpers import assert_same_predictions, read_expected, read_frame, read_test_rows, write_frame
from shop import JobFolder


def evaluate(job: JobFolder, source: Path, output: Path, *options: str) -> Result:
    paths = ["--model", str(job.model), "--input", str(source), "--output", str(output)]
    return CliRunner().invoke(app, ["evaluate", *paths, *options])


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl", None])
def test_the_evaluation_is_that_of_the_job(trained_job: JobFolder, tmp_path: Path, suffix: str | None) -> None:
    source = trained_job.root / "input/data/test"
    if suffix is not None:
        source = write_frame(tmp_path / f"rows.{suffix}", read_test_rows(trained_job))
    done = evaluate(trained_job, source, tmp_path / "out", "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads((tmp_path / "out/metrics.json").read_text())
    job_report = json.loads((trained_job.output / "metrics.json").read_text())
    assert list(report["splits"]) == ["test"]
    assert report["classes"] == job_report["classes"]
    assert report["splits"]["test"]["metrics"] == pytest.approx(job_report["splits"]["test"]["metrics"], abs=1e-6)
    for key in ("rows", "per_class", "confusion_matrix"):
        assert report["splits"]["test"][key] == job_report["splits"]["test"][key]
    assert json.loads(done.stdout) == report["splits"]["test"]["metrics"]
    predictions = tmp_path / f"out/test_predictions.{suffix or 'parquet'}"
    assert_same_predictions(read_frame(predictions), read_expected(trained_job))
    plots = {path.name for path in (tmp_path / "out/plots").iterdir()}
    assert plots == {path.name for path in (trained_job.output / "plots").glob("test_*")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "metrics.json",
        "evaluation.json",
        "plots",
        predictions.name,
    }


def test_the_metrics_are_a_table(trained_job: JobFolder, tmp_path: Path) -> None:
    done = evaluate(trained_job, trained_job.root / "input/data/test", tmp_path / "out")
    assert done.stdout.splitlines()[0].split() == ["metric", "value"]
    assert "accuracy" in done.stdout


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("drop", "no label column 'target'"),
        ([""] * 19, "No row has a label"),
        (["1"] * 17 + ["", ""], "2 rows have no label: in/rows.csv row 18, in/rows.csv row 19"),
        (["1"] * 18 + ["maybe"], "row 19 'maybe'"),
    ],
)
def test_rows_without_a_known_label_are_an_error_before_rows_are_scored(
    trained_job: JobFolder, tmp_path: Path, labels: object, message: str
) -> None:
    rows = read_test_rows(trained_job).drop(columns="target")
    source = write_frame(tmp_path / "in/rows.csv", rows if labels == "drop" else rows.assign(target=labels))
    done = evaluate(trained_job, source, tmp_path / "out")
    assert done.exit_code == 1
    assert message in " ".join(done.stderr.split())
    assert "Fix:" in done.stderr
    assert not (tmp_path / "out").exists()


def test_rows_without_a_label_can_be_skipped(trained_job: JobFolder, tmp_path: Path) -> None:
    rows = read_test_rows(trained_job)
    labels = [str(label) if i < 15 else "" for i, label in enumerate(rows["target"])]
    assert evaluate(trained_job, write_frame(tmp_path / "all.csv", rows.head(15)), tmp_path / "a").exit_code == 0
    source = write_frame(tmp_path / "some.csv", rows.assign(target=labels))
    assert evaluate(trained_job, source, tmp_path / "b", "--skip-unlabeled").exit_code == 0
    assert (tmp_path / "a/metrics.json").read_text() == (tmp_path / "b/metrics.json").read_text()
    assert read_frame(tmp_path / "b/test_predictions.csv")["target"].astype(str).tolist() == labels


def test_the_output_must_be_a_new_folder(trained_job: JobFolder, tmp_path: Path) -> None:
    source = trained_job.root / "input/data/test"
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").touch()
    (tmp_path / "file").touch()
    for output, message in (
        (tmp_path / "full", "mine.txt"),
        (tmp_path / "file", "already exists"),
        (source / "out", "is inside --input"),
        (trained_job.model / "out", "is inside --model"),
    ):
        done = evaluate(trained_job, source, output)
        assert done.exit_code == 1
        assert message in done.stderr
    assert "does not exist" in evaluate(trained_job, tmp_path / "absent", tmp_path / "x").stderr


def test_an_evaluation_that_another_one_wrote_meanwhile_is_not_replaced(
    trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_another(*_: object) -> None:
        (tmp_path / "out/metrics.json").write_text("of another evaluation")

    monkeypatch.setattr("fusionzoo.prediction.evaluate_job.write_model_quality", write_another)
    result = evaluate(trained_job, trained_job.root / "input/data/test", tmp_path / "out")
    assert result.exit_code == 1
    assert "is not empty" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["metrics.json"]
    assert (tmp_path / "out/metrics.json").read_text() == "of another evaluation"


def test_the_model_is_compared_with_a_baseline(trained_job: JobFolder, tmp_path: Path) -> None:
    source, expected = trained_job.root / "input/data/test", read_expected(trained_job)
    swapped = expected.assign(prob_0=expected["prob_1"], prob_1=expected["prob_0"])
    baseline = write_frame(tmp_path / "baseline.csv", swapped[::-1])
    done = evaluate(trained_job, source, tmp_path / "out", "--baseline", str(baseline), "--json")
    assert done.exit_code == 0, done.stderr
    report = json.loads((tmp_path / "out/metrics.json").read_text())
    assert json.loads(done.stdout) == {**report["splits"]["test"]["metrics"], "baseline": report["baseline"]}
    auroc = report["baseline"]["differences"]["auroc"]
    assert report["baseline"]["rows"] == len(expected)
    assert auroc["model"] == pytest.approx(report["splits"]["test"]["metrics"]["auroc"], abs=1e-12)
    assert auroc["baseline"] == pytest.approx(report["baseline"]["metrics"]["auroc"], abs=1e-12)
    assert auroc["baseline"] == pytest.approx(1 - auroc["model"])
    quality = json.loads((tmp_path / "out/evaluation.json").read_text())["baseline"]["auc"]
    low, high = auroc["confidence_interval"]
    assert quality == {"value": auroc["baseline"], "difference": auroc["difference"], "lower": low, "upper": high}


def test_a_comparison_with_the_own_predictions_of_a_job_finds_no_difference(
    trained_job: JobFolder, tmp_path: Path
) -> None:
    source = trained_job.root / "input/data/test"
    done = evaluate(trained_job, source, tmp_path / "out", "--baseline", str(trained_job.output))
    assert done.exit_code == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "baseline" in line]
    assert [line.split(":")[0] for line in lines] == ["auroc", "log_loss"]
    assert "no measurable difference" in lines[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "x"}, "duplicate ids in column 'id'"),
        ({"prob_0": 0.9, "prob_1": 0.9}, "cannot be evaluated"),
    ],
)
def test_a_baseline_that_cannot_be_compared_is_an_error_before_rows_are_scored(
    trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], message: str
) -> None:
    baseline = write_frame(tmp_path / "baseline.csv", read_expected(trained_job).assign(**changes))
    monkeypatch.setattr("fusionzoo.prediction.evaluate_job.LocalEngine", None)
    source = trained_job.root / "input/data/test"
    done = evaluate(trained_job, source, tmp_path / "out", "--baseline", str(baseline))
    assert done.exit_code == 1
    assert message in " ".join(done.stderr.split())
    assert "baseline.csv" in done.stderr
    assert not (tmp_path / "out").exists()
    assert (
        "is inside --baseline" in evaluate(trained_job, source, tmp_path / "b/o", "--baseline", f"{tmp_path}/b").stderr
    )
