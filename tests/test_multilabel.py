"""Multilabel classification without jobs: its loss and link, its metrics, its evaluation and its prediction files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    log_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)
from torch.nn import functional as F

from fusionzoo.artifacts.prediction_files import write_predict_results, write_predictions
from fusionzoo.artifacts.prediction_formats import PREDICTION_FORMATS
from fusionzoo.artifacts.predictions import Predictions, prediction_columns
from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.data.targets.label_indicators import LabelIndicators
from fusionzoo.data.targets.label_lists import LabelLists
from fusionzoo.errors import DataError, ScoresError
from fusionzoo.evaluation.multilabel_metrics import multilabel_metrics, per_label_metrics
from fusionzoo.evaluation.report import ScoredSplit, evaluate
from fusionzoo.tasks.multilabel import Multilabel
from fusionzoo.tasks.multilabel_objective import MultilabelObjective, Sigmoid, compute_label_weights
from fusionzoo.tasks.objective import fill_missing, find_labeled
from shop import made_split
from training_helpers import make_job_settings

pytestmark = pytest.mark.usefixtures("rendered_plots")

LABELS = ("a", "b", "c", "d")


def make_scores(rows: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return 0 or 1 and related probabilities, [rows, 4]."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((rows, 4)) < [0.5, 0.3, 0.1, 0.7]).astype(np.int8)
    logits = 2 * labels - 1 + rng.normal(size=labels.shape)
    return labels, (1 / (1 + np.exp(-logits))).astype(np.float32)


def make_task(form: Any = "lists", separator: str | None = None) -> Multilabel:
    return Multilabel(LabelLists(LabelMap("tags", LABELS), separator, form))


def make_objective(weights: list[float] | None = None, **settings: Any) -> MultilabelObjective:
    return MultilabelObjective(make_job_settings(task="multilabel", **settings), weights or [1.0] * 4)


def make_outputs(rows: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (rows, 4), generator=g, dtype=torch.int8)
    return 3 * torch.randn(rows, 4, generator=g), labels


# --- losses and the link


def test_the_loss_is_that_of_torch_with_the_weights_of_the_labels() -> None:
    weights = [1.0, 3.0, 0.5, 0.0]
    objective, (outputs, labels) = make_objective(weights), make_outputs()
    expected = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weights))(outputs, labels.float()).item()
    assert objective.row_losses(outputs, labels).mean().item() == pytest.approx(expected)
    assert objective.validation_loss(outputs, labels).item() == pytest.approx(expected)
    assert objective.summary() == {"class_weights": weights}


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_the_focal_loss_scales_each_label_by_how_wrong_it_is(gamma: float) -> None:
    weights = [1.0, 3.0, 0.5, 2.0]
    objective = make_objective(weights, loss="focal", focal_gamma=gamma)
    outputs, labels = make_outputs()
    p, y = outputs.sigmoid(), labels.float()
    expected = -(
        torch.tensor(weights) * y * (1 - p) ** gamma * p.log() + (1 - y) * p**gamma * (1 - p).log()
    )  # Lin et al. 2017, equation 4, for both values of a label
    assert torch.allclose(objective.row_losses(outputs, labels), expected.mean(dim=1), rtol=1e-4)
    plain = make_objective(weights).validation_loss(outputs, labels)
    assert objective.validation_loss(outputs, labels).item() == pytest.approx(plain.item())


def test_extreme_outputs_have_finite_losses_and_gradients() -> None:
    outputs = torch.tensor([[1e4, -1e4, 1e4, -1e4]], requires_grad=True)
    for loss in ("binary_cross_entropy", "focal"):
        row_losses = make_objective(loss=loss, focal_gamma=0.5).row_losses(outputs, torch.tensor([[1, 1, 0, 0]]))
        (gradient,) = torch.autograd.grad(row_losses.sum(), outputs)
        assert gradient.isfinite().all()
        assert row_losses.isfinite().all()


def test_no_constant_has_a_lower_loss_than_the_best_constant() -> None:
    objective, (labels, _) = make_objective([1.0, 5.0, 0.3, 1.0]), make_scores()
    labels[:, 3] = 1  # a constant label costs nothing
    grid = torch.linspace(-8, 8, 1601)[:, None].expand(1601, 4)
    losses = torch.stack(
        [objective._label_losses(c.expand(200, 4), torch.from_numpy(labels)).mean(dim=0) for c in grid]
    )
    best = losses.min(dim=0).values.mean().item()
    assert objective.constant_loss(labels) == pytest.approx(best, abs=2e-4)
    assert objective.constant_loss(labels) <= best + 1e-6


def test_balanced_weights_are_the_other_rows_divided_by_the_rows_of_a_label() -> None:
    labels = np.array([[1, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]], np.int8)
    split = made_split(np.arange(5), np.arange(5), labels=labels)
    target = make_task().target
    settings = make_job_settings(task="multilabel", class_weights="balanced")
    assert compute_label_weights(settings, split, target) == pytest.approx([3.0, 1.0, 1.0, 1 / 3])
    named = make_job_settings(task="multilabel", class_weights={"b": 4})
    assert compute_label_weights(named, split, target) == [1.0, 4.0, 1.0, 1.0]
    with pytest.raises(DataError, match="but the classes are 'a', 'b', 'c', 'd'"):
        compute_label_weights(make_job_settings(class_weights={"z": 4}), split, target)
    with pytest.raises(DataError, match="2 labels, but train has 4"):
        compute_label_weights(make_job_settings(class_weights=[1, 2]), split, target)


def test_the_link_gives_the_probability_of_each_label() -> None:
    outputs, _ = make_outputs()
    assert torch.equal(Sigmoid()(outputs.half()), outputs.half().float().sigmoid())


def test_a_row_without_labels_changes_neither_loss_nor_gradient() -> None:
    objective, (outputs, labels) = make_objective(), make_outputs()
    labels[7] = -1
    outputs.requires_grad_()
    is_counted = find_labeled(labels)
    losses = objective.row_losses(outputs, fill_missing(labels)) * is_counted
    losses.sum().backward()
    assert is_counted.sum() == 49
    assert outputs.grad is not None
    assert outputs.grad[7].tolist() == [0.0] * 4
    others = [row for row in range(50) if row != 7]
    assert losses.sum().item() == pytest.approx(objective.row_losses(outputs[others], labels[others]).sum().item())


# --- metrics


def test_metrics_are_those_of_scikit_learn() -> None:
    labels, scores = make_scores()
    predicted, exact = (scores > 0.5).astype(int), scores.astype(np.float64)
    assert multilabel_metrics(labels, scores) == pytest.approx(
        {
            "auroc": roc_auc_score(labels, exact, average="macro"),
            "auroc_micro": roc_auc_score(labels, exact, average="micro"),
            "average_precision": average_precision_score(labels, exact, average="macro"),
            "average_precision_micro": average_precision_score(labels, exact, average="micro"),
            "f1_score": f1_score(labels, predicted, average="macro"),
            "f1_micro": f1_score(labels, predicted, average="micro"),
            "accuracy": accuracy_score(labels, predicted),
            "hamming_loss": hamming_loss(labels, predicted),
            "log_loss": np.mean([log_loss(labels[:, k], exact[:, k]) for k in range(4)]),
        }
    )
    table = per_label_metrics(labels, scores, LABELS)
    for k, name in enumerate(LABELS):
        assert table[name] == pytest.approx(
            {
                "support": labels[:, k].sum(),
                "predicted": predicted[:, k].sum(),
                "precision": precision_score(labels[:, k], predicted[:, k]),
                "recall": recall_score(labels[:, k], predicted[:, k]),
                "f1": f1_score(labels[:, k], predicted[:, k]),
                "auroc": roc_auc_score(labels[:, k], exact[:, k]),
                "average_precision": average_precision_score(labels[:, k], exact[:, k]),
            }
        )


def test_macro_averages_leave_out_the_labels_that_do_not_define_them() -> None:
    labels, scores = make_scores()
    labels[:, 0], labels[:, 3] = 0, 1
    metrics, kept = multilabel_metrics(labels, scores), [1, 2]
    assert metrics["auroc"] == pytest.approx(roc_auc_score(labels[:, kept], scores[:, kept], average="macro"))
    predicted = (scores > 0.5).astype(int)
    assert metrics["f1_score"] == pytest.approx(f1_score(labels, predicted, labels=[1, 2, 3], average="macro"))
    table = per_label_metrics(labels, scores, LABELS)
    assert [table[name]["auroc"] is None for name in LABELS] == [True, False, False, True]
    assert table["a"]["recall"] is None


@pytest.mark.parametrize(
    ("labels", "undefined"),
    [
        (
            np.zeros((3, 2), int),
            {"auroc", "auroc_micro", "average_precision", "average_precision_micro", "f1_score", "f1_micro"},
        ),
        (np.array([[0, 1]] * 3), {"auroc", "average_precision"}),
        (np.zeros((0, 2), int), set(multilabel_metrics(np.zeros((0, 2), int), np.zeros((0, 2))))),
    ],
    ids=["no label", "constant labels", "no rows"],
)
def test_an_undefined_metric_is_none(labels: np.ndarray, undefined: set[str]) -> None:
    metrics = multilabel_metrics(labels, np.full(labels.shape, 0.25))
    assert {name for name, value in metrics.items() if value is None} == undefined


def test_a_metric_that_val_does_not_define_is_an_error_before_training() -> None:
    constant = np.array([[0, 1, 0, 1]] * 5, np.int8)
    with pytest.raises(DataError, match=r"so val/auroc is not defined.*add rows of other labels to val"):
        make_task().check_val_labels(constant, "val/auroc", None)
    with pytest.raises(DataError, match=r"raise val_fraction \(it is 0.1\)"):
        make_task().check_val_labels(constant, "val/average_precision", 0.1)
    for metric in ("val_loss", "val/f1_micro", "val/hamming_loss"):
        make_task().check_val_labels(constant, metric, None)
    with pytest.raises(DataError):
        make_task().check_val_labels(np.zeros((5, 4), np.int8), "val/f1_micro", None)


def test_labels_that_a_split_lacks_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.array([[0, 1, 0, 1], [1, 1, 0, 0], [-1, -1, -1, -1]], np.int8)
    make_task().warn_of_labels("val", labels, None)
    assert "2 labels apply to no row or to all rows: b, c" in caplog.text
    caplog.clear()
    make_task().warn_of_labels("val", make_scores()[0], None)
    assert not caplog.text


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((2, 4)), r"labels \[2, 3\], probabilities \[2, 4\]"),
        (np.full((2, 1), 2), np.zeros((2, 1)), "neither 0 nor 1"),
        (np.zeros((2, 1)), np.zeros((2, 1)), "dtypes"),
        (np.zeros((2, 1), int), np.array([[0.5], [np.nan]]), r"first in scores\[1\]"),
        (np.zeros((2, 1), int), np.array([[0.5], [1.5]]), "outside 0 to 1"),
    ],
)
def test_scores_that_cannot_be_evaluated_are_an_error(labels: np.ndarray, scores: np.ndarray, message: str) -> None:
    with pytest.raises(ScoresError, match=message):
        multilabel_metrics(labels, scores)


# --- the evaluation


def test_the_evaluation_has_a_table_curves_and_calibration_and_can_be_written(tmp_path: Path) -> None:
    (labels, scores), task = make_scores(), make_task()
    labels[0] = -1
    report = evaluate({"val": ScoredSplit(labels, scores)}, task, "model, labels tags")
    entry = report.as_json()["splits"]["val"]
    assert entry["rows"] == 199
    assert list(entry["per_label"]) == list(LABELS)
    assert sum(entry["calibration"]["equal_width"]["rows"]) == 199 * 4
    assert list(entry["curves"]) == list(report.splits[0].curve_counts()) == ["d", "a", "b", "c"]
    assert {"ece_equal_width", "ece_equal_mass", "f1_micro"} <= report.splits[0].scalars().keys()
    report.write(tmp_path)
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written["classes"] == list(LABELS)
    plots = ["val_label_metrics.png", "val_precision_recall.png", "val_reliability.png"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == plots


@pytest.mark.parametrize("rows", [0, 3])
def test_a_split_without_labels_can_be_drawn(rows: int) -> None:
    scored = ScoredSplit(np.zeros((rows, 4), np.int8), np.full((rows, 4), 0.25, np.float32))
    evaluation = make_task().evaluate_split("val", scored)
    assert len(make_task().draw_plots(evaluation)) == 3
    json.dumps(evaluation.as_json(), allow_nan=False)


# --- prediction files


@pytest.mark.parametrize("form", ["lists", "json", "separated"])
@pytest.mark.parametrize("format", PREDICTION_FORMATS)
def test_a_prediction_file_has_the_labels_as_they_came_in(tmp_path: Path, format: str, form: str) -> None:
    task = make_task(form, "|")
    labels = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [-1, -1, -1, -1]], np.int8)
    scores = np.array([[0.9, 0.1, 0.5, 0.6], [0.1, 0.2, 0.3, 0.4], [1 / 3, 0.5, 0.7, 0]], np.float32)
    predictions = Predictions("id", task, pa.array(["x", "y", "z"]), labels, scores)
    write_predictions(tmp_path / "file", format, predictions)
    probabilities = [f"prob_{label}" for label in LABELS]
    assert prediction_columns("id", task) == ["id", "tags", *probabilities, "predicted_tags"]
    assert np.array_equal(PREDICTION_FORMATS[format].read_scores(tmp_path / "file", probabilities), scores)
    match format:
        case "parquet":
            frame = pq.read_table(tmp_path / "file").to_pandas()
        case "jsonl":
            frame = pd.read_json(tmp_path / "file", lines=True)
        case _:
            frame = pd.read_csv(tmp_path / "file", sep="\t" if format == "tsv" else ",")
    as_text = {"separated": ["a|c", "[]"]}.get(form, ['["a", "c"]', "[]"])
    is_text = form != "lists" or format in ("csv", "tsv")
    expected = as_text if is_text else [["a", "c"], []]
    assert [value if is_text else list(value) for value in frame["tags"][:2]] == expected
    assert frame["tags"][2] is None or frame["tags"][2] != frame["tags"][2]
    decided = {"separated": ["a|d", "[]", "c"]}.get(form, ['["a", "d"]', "[]", '["c"]'])
    assert [value if is_text else json.dumps(list(value)) for value in frame["predicted_tags"]] == decided


def test_decisions_need_no_library_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """`pip install fusionzoo` has no scikit-learn."""
    monkeypatch.delitem(sys.modules, "fusionzoo.evaluation.multilabel_metrics")
    for name in ("sklearn", "sklearn.metrics", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    decided = make_task().decide(np.array([[0.9, 0.5, 0.1, 0.6]], np.float32))
    assert decided[0].to_pylist() == [["a", "d"]]


def test_label_columns_have_predicted_columns_of_the_same_type(tmp_path: Path) -> None:
    task = Multilabel(LabelIndicators(("x", "y"), (False, True)))
    labels, scores = np.array([[1, 0], [0, -1]], np.int8), np.array([[0.9, 0.5], [0.1, 0.6]], np.float32)
    predictions = Predictions("id", task, pa.array([1, 2]), labels, scores)
    write_predictions(tmp_path / "file", "parquet", predictions)
    table = pq.read_table(tmp_path / "file")
    assert table.column_names == ["id", "x", "y", "prob_x", "prob_y", "predicted_x", "predicted_y"]
    assert table.drop_columns(["prob_x", "prob_y"]).to_pydict() == {
        "id": [1, 2],
        "x": [True, False],
        "y": [False, None],
        "predicted_x": [True, False],
        "predicted_y": [False, True],
    }
    write_predict_results(tmp_path / "p.pth", predictions, "val")
    results = torch.load(tmp_path / "p.pth", weights_only=True)
    assert results["classes"] == ["x", "y"]
    assert results["y_true"].tolist() == [[1, 0], [0, -1]]
    assert F.mse_loss(results["y_pred"], torch.tensor(scores)) == 0
