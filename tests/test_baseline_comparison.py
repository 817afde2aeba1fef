"""A comparison with a baseline: differences of metrics, their intervals, and which predictions are compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from fusionzoo import errors
from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.errors.baseline_errors import BaselineError
from fusionzoo.evaluation.baseline_comparison import compare_with_baseline
from fusionzoo.evaluation.model_quality import make_baseline_group
from fusionzoo.evaluation.split_evaluation import ScoredSplit
from fusionzoo.prediction.baseline_predictions import RowKeys, read_baseline
from fusionzoo.tasks.classification import Classification
from fusionzoo.tasks.task_choice import TASKS
from fusionzoo.tasks.task_examples import TaskExample, make_examples
from prediction_helpers import write_frame

EXAMPLES = [example for name in TASKS for example in make_examples(name, 40)]
BINARY = Classification(LabelMap("target", ("no", "yes")))


def title(example: TaskExample) -> str:
    return example.title


@pytest.mark.parametrize("example", EXAMPLES, ids=title)
@pytest.mark.parametrize("rows", [3, 40])
def test_a_metric_of_a_resample_is_the_metric_of_its_rows(example: TaskExample, rows: int) -> None:
    labels, scores = example.labels[:rows], example.scores[:rows].copy()
    scores[:: 2 if rows > 3 else 1] = scores[0]  # equal scores
    prepared = example.task.prepare_resampling(labels, scores)
    rng = np.random.default_rng(1)
    for _ in range(20):
        drawn = rng.integers(0, rows, rows)
        expected = example.task.compute_metrics(labels[drawn], scores[drawn])
        counts = np.bincount(drawn, minlength=rows)
        for name, metric in prepared.items():
            value = expected[name]
            assert metric(counts) == (None if value is None else pytest.approx(value, rel=1e-9)), name


@pytest.mark.parametrize("example", EXAMPLES, ids=title)
def test_the_baseline_has_its_own_metrics_and_the_difference_is_that_of_the_metrics(example: TaskExample) -> None:
    baseline = np.roll(example.scores, 1, axis=0)
    done = compare_with_baseline(example.task, ScoredSplit(example.labels, example.scores), baseline)
    model, other = (example.task.compute_metrics(example.labels, scores) for scores in (example.scores, baseline))
    assert done.metrics == other
    assert len(done.differences) == 2
    for name, one in done.differences.items():
        assert one.model == pytest.approx(model[name])
        assert one.baseline == pytest.approx(other[name])
        assert one.difference == pytest.approx(model[name] - other[name])
        assert one.resamples == 1000
        assert one.confidence_interval is not None
        assert one.confidence_interval[0] < one.difference < one.confidence_interval[1]
    again = compare_with_baseline(example.task, ScoredSplit(example.labels, example.scores), baseline)
    assert again == done
    assert {**make_baseline_group(done)}.keys() == {
        {"auroc": "auc", "f1_score": "f1"}.get(name, name) for name, value in other.items() if value is not None
    }


def test_the_interval_is_that_of_the_paired_bootstrap_of_scipy() -> None:
    rng = np.random.default_rng(0)
    example = make_examples("regression", 200)[0]
    baseline = example.scores + rng.normal(0, 3, example.scores.shape).astype(np.float32)

    def subtract(first: np.ndarray, second: np.ndarray, axis: int = -1) -> np.ndarray:
        return first.mean(axis=axis) - second.mean(axis=axis)

    sides = [np.abs(example.labels - scores)[:, 0] for scores in (example.scores, baseline)]
    expected = stats.bootstrap(sides, subtract, paired=True, n_resamples=2000, method="percentile", vectorized=True)
    done = compare_with_baseline(example.task, ScoredSplit(example.labels, example.scores), baseline)
    interval = done.differences["mae"].confidence_interval
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert interval == pytest.approx(tuple(expected.confidence_interval), abs=width / 6)


def test_a_comparison_names_the_better_side_whichever_direction_the_metric_has() -> None:
    labels = np.arange(60) % 2
    good, bad = (np.where(labels, share, 1 - share) for share in (0.9, 0.6))
    bad[:6] = 1 - bad[:6]
    good, bad = (np.stack([1 - values, values], axis=1).astype(np.float32) for values in (good, bad))

    def describe(scores: np.ndarray, baseline: np.ndarray) -> list[str]:
        done = compare_with_baseline(BINARY, ScoredSplit(labels, scores), baseline)
        return list(done.describe(BINARY.metrics))

    auroc, log_loss = describe(good, bad)
    assert auroc.startswith("auroc: 1.0000, baseline 0.9000, difference +0.1000 (95 % interval +0.0")
    assert auroc.endswith(": better than the baseline")
    assert log_loss.endswith(": better than the baseline")
    assert all(line.endswith(": worse than the baseline") for line in describe(bad, good))
    assert all(line.endswith("interval +0.0000 to +0.0000): no measurable difference") for line in describe(bad, bad))


def test_rows_without_a_label_are_left_out_and_undefined_metrics_have_no_difference() -> None:
    labels = np.array([1, -1, 1, 1])
    scores = np.array([[0.4, 0.6], [1, 0], [0.1, 0.9], [0.3, 0.7]], np.float32)
    done = compare_with_baseline(BINARY, ScoredSplit(labels, scores), scores[::-1])
    assert done.rows == 3
    auroc = done.differences["auroc"]
    assert (auroc.model, auroc.difference, auroc.confidence_interval, auroc.resamples) == (None, None, None, 0)
    assert next(iter(done.describe(BINARY.metrics))) == "auroc: undefined for these rows"
    assert done.as_json()["differences"]["auroc"]["confidence_interval"] is None


IDS = [f"{number:03d}" for number in range(20)]
CLASSES = np.arange(20) % 2
ROWS = RowKeys(pa.array(IDS), CLASSES)


def make_predictions() -> pd.DataFrame:
    """Return the predictions of a baseline for 20 rows."""
    yes = np.round(np.random.default_rng(3).random(20), 3)
    return pd.DataFrame(
        {
            "id": IDS,
            "target": np.array(["no", "yes"])[CLASSES],
            "prob_no": 1 - yes,
            "prob_yes": yes,
            "predicted_target": np.where(yes > 0.5, "yes", "no"),
        }
    )


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl", "tsv"])
def test_rows_are_matched_by_id_in_any_order_and_format(tmp_path: Path, suffix: str) -> None:
    frame = make_predictions()
    expected = frame[["prob_no", "prob_yes"]].to_numpy(np.float32)
    path = write_frame(tmp_path / f"other.{suffix}", frame.sample(frac=1, random_state=0))
    np.testing.assert_array_equal(read_baseline(path, BINARY, "id").match(ROWS), expected)
    write_frame(tmp_path / f"parts/a.{suffix}", frame[12:])
    write_frame(tmp_path / f"parts/b.{suffix}", frame[:12])
    np.testing.assert_array_equal(read_baseline(tmp_path / "parts", BINARY, "id").match(ROWS), expected)


def test_ids_match_whatever_type_they_have_in_a_file(tmp_path: Path) -> None:
    frame = make_predictions().assign(id=np.arange(20.0))
    path = write_frame(tmp_path / "numbers.parquet", frame[::-1])
    rows = RowKeys(pa.array([str(number) for number in range(20)]), None)
    matched = read_baseline(path, BINARY, "id").match(rows)
    np.testing.assert_array_equal(matched[:, 1], frame["prob_yes"].to_numpy(np.float32))


def test_duplicate_ids_match_rows_in_the_same_order(tmp_path: Path) -> None:
    frame = make_predictions().assign(id="same")
    path = write_frame(tmp_path / "same.csv", frame)
    matched = read_baseline(path, BINARY, "id").match(RowKeys(pa.array(["same"] * 20), CLASSES))
    np.testing.assert_array_equal(matched[:, 1], frame["prob_yes"].to_numpy(np.float32))


def test_the_output_folder_of_a_job_gives_its_predictions_for_test(tmp_path: Path) -> None:
    write_frame(tmp_path / "test_predictions.csv", make_predictions())
    write_frame(tmp_path / "val_predictions.csv", make_predictions().head(3))
    (tmp_path / "metrics.json").write_text("{}")
    assert len(read_baseline(tmp_path, BINARY, "id").match(ROWS)) == 20


def test_labels_are_optional_and_missing_ones_do_not_differ(tmp_path: Path) -> None:
    frame = make_predictions()
    path = write_frame(tmp_path / "none.csv", frame.drop(columns="target"))
    assert read_baseline(path, BINARY, "id").keys.labels is None
    labels = frame["target"].where(np.arange(20) > 5, None)
    path = write_frame(tmp_path / "some.csv", frame.assign(target=labels))
    assert len(read_baseline(path, BINARY, "id").match(ROWS)) == 20


def change(frame: pd.DataFrame, row: int, column: str, value: object) -> pd.DataFrame:
    """Return the rows with another value."""
    values = frame[column].tolist()
    values[row] = value
    return frame.assign(**{column: values})


@pytest.mark.parametrize(
    ("edit", "code", "message"),
    [
        (lambda frame: frame[3:], "FZ-J034", "3 rows of the input are not in the baseline {path}: id '000', '001'"),
        (lambda frame: change(frame, 5, "id", "x"), "FZ-J034", "1 row of the input is not in"),
        (
            lambda frame: pd.concat([frame, change(frame.tail(1), 0, "id", "x")]),
            "FZ-J035",
            "1 row of the baseline {path} is not in the input: id 'x'",
        ),
        (
            lambda frame: pd.concat([frame, frame.tail(2)]),
            "FZ-J033",
            "The baseline {path} has 2 duplicate ids in column 'id'",
        ),
        (lambda frame: change(frame, 4, "target", "yes"), "FZ-J036", "1 row of the baseline {path} has another label"),
        (lambda frame: change(frame, 4, "target", "maybe"), "FZ-J037", "'maybe'"),
        (lambda frame: frame.drop(columns="prob_yes"), "FZ-J029", "lacks 1 column: 'prob_yes'"),
        (lambda frame: frame.drop(columns="id"), "FZ-J029", "lacks 1 column: 'id'"),
        (lambda frame: frame.assign(prob_maybe=0.1), "FZ-J030", "1 column of scores of other classes"),
        (
            lambda frame: change(frame, 6, "prob_yes", None),
            "FZ-J031",
            "1 row has a missing score, first in {path} row 7",
        ),
        (lambda frame: frame.head(0), "FZ-J038", "The baseline {path} has no rows"),
    ],
)
def test_predictions_of_other_rows_or_classes_are_an_error_that_names_the_file_and_a_count(
    tmp_path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame], code: str, message: str
) -> None:
    path = write_frame(tmp_path / "other.csv", edit(make_predictions()))
    with pytest.raises(BaselineError) as raised:
        read_baseline(path, BINARY, "id").match(ROWS)
    assert raised.value.code == code
    assert message.format(path=path) in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_file_that_is_missing_or_has_no_numbers_is_named(tmp_path: Path) -> None:
    frame = make_predictions()
    for name, content in (
        ("text.csv", change(frame, 2, "prob_no", "high")),
        ("absent.csv", None),
    ):
        path = tmp_path / name
        if content is not None:
            write_frame(path, content)
        with pytest.raises(errors.DataError, match=name):
            read_baseline(path, BINARY, "id")
