"""The report of an evaluation: metrics.json, TensorBoard and the PNG files agree."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from evaluation_helpers import VALIDATIONS, random_scores
from fusionzoo.errors import ReportEntryError, ScoresError
from fusionzoo.evaluation.learning_curve_plot import draw_learning_curve
from fusionzoo.evaluation.plot_parts import encode_png
from fusionzoo.evaluation.report import Report, evaluate, strict_json
from task_helpers import make_classification

pytestmark = pytest.mark.usefixtures("rendered_plots")


@pytest.fixture(scope="module")
def report_and_folder(tmp_path_factory: pytest.TempPathFactory, rendered_plots: None) -> tuple[Report, Path]:
    """A report of two splits and three classes, written over another report."""
    folder = tmp_path_factory.mktemp("report")
    report = evaluate(
        {"val": random_scores(300, 3), "test": random_scores(100, 3, seed=1, present=[0, 2])},
        make_classification(["low", "mid", "high"]),
    )
    evaluate({}, make_classification(["no", "yes"])).write(folder)
    curve = draw_learning_curve(VALIDATIONS, "val/auroc", 20)
    report.write(folder, {"training": {"epochs": 3}}, {"learning_curve": encode_png(curve)})
    return report, folder


def test_metrics_json_has_every_split_the_classes_and_the_extra_entries(report_and_folder: tuple[Report, Path]) -> None:
    report, folder = report_and_folder
    report_json = json.loads((folder / "metrics.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert sorted(report_json) == ["classes", "splits", "training"]
    assert report_json["classes"] == ["low", "mid", "high"]
    assert report_json["training"] == {"epochs": 3}
    val, test = report_json["splits"]["val"], report_json["splits"]["test"]
    assert sorted(val) == ["calibration", "confusion_matrix", "curves", "metrics", "per_class", "rows"]
    assert (val["rows"], test["rows"]) == (300, 100)
    assert val["metrics"] == report.metrics("val")
    assert sum(map(sum, val["confusion_matrix"])) == 300
    assert test["per_class"]["mid"]["auroc"] is None
    assert sorted(test["curves"]) == ["high", "low"]
    assert (folder / "metrics.json").read_text("utf-8").index('"calibration"') < 200


def test_values_in_tensorboard_and_metrics_json_agree(report_and_folder: tuple[Report, Path]) -> None:
    _, folder = report_and_folder
    files = list((folder / "tensorboard_eval").iterdir())
    assert len(files) == 1
    splits = json.loads((folder / "metrics.json").read_text("utf-8"))["splits"]
    events = EventAccumulator(str(folder / "tensorboard_eval"), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    expected = {
        f"{name}/{metric}": value
        for name, split in splits.items()
        for metric, value in split["metrics"].items()
        if value is not None  # undefined: quadratic_kappa of classes without an order
    }
    assert len(expected) > 10
    for name, split in splits.items():
        for bins in ("equal_width", "equal_mass"):
            expected[f"{name}/ece_{bins}"] = split["calibration"][bins]["expected_calibration_error"]
    scalars = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    assert scalars == {tag: float(np.float32(value)) for tag, value in expected.items()}
    for name, split in splits.items():
        for label, class_curves in split["curves"].items():
            (event,) = events.Tensors(f"{name}/pr/{label}")
            tensor = np.array(event.tensor_proto.float_val).reshape(6, 101)
            counts = class_curves["counts"]
            columns = ("true_positives", "false_positives", "true_negatives", "false_negatives")
            assert tensor[:4].tolist() == [counts[column] for column in columns]
            recall = np.array(counts["true_positives"]) / split["per_class"][label]["support"]
            assert tensor[5] == pytest.approx(recall, abs=1e-6)
    assert len(events.Tags()["tensors"]) == 3 + 2


def test_plots_in_tensorboard_are_the_png_files(report_and_folder: tuple[Report, Path]) -> None:
    _, folder = report_and_folder
    events = EventAccumulator(str(folder / "tensorboard_eval"), size_guidance={"images": 0})
    events.Reload()
    files = sorted((folder / "plots").iterdir())
    assert len(files) == 11
    assert sorted(events.Tags()["images"]) == sorted(f.stem.replace("_", "/plots/", 1) for f in files)
    for file in files:
        (event,) = events.Images(file.stem.replace("_", "/plots/", 1))
        shown = Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB")
        assert np.array_equal(np.asarray(shown), np.asarray(Image.open(file).convert("RGB")))


@pytest.mark.parametrize("classes", [[0, 1], [0.5, 1.0], [False, True], ["no", "ja, sicher"]], ids=str)
def test_metrics_json_keeps_the_type_of_labels(classes: list[Any]) -> None:
    report = evaluate({"val": random_scores(20, 2)}, make_classification(classes))
    report_json = json.loads(strict_json(report.as_json()))
    assert report_json["classes"] == classes
    assert [type(label) for label in report_json["classes"]] == [type(label) for label in classes]
    assert len(report_json["splits"]["val"]["per_class"]) == 2


def test_a_wrong_number_of_labels_or_labels_with_the_same_text_are_an_error() -> None:
    with pytest.raises(ScoresError, match="3 labels, but probabilities of 2"):
        evaluate({"val": random_scores(20, 2)}, make_classification(["a", "b", "c"]))
    with pytest.raises(ScoresError, match="have the same text: '1'"):
        evaluate({"val": random_scores(20, 2)}, make_classification(["1", 1]))


def test_an_extra_entry_with_a_reserved_name_or_nan_is_an_error(tmp_path: Path) -> None:
    report = evaluate({"val": random_scores(20, 2)}, make_classification([0, 1]))
    with pytest.raises(ReportEntryError, match="'splits'"):
        report.write(tmp_path, extra={"splits": {}})
    with pytest.raises(ValueError, match="JSON"):
        report.write(tmp_path, extra={"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_json_is_sorted_strict_and_reads_back() -> None:
    value = {"b": [1, 2.5, None, True, "é\n"], "a": {"x": [[1, 2], [3, 4]], "empty": {}, "none": []}, "c": [{"k": 1}]}
    text = strict_json(value)
    assert json.loads(text) == value
    assert text.index('"a"') < text.index('"b"') < text.index('"c"')
    assert "[1, 2.5, null, true" in text
    with pytest.raises(ValueError, match="JSON"):
        strict_json({"deep": [{"x": [float("inf")]}]})
