"""A model that is not better than a constant prediction causes one warning; metrics.json has both losses."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fusionzoo.data.targets.score_rules import OutputScaling
from fusionzoo.evaluation.output_scaling import ScalingFit
from fusionzoo.tasks.class_objective import ClassObjective
from fusionzoo.tasks.label_limits import LabelLimit
from fusionzoo.training.guards.constant_comparison import compare_with_constant, explain_no_gain
from process_helpers import read_metrics
from shop import JobFolder
from task_helpers import make_classification
from training_helpers import make_job_settings, make_random_split

LABELS = np.repeat([0, 1], [30, 10])
ENTROPY = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
LIMIT = LabelLimit("there are few rows of class '1' (4 in train, 1 in val)", "", "add rows of class '1'")
SUMMARY = {"validations": [{"train_loss": 0.9}, {"train_loss": 0.1}]}


def make_run(weights: tuple[float, float] | None = None, limits: Any = ()) -> Any:
    """Return what `compare_with_constant` reads of a run with 30 rows of class 0 and 10 rows of class 1 in val."""
    split = replace(make_random_split(40), labels=LABELS)
    settings = make_job_settings(class_weights=None if weights is None else list(weights))
    return SimpleNamespace(
        data=SimpleNamespace(splits={"train": split, "val": split}),
        task=make_classification(),
        job=settings,
        objective=ClassObjective(settings, weights or (1.0, 1.0)),
        label_limits=list(limits),
    )


def make_fit(held_out: float) -> ScalingFit:
    loss: Any = None
    return ScalingFit("temperature", loss, OutputScaling((0.5,), (0.0,)), held_out=(2.0, held_out))


def make_outputs(margin: float) -> np.ndarray:
    """Return outputs whose true class is ahead by `margin`."""
    return np.where(np.eye(2)[LABELS] == 1, margin, 0).astype(np.float32)


def test_the_warning_says_by_how_much_and_why(caplog: pytest.LogCaptureFixture) -> None:
    entry = compare_with_constant(make_run(limits=[LIMIT]), make_outputs(0.0), None, SUMMARY)["val_loss"]
    assert entry["final"] == pytest.approx(np.log(2))
    assert entry["constant_prediction"] == pytest.approx(ENTROPY)
    assert entry["gain"] == pytest.approx(1 - np.log(2) / ENTROPY)
    (text,) = caplog.messages
    assert "val_loss is 0.6931, and a constant prediction of val's class frequencies scores 0.5623, 23.3% less." in text
    assert "fell from 0.9000 to 0.1000, so the model fits train only. There are few rows of class '1' (4 in" in text
    assert "Fix: add rows of class '1'; if this does not help, check that val has the same kind of rows" in text
    assert text.endswith("Compare with train_xgboost.py.")


def test_a_model_that_predicts_the_frequencies_has_no_gain_either(caplog: pytest.LogCaptureFixture) -> None:
    outputs = np.log(np.tile([0.75, 0.25], (40, 1))).astype(np.float32)
    compare_with_constant(make_run(), outputs, None, SUMMARY)
    assert "scores 0.5623. The training loss fell" in caplog.text


@pytest.mark.parametrize(
    ("margin", "held_out", "is_warned"), [(1.0, None, False), (-3.0, 0.5, False), (-3.0, 0.6, True), (-3.0, None, True)]
)
def test_a_gain_before_or_after_the_calibration_is_enough(
    margin: float, held_out: float | None, is_warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    fit = None if held_out is None else make_fit(held_out)
    compare_with_constant(make_run(), make_outputs(margin), fit, SUMMARY)
    assert bool(caplog.messages) == is_warned


@pytest.mark.parametrize(("last", "is_warned"), [(0.6, False), (0.69, True)])
def test_a_small_gain_is_reported_if_the_training_loss_has_not_fallen(
    last: float, is_warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    outputs = np.log(np.tile([0.75, 0.25], (40, 1))).astype(np.float32) + make_outputs(0.02)
    summary = {"validations": [{"train_loss": 0.7}, {"train_loss": last}]}
    entry = compare_with_constant(make_run(), outputs, None, summary)
    assert 0.001 < entry["val_loss"]["gain"] < 0.02
    assert ("The model is hardly better than a constant prediction" in caplog.text) == is_warned


def test_with_class_weights_each_loss_is_compared_with_its_own_constant(caplog: pytest.LogCaptureFixture) -> None:
    run = make_run(weights=(1.0, 3.0))
    entry = compare_with_constant(run, make_outputs(-1.0), make_fit(ENTROPY - 0.1), SUMMARY)["val_loss"]
    assert entry["constant_prediction"] == pytest.approx(np.log(2))
    assert caplog.messages == []
    compare_with_constant(run, make_outputs(-1.0), make_fit(ENTROPY + 0.1), SUMMARY)  # below log(2)
    assert len(caplog.messages) == 1


def test_a_val_of_one_class_has_no_gain_and_no_second_warning(caplog: pytest.LogCaptureFixture) -> None:
    run = make_run(weights=(1.0, 0.0))
    assert compare_with_constant(run, make_outputs(0.0), None, SUMMARY)["val_loss"]["gain"] is None
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        ([0.7, 0.2], "fits train only. Fix: check that val has the same kind of rows as train"),
        ([0.7, 0.69], "Fix: raise lr, check that label_name belongs"),
        ([0.7], "Fix: raise lr"),
        ([0.7, 0.9], "Fix: lower lr, or set gradient_clip_val"),
    ],
)
def test_without_a_limit_of_the_labels_the_training_loss_decides_on_the_fix(losses: list[float], words: str) -> None:
    assert words in explain_no_gain([], losses)


def test_a_job_warns_once_and_again_when_its_finished_training_is_evaluated(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "better than a constant prediction"
    job = JobFolder(tmp_path_factory.mktemp("job")).fill(max_epochs=2, lr=1e-12, wide_ngrams=0, onnx="off")
    for _ in range(2):
        assert job.run() == 0, job.failure
        log = capsys.readouterr().out
        assert log.count(words) == 1
        assert log.count("No measurable improvement") == 0
        entry = read_metrics(job)["training"]["val_loss"]
        assert entry["gain"] == pytest.approx(1 - entry["final"] / entry["constant_prediction"])
        assert entry["gain"] < 0.02
    better = JobFolder(tmp_path_factory.mktemp("better")).fill(max_epochs=2, lr=1e-2, onnx="off")
    assert better.run() == 0, better.failure
    assert words not in capsys.readouterr().out
    assert read_metrics(better)["training"]["val_loss"]["gain"] > 0.02
