"""evaluate.py: the model.tar.gz of a job and labeled rows to the same evaluation, in a processing job's folders."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fusionzoo.contracts import MODEL_EVALUATION_CONTRACT, Verdict
from fusionzoo.contracts.job_kinds import SAGEMAKER_ROOT
from fusionzoo.contracts.verification.script_verification import verify_script
from fusionzoo.contracts.verification.verified_job import VerifiedJob
from fusionzoo.contracts.verification.workspace import choose_root_kind
from fusionzoo.evaluation.model_quality import make_model_quality
from fusionzoo.prediction.evaluate_arguments import EvaluateSettings, parse_evaluate_arguments
from fusionzoo.prediction.evaluate_script import run_evaluate_script
from prediction_helpers import assert_same_predictions, read_expected, read_frame, read_test_rows, write_frame
from process_helpers import TRAIN_PY
from shop import JobFolder
from verification_helpers import find_failures

EVALUATE_PY = TRAIN_PY.with_name("evaluate.py")


@pytest.fixture(scope="module")
def archive(trained_job: JobFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder as SageMaker uploads it, with code that a repacked model has."""
    path = tmp_path_factory.mktemp("archive") / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        tar.add(trained_job.model, arcname=".")
        tar.add(EVALUATE_PY, arcname="code/inference.py")
    return path


@pytest.fixture
def root(archive: Path, tmp_path: Path) -> Path:
    """The root folder of a job without rows."""
    model = tmp_path / "ml/processing/model"
    model.mkdir(parents=True)
    (model / "model.tar.gz").symlink_to(archive)
    return tmp_path / "ml"


def run(root: Path, *arguments: str) -> int:
    return run_evaluate_script(arguments, {"SAGEMAKER_BASE_DIR": str(root)})


def read_message(root: Path) -> str:
    return " ".join((root / "output/message").read_text()[:1024].split())


def list_outputs(root: Path) -> set[str]:
    folders = (root / "processing/evaluation", root / "processing/predictions")
    names = {path.name for folder in folders if folder.exists() for path in folder.iterdir()}
    return names - {"_earlier_run"}


def test_the_evaluation_is_that_of_the_job_and_predictions_keep_ids_and_order(
    trained_job: JobFolder, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_test_rows(trained_job)
    other_order = rows[[*reversed(rows.columns)]]
    for part, block in enumerate(np.array_split(np.arange(len(rows)), 3)):
        write_frame(root / f"processing/test/part-{part}.csv", other_order.iloc[block])
    assert run(root) == 0
    report = json.loads((root / "processing/evaluation/metrics.json").read_text())
    expected = json.loads((trained_job.output / "metrics.json").read_text())["splits"]["test"]["metrics"]
    metrics = report["splits"]["test"]["metrics"]
    assert metrics == pytest.approx(expected, abs=1e-6)
    assert_same_predictions(
        read_frame(root / "processing/predictions/test_predictions.csv"), read_expected(trained_job)
    )
    quality = json.loads((root / "processing/evaluation/evaluation.json").read_text())
    assert quality["binary_classification_metrics"]["auc"] == {"value": metrics["auroc"]}
    assert list_outputs(root) == {"metrics.json", "evaluation.json", "plots", "test_predictions.csv"}
    assert f"#metric test_auroc={metrics['auroc']:.6f};" in capsys.readouterr().out


def test_a_baseline_in_its_folder_is_compared_with(
    trained_job: JobFolder, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frame(root / "processing/test/rows.csv", read_test_rows(trained_job))
    write_frame(root / "processing/baseline/test_predictions.csv", read_expected(trained_job))
    assert run(root) == 0
    report = json.loads((root / "processing/evaluation/metrics.json").read_text())
    assert report["baseline"]["differences"]["auroc"]["difference"] == pytest.approx(0, abs=1e-6)
    quality = json.loads((root / "processing/evaluation/evaluation.json").read_text())
    assert set(quality["baseline"]["auc"]) == {"value", "difference", "lower", "upper"}
    assert "auroc: " in capsys.readouterr().out
    write_frame(root / "processing/baseline/test_predictions.csv", read_expected(trained_job).head(5))
    assert run(root) == 1
    assert "rows of the input are not in the baseline" in read_message(root)
    assert list_outputs(root) == set()


def drop_labels(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop(columns="target")


def add_unknown_class(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(target=["maybe", *rows["target"].astype(str)[1:]])


def drop_feature(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop(columns="country")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_labels, "has no label column 'target'"),
        (add_unknown_class, "'maybe'"),
        (drop_feature, "country"),
        (lambda rows: rows.head(0), "is empty: it has no rows"),
    ],
)
def test_rows_that_cannot_be_evaluated_are_an_error_before_they_are_scored(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    message: str,
    trained_job: JobFolder,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_frame(root / "processing/test/rows.csv", change(read_test_rows(trained_job)))
    monkeypatch.setattr("fusionzoo.prediction.evaluate_job.LocalEngine", None)
    assert run(root) == 1
    assert message in read_message(root)
    assert "Fix:" in read_message(root)
    assert list_outputs(root) == set()


def test_a_missing_or_empty_folder_of_rows_is_named(root: Path) -> None:
    assert run(root) == 1
    assert f"{root}/processing/test does not exist" in read_message(root)
    (root / "processing/test").mkdir()
    assert run(root) == 1
    assert "test" in read_message(root)
    assert "FZ-" in read_message(root)


def test_a_damaged_model_is_named_by_its_archive_and_file(root: Path, trained_job: JobFolder, tmp_path: Path) -> None:
    write_frame(root / "processing/test/rows.csv", read_test_rows(trained_job))
    archive = root / "processing/model/model.tar.gz"
    archive.unlink()
    with tarfile.open(archive, "w:gz") as tar:
        for path in trained_job.model.iterdir():
            if path.name != "tokenizer.json":
                tar.add(path, arcname=path.name)
    assert run(root) == 1
    assert f"{archive}/tokenizer.json does not exist" in read_message(root)
    archive.write_bytes(b"damaged")
    assert run(root) == 1
    assert f"{archive} cannot be unpacked" in read_message(root)
    archive.unlink()
    assert run(root) == 1
    assert f"{archive} does not exist" in read_message(root)
    assert list_outputs(root) == set()


def test_a_failed_run_leaves_earlier_results_in_other_folders_only(root: Path, trained_job: JobFolder) -> None:
    rows = write_frame(root / "processing/test/rows.csv", read_test_rows(trained_job))
    assert run(root) == 0
    metrics = (root / "processing/evaluation/metrics.json").read_bytes()
    write_frame(rows, drop_labels(read_test_rows(trained_job)))
    for _ in range(2):
        assert run(root) == 1
        assert list_outputs(root) == set()
        assert (root / "processing/evaluation/_earlier_run/metrics.json").read_bytes() == metrics
        assert (root / "processing/predictions/_earlier_run/test_predictions.csv").is_file()


def test_rows_without_a_label_can_be_skipped(root: Path, trained_job: JobFolder) -> None:
    rows = read_test_rows(trained_job)
    labels = [str(label) if i < 15 else "" for i, label in enumerate(rows["target"])]
    write_frame(root / "processing/test/rows.csv", rows.assign(target=labels))
    assert run(root) == 1
    assert "have no label" in read_message(root)
    assert run(root, "--skip-unlabeled", "true") == 0
    assert run(root, "--skip-unlabeled") == 0
    assert json.loads((root / "processing/evaluation/metrics.json").read_text())["splits"]["test"]["rows"] == 15


@pytest.mark.parametrize("arguments", [["--seed", "1"], ["--batch-size"], ["x"]])
def test_an_unknown_argument_is_an_error_that_lists_the_arguments(arguments: list[str], root: Path) -> None:
    assert run(root, *arguments) == 1
    assert "--skip-unlabeled, --max-expansion, --batch-size" in read_message(root)


def test_wrong_values_of_arguments_are_reported_together(root: Path) -> None:
    assert run(root, "--skip-unlabeled", "maybe", "--max-expansion", "0", "--batch-size", "1.5") == 1
    message = read_message(root)
    assert message.startswith("The arguments cannot be used: 3 problems.")
    assert 'skip_unlabeled = "maybe"' in message
    assert "max_expansion = 0" in message
    assert "batch_size = 1.5" in message
    for value in ("0", "1000001", "inf", "x", ""):
        assert run(root, "--batch-size", value) == 1
        assert "batch_size" in read_message(root)
    for value in ("0.9", "inf", "nan", "x"):
        assert run(root, "--max-expansion", value) == 1
        assert "max_expansion" in read_message(root)


def test_arguments_have_the_defaults_of_the_contract() -> None:
    defaults = parse_evaluate_arguments({})
    assert (defaults.skip_unlabeled, defaults.max_expansion, defaults.batch_size) == (False, 200.0, 64)
    texts = {"skip-unlabeled": "TRUE", "max-expansion": "1.5", "batch-size": "1000000"}
    settings = parse_evaluate_arguments(texts)
    assert (settings.skip_unlabeled, settings.max_expansion, settings.batch_size) == (True, 1.5, 1_000_000)
    assert {*EvaluateSettings.model_fields} == {name.replace("-", "_") for name in MODEL_EVALUATION_CONTRACT.arguments}


def test_help_lists_every_argument_and_starts_no_job(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(root, "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    assert [name for name in MODEL_EVALUATION_CONTRACT.arguments if f"--{name}" not in text] == []
    assert "each byte of model.tar.gz may have. Default: 200." in text
    assert not (root / "output").exists()


def test_several_instances_are_refused(root: Path) -> None:
    config = root / "config/resourceconfig.json"
    config.parent.mkdir()
    config.write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]}))
    assert run(root) == 1
    assert "The job has 2 instances, but evaluate.py runs on one" in read_message(root)


class Classes:
    """Stands for the task of an evaluation."""

    def __init__(self, *classes: str) -> None:
        self.classes = classes

    def report_entries(self) -> dict[str, object]:
        return {"classes": list(self.classes)}


@pytest.mark.parametrize(
    ("metrics", "classes", "group", "names"),
    [
        ({"auroc": 0.5, "balanced_accuracy": 0.4}, "ab", "binary_classification_metrics", ["auc", "balanced_accuracy"]),
        ({"auroc": None, "balanced_accuracy": 0.4}, "abc", "multiclass_classification_metrics", ["balanced_accuracy"]),
        ({"f1_score": 0.5, "hamming_loss": 0.4}, "ab", "multiclass_classification_metrics", ["f1", "hamming_loss"]),
        ({"rmse": 2.0, "mae": 1.0}, "", "regression_metrics", ["rmse", "mae"]),
    ],
)
def test_the_model_quality_has_the_names_of_sagemaker(
    metrics: dict[str, float | None], classes: str, group: str, names: list[str]
) -> None:
    quality = make_model_quality(metrics, Classes(*classes))  # type: ignore[arg-type]
    assert list(quality) == [group]
    assert list(quality[group]) == names


@pytest.fixture
def job_input(root: Path, archive: Path, trained_job: JobFolder) -> Path:
    """The folder of a job with real files."""
    link = root / "processing/model/model.tar.gz"
    link.unlink()
    link.write_bytes(archive.read_bytes())
    write_frame(root / "processing/test/rows.csv", read_test_rows(trained_job))
    return root


def test_evaluate_py_keeps_its_contract(job_input: Path) -> None:
    static = MODEL_EVALUATION_CONTRACT.validate_implementation(EVALUATE_PY)
    assert static.summary == "evaluate.py vs ProcessingScriptContract: COMPLIANT"
    environ = {"OMP_NUM_THREADS": "1"}
    job = VerifiedJob(
        EVALUATE_PY, MODEL_EVALUATION_CONTRACT, choose_root_kind(), input_folder=job_input, environ=environ
    )
    report = verify_script(job, only_complete_run=True)  # the tests above have damaged and missing inputs
    assert find_failures(report) == {}
    assert report.summary == "evaluate.py vs ProcessingScriptContract: COMPLIANT"
    proven = {path for path, verdict in report.verdicts.items() if verdict is Verdict.PROVEN}
    assert proven == {
        f"{SAGEMAKER_ROOT}/{MODEL_EVALUATION_CONTRACT.relative_path(name)}"
        for name in ("model", "data", "evaluation", "predictions")
    }
    assert {path for path in proven if static.verdicts[path] is Verdict.MISSING} == set()
