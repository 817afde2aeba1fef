"""Regression without jobs: the target, its loss and link, its metrics, its prediction files and its settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import mean_pinball_loss, r2_score
from torch.nn import functional as F

from fusionzoo.artifacts.prediction_files import write_predict_results, write_predictions
from fusionzoo.artifacts.prediction_formats import PREDICTION_FORMATS
from fusionzoo.artifacts.predictions import Predictions, prediction_columns
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.targets.class_labels import ClassLabelScan
from fusionzoo.data.targets.numeric_target import NumericStrata, NumericTarget, NumericTargetReader, TargetScale
from fusionzoo.errors import DataError, PredictionColumnsError, ScoresError
from fusionzoo.evaluation.regression_metrics import regression_metrics
from fusionzoo.evaluation.report import ScoredSplit, evaluate
from fusionzoo.tasks.number_objective import NumberLink, NumberObjective
from fusionzoo.tasks.objective import fill_missing, find_labeled
from fusionzoo.tasks.regression import Regression
from task_helpers import make_regression_target
from training_helpers import make_job_settings

pytestmark = pytest.mark.usefixtures("rendered_plots")

VALUES = [1.5, -3.0, 0.0, 12.25]


def make_rows(first_row: int = 1, **columns: Any) -> Rows:
    return Rows({name: pa.array(values) for name, values in columns.items()}, "train/a.csv", first_row, typed=False)


def make_settings(**changes: Any) -> DataSettings:
    return DataSettings(**{"task": "regression", "label_name": "y", "text_name": "t", **changes})


def fit_target(rows: Rows, **changes: Any) -> NumericTarget:
    settings = make_settings(**changes)
    scan = NumericTargetReader(settings).scan(optional=False)
    scan.add(rows)
    return scan.fit(settings)


# --- the target


@pytest.mark.parametrize(
    "values",
    [VALUES, [str(value) for value in VALUES], [f" {value} " for value in VALUES]],
    ids=["numbers", "text", "spaces"],
)
def test_numbers_of_any_type_are_encoded_as_they_are_and_standardized_with_train(values: list[Any]) -> None:
    target, rows = fit_target(make_rows(y=values)), make_rows(y=values)
    assert target.encode(rows)[:, 0].tolist() == VALUES
    standardized = target.standardize(target.encode(rows))
    assert standardized.mean() == pytest.approx(0, abs=1e-12)
    assert standardized.std() == pytest.approx(1)


def test_a_target_is_restored_from_plain_values() -> None:
    settings = make_settings(label_name=["y", "z"], target_transform="log1p", quantiles=[0.9, 0.5])
    reader = NumericTargetReader(settings)
    scan = reader.scan(optional=False)
    scan.add(make_rows(y=[1, 2, 7], z=[0.5, 2, 3]))
    target = scan.fit(settings)
    assert target.quantiles == (0.5, 0.9)
    assert target.num_outputs == reader.num_expected_outputs == 4
    assert reader.restore(target.as_json()) == target


def test_a_label_that_is_not_a_number_names_its_row_and_the_other_task() -> None:
    with pytest.raises(DataError, match=r"(?s)column 'y'.*train/a.csv row 2 'good'.*set task: classification"):
        fit_target(make_rows(y=["1", "good", "3"]))


def test_a_missing_label_is_an_error_in_train_and_nan_where_labels_are_optional() -> None:
    rows = make_rows(y=["1", None, ""], z=[1, 2, 3])
    with pytest.raises(DataError, match=r"2 labels are null: train/a.csv row 2"):
        fit_target(rows)
    target = make_regression_target("y", "z")
    assert np.isnan(target.encode(rows, optional=True)).tolist() == [[False, False], [True, False], [True, False]]


def test_values_without_a_logarithm_are_refused_with_their_rows() -> None:
    with pytest.raises(DataError, match=r"train/a.csv row 2 '-1.0'.*remove target_transform"):
        fit_target(make_rows(y=[3.0, -1.0, 2.0]), target_transform="log1p")
    assert fit_target(make_rows(y=[3.0, -0.5, 2.0]), target_transform="log1p").transform == "log1p"


def test_a_constant_target_is_an_error() -> None:
    with pytest.raises(DataError, match="every row has the value 4, so there is nothing to learn"):
        fit_target(make_rows(y=[4, 4, 4]))


@pytest.mark.parametrize(("mean", "std"), [(1e12, 1.2), (-1e12, 1.2), (3e7, 1.0), (0.0, 1e-300), (1e-300, 1e-300)])
def test_numbers_that_float32_cannot_tell_apart_are_an_error(mean: float, std: float) -> None:
    with pytest.raises(DataError, match=r"column 'y': the values vary by .*cannot show that"):
        fit_target(make_rows(y=mean + std * np.random.default_rng(0).normal(size=100)))


@pytest.mark.parametrize(("mean", "std"), [(1.7e9, 1e6), (1e5, 1.0), (0.0, 1e-30), (0.0, 1e30)])
def test_large_and_tiny_numbers_with_enough_digits_are_accepted(mean: float, std: float) -> None:
    scale = fit_target(make_rows(y=mean + std * np.random.default_rng(0).normal(size=100))).scales[0]
    assert scale.std == pytest.approx(std, rel=0.3)


def test_two_distinct_values_are_reported_as_probable_classes() -> None:
    scan = NumericTargetReader(make_settings()).scan(optional=False)
    scan.add(make_rows(y=[0, 1, 1]))
    (warning,) = scan.warnings(scan.fit(make_settings()))
    assert "only 2 distinct values" in warning
    assert "task: classification" in warning


def test_labels_of_a_classification_that_are_many_numbers_name_regression() -> None:
    counts = ClassLabelScan("y")
    counts.add(make_rows(y=[f"{i}.25" for i in range(200)]))
    with pytest.raises(
        DataError, match=r"train has 200 numbers as labels.*set task: regression and remove num_classes"
    ):
        counts.fit(DataSettings(label_name="y", text_name="t", num_classes=2))


def test_each_part_of_a_split_channel_can_have_rows_of_every_size_of_the_target() -> None:
    numbers = np.random.default_rng(0).lognormal(size=1000)
    strata = NumericStrata(["y"])
    strata.add(make_rows(y=numbers[:400]))
    strata.add(make_rows(y=numbers[400:]))
    codes = strata.codes()
    assert np.bincount(codes).tolist() == [100] * 10
    assert all(numbers[codes == k].max() < numbers[codes == k + 1].min() for k in range(9))
    few = NumericStrata(["y"])
    few.add(make_rows(y=[1.0, 2.0, 2.0]))
    assert few.codes().tolist() == [0, 0, 0]


def test_a_column_that_equals_the_target_is_found_as_a_leak() -> None:
    from fusionzoo.data.leakage import ColumnChecks

    rng = np.random.default_rng(0)
    target, noise = rng.normal(size=3000), rng.normal(size=3000)
    checks = ColumnChecks(make_settings(tab_field_list=["copy", "noise"]))
    checks.add(
        [pa.array(target)], {}, {"copy": 3 * target + 1, "noise": noise}, {"t": pa.array(["a", "b", "c"] * 1000)}
    )
    leaks = [warning for warning in checks.warnings() if "almost perfectly" in warning]
    assert [warning.split("'")[1] for warning in leaks] == ["copy"]
    assert "the most frequent tenth of the values" in leaks[0]


# --- losses and links


def make_outputs(columns: int = 2, quantiles: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    labels = torch.randn(50, columns, generator=g, dtype=torch.float64)
    return torch.randn(50, columns * quantiles, generator=g), labels


def make_objective(loss: str, *names: str, quantiles: tuple[float, ...] = (), **settings: Any) -> NumberObjective:
    target = make_regression_target(*names or ("y", "z"), quantiles=quantiles)
    return NumberObjective(make_job_settings(task="regression", loss=loss, **settings), target)


@pytest.mark.parametrize(
    ("loss", "reference"),
    [("mse", F.mse_loss), ("mae", F.l1_loss), ("huber", lambda a, b: F.huber_loss(a, b, delta=0.7))],
)
def test_a_loss_equals_that_of_torch_on_the_standardized_target(loss: str, reference: Any) -> None:
    objective = make_objective(loss, huber_delta=0.7)
    outputs, labels = make_outputs()
    standardized = torch.from_numpy(objective._target.standardize(labels.numpy())).float()
    assert objective.row_losses(outputs, labels).mean().item() == pytest.approx(reference(outputs, standardized).item())
    assert objective.validation_loss(outputs, labels).item() == pytest.approx(reference(outputs, standardized).item())


def test_the_quantile_loss_equals_the_pinball_loss_of_scikit_learn() -> None:
    quantiles = (0.1, 0.5, 0.9)
    objective = make_objective("quantile", quantiles=quantiles)
    outputs, labels = make_outputs(quantiles=3)
    standardized, predicted = objective._target.standardize(labels.numpy()), outputs.reshape(50, 2, 3).numpy()
    expected = [mean_pinball_loss(standardized, predicted[:, :, k], alpha=q) for k, q in enumerate(quantiles)]
    assert objective.row_losses(outputs, labels).mean().item() == pytest.approx(np.mean(expected), rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "quantile"])
def test_no_constant_has_a_lower_loss_than_the_best_constant(loss: str) -> None:
    quantiles = (0.2, 0.5) if loss == "quantile" else ()
    objective = make_objective(loss, "y", quantiles=quantiles, huber_delta=0.5)
    labels = np.random.default_rng(0).lognormal(size=(201, 1))
    constants = torch.linspace(-2, 2, 401)[:, None].expand(401, max(1, len(quantiles)))
    losses = torch.stack(
        [
            objective._output_losses(
                torch.from_numpy(objective._target.standardize(labels)).float()[:, :, None] - c
            ).mean(dim=(0, 1))
            for c in constants
        ]
    )
    best = float(losses.min(dim=0).values.mean())
    assert objective.constant_loss(labels) == pytest.approx(best, rel=1e-3)
    assert objective.constant_loss(labels) <= best + 1e-6


def test_a_link_inverts_standardization_and_logarithm() -> None:
    labels = np.array([[0.0, -0.5], [1e6, 3.0]])
    target = NumericTarget((TargetScale("y", 4.0, 3.0), TargetScale("z", 0.1, 0.5)), "log1p")
    scores = NumberLink(target)(torch.from_numpy(target.standardize(labels)).float()).numpy()
    assert scores == pytest.approx(labels, rel=1e-4, abs=1e-6)
    assert np.isfinite(NumberLink(target)(torch.full((1, 2), 1e4)).numpy()).all()


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e-3, 1.0, 1e6])
def test_a_logarithm_loses_no_digits_of_small_numbers(scale: float) -> None:
    labels = scale * np.array([[0.3], [1.0], [4.5], [0.0]])
    target = NumericTarget((TargetScale("y", np.log1p(labels).mean(), np.log1p(labels).std()),), "log1p")
    link = NumberLink(target)
    scores = link(torch.from_numpy(target.standardize(labels)).float()).numpy()
    assert scores == pytest.approx(labels, rel=1e-4, abs=1e-5 * scale)
    assert link.difference(scores + np.float32(0.1 * scale), scores) > 0.01


def test_predicted_quantiles_never_cross() -> None:
    outputs, _ = make_outputs(quantiles=3)
    scores = NumberLink(make_regression_target("y", "z", quantiles=(0.1, 0.5, 0.9)))(outputs).reshape(50, 2, 3)
    assert (scores.diff(dim=-1) >= 0).all()


def test_a_row_without_a_label_changes_neither_loss_nor_gradient() -> None:
    objective, (outputs, labels) = make_objective("mse"), make_outputs()
    labels[7] = float("nan")
    outputs.requires_grad_()
    is_counted = find_labeled(labels)
    losses = objective.row_losses(outputs, fill_missing(labels)) * is_counted
    losses.sum().backward()
    assert is_counted.sum() == 49
    assert outputs.grad is not None
    assert outputs.grad[7].tolist() == [0.0, 0.0]
    assert outputs.grad.isfinite().all()
    others = [row for row in range(50) if row != 7]
    assert losses.sum().item() == pytest.approx(objective.row_losses(outputs[others], labels[others]).sum().item())


def test_large_offsets_such_as_timestamps_keep_their_precision() -> None:
    target = NumericTarget((TargetScale("y", 1.7e9, 10.0),))
    objective = NumberObjective(make_job_settings(task="regression"), target)
    labels = torch.tensor([[1.7e9 + 1.0], [1.7e9 - 25.0]], dtype=torch.float64)
    assert objective.row_losses(torch.zeros(2, 1), labels).tolist() == pytest.approx([0.01, 6.25])


# --- metrics and evaluation


def test_metrics_are_those_of_scikit_learn_and_scipy() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(80, 1)) + 5
    predicted = true + rng.normal(size=(80, 1))
    metrics = regression_metrics(true, predicted)
    errors = np.abs(true - predicted)
    assert metrics == pytest.approx(
        {
            "rmse": np.sqrt((errors**2).mean()),
            "mae": errors.mean(),
            "r2": r2_score(true, predicted),
            "median_absolute_error": np.median(errors),
            "mape": (errors / np.abs(true)).mean(),
            "spearman": spearmanr(true, predicted).statistic,
        }
    )


@pytest.mark.parametrize(
    ("true", "undefined"),
    [
        ([1.0, 2.0, 0.0], {"mape"}),
        ([2.0, 2.0, 2.0], {"r2", "spearman"}),
        ([], {"rmse", "mae", "r2", "median_absolute_error", "mape", "spearman"}),
    ],
    ids=["a zero", "constant", "no rows"],
)
def test_an_undefined_metric_is_none(true: list[float], undefined: set[str]) -> None:
    y_true = np.array(true).reshape(-1, 1)
    metrics = regression_metrics(y_true, np.arange(len(true), dtype=np.float64)[:, None])
    assert {name for name, value in metrics.items() if value is None} == undefined


def test_metrics_of_several_targets_are_means_and_stand_in_a_table() -> None:
    rng = np.random.default_rng(1)
    true, task = rng.normal(size=(60, 2)), Regression(make_regression_target("y", "z"))
    report = evaluate({"val": ScoredSplit(true, (true + np.array([0.1, 0.5])).astype(np.float32))}, task)
    entry = report.as_json()["splits"]["val"]
    assert entry["per_target"]["y"]["mae"] == pytest.approx(0.1, rel=1e-4)
    assert entry["metrics"]["mae"] == pytest.approx(0.3, rel=1e-4)


def test_the_share_of_labels_below_each_quantile_is_reported(tmp_path: Path) -> None:
    task = Regression(make_regression_target("y", quantiles=(0.1, 0.5, 0.9)))
    true = np.arange(1.0, 101.0)[:, None]
    scores = np.broadcast_to(np.array([10.0, 50.0, 90.0], np.float32), (100, 3))
    report = evaluate({"val": ScoredSplit(true, scores)}, task, "model, target y")
    assert report.as_json()["splits"]["val"]["quantiles"] == {"y": {"0.1": 0.1, "0.5": 0.5, "0.9": 0.9}}
    report.write(tmp_path)
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "val_predicted_against_true.png",
        "val_residuals.png",
    ]


def test_scores_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(ScoresError, match=r"first in scores\[1\]"):
        regression_metrics(np.ones((2, 1)), np.array([[1.0], [np.inf]]))
    with pytest.raises(ScoresError, match="shapes"):
        regression_metrics(np.ones((2, 1)), np.ones((2, 2)))


# --- prediction files


@pytest.mark.parametrize("format", PREDICTION_FORMATS)
def test_a_prediction_file_has_the_label_and_the_predicted_numbers(tmp_path: Path, format: str) -> None:
    task = Regression(make_regression_target("y"))
    labels, scores = np.array([[1.5], [np.nan], [3.0]]), np.array([[1.25], [2.0], [1 / 3]], np.float32)
    predictions = Predictions("id", task, pa.array(["a", "b", "c"]), labels, scores)
    write_predictions(tmp_path / "file", format, predictions)
    assert prediction_columns("id", task) == ["id", "y", "predicted_y"]
    assert np.array_equal(
        PREDICTION_FORMATS[format].read_scores(tmp_path / "file", ["predicted_y"]), predictions.scores
    )
    if format == "parquet":
        assert pq.read_table(tmp_path / "file")["y"].to_pylist() == [1.5, None, 3.0]
    write_predict_results(tmp_path / "p.pth", predictions, "val")
    results = torch.load(tmp_path / "p.pth", weights_only=True)
    assert results["targets"] == ["y"]
    assert results["y_true"][[0, 2]].tolist() == [[1.5], [3.0]]


def test_quantiles_have_columns_of_their_own_and_names_may_not_clash() -> None:
    task = Regression(make_regression_target("y", quantiles=(0.025, 0.5, 0.975)))
    assert prediction_columns("id", task) == ["id", "y", "predicted_y_q2.5", "predicted_y", "predicted_y_q97.5"]
    with pytest.raises(PredictionColumnsError, match="predicted_y"):
        prediction_columns("predicted_y", task)
