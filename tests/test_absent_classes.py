"""A split without rows of a class: a warning, or an error with a fix that depends on the source of the split."""

from __future__ import annotations

import numpy as np
import pytest

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.errors import MetricUndefinedError, val_with_single_class, val_without_weight
from fusionzoo.tasks.absent_classes import warn_of_absent_classes
from fusionzoo.training.prepare_data import log_split
from shop import JobFolder, made_split, shop_rows


def split_with_labels(labels: list[int]) -> EncodedSplit:
    return made_split(np.arange(len(labels) + 1), np.arange(len(labels) + 1) * 3, labels=np.array(labels))


@pytest.mark.parametrize(
    ("name", "labels", "classes", "fraction", "message"),
    [
        ("val", [1, 1, 1], ("ham", "spam"), None, "val: all 3 rows are of class 'spam', so metrics such as auroc"),
        ("val", [0, 0], (0, 1), None, "val_loss selects the best checkpoint on this class alone"),
        ("val", [0], (0, 1), None, "its only labeled row is of class '0'"),
        ("val", [0, 0], (0, 1), 0.2, "Raise val_fraction (it is 0.2), add rows of the rare classes to train"),
        ("test", [0, -1], (0, 1), None, "test: its only labeled row is of class '0'"),
        ("test", [0, 0], (0, 1), 0.1, "Raise test_fraction (it is 0.1)"),
        ("val", [0, 2, 2], ("a", "b", "c"), None, "val has no row of 1 class: b. The metrics of val do not cover it."),
        ("test", [0, 1], tuple("abcd"), None, "test has no row of 2 classes: c, d. The metrics of test do not"),
    ],
)
def test_a_split_without_rows_of_a_class_is_a_warning(
    name: str,
    labels: list[int],
    classes: tuple[str, ...],
    fraction: float | None,
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    warn_of_absent_classes(name, np.array(labels), classes, fraction)
    (text,) = caplog.messages
    assert message in text
    if fraction is not None:
        assert f"add rows of other classes to {name}" not in text


def test_the_warning_says_how_many_classes_it_does_not_list(caplog: pytest.LogCaptureFixture) -> None:
    classes = tuple(f"class {k}" for k in range(500))
    warn_of_absent_classes("val", np.array([0, 1]), classes)
    (text,) = caplog.messages
    assert "498 classes: class 2, class 3" in text
    assert "more. The metrics" in text
    assert len(text) < 700


@pytest.mark.parametrize("labels", [[0, 1, 1], [-1, -1]])
def test_a_split_with_all_classes_or_without_labels_is_no_warning(
    labels: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_absent_classes("test", np.array(labels), (0, 1))
    assert caplog.messages == []


def test_no_error_advises_to_change_a_val_that_the_job_made_itself() -> None:
    for fraction in (None, 0.2):
        messages = [
            str(val_with_single_class("val/auroc", fraction)),
            str(val_without_weight([0.0, 1.0], fraction)),
            str(MetricUndefinedError("val/auroc", None, "classification", fraction)),
        ]
        for message in messages:
            assert ("add rows of other classes to val" in message) == (fraction is None)
            assert ("val_fraction" in message) == (fraction is not None)


def test_rows_that_val_shares_with_train_are_duplicates_of_train_if_the_job_made_val(
    caplog: pytest.LogCaptureFixture,
) -> None:
    digests = np.arange(4, dtype=np.uint64)
    split = made_split(np.arange(5), np.arange(5) * 3, digests=digests, labels=np.array([0, 1, 0, 1]))
    log_split("val", split, split)
    log_split("val", split, split, 0.2)
    of_channel, of_train = [message for message in caplog.messages if "also appear" in message]
    assert of_channel.endswith("Remove them from one of the two.")
    assert of_train.endswith("Remove the duplicate rows of train, or set group_field to a column that they share.")


def test_a_val_of_one_class_is_a_warning_in_a_channel_and_an_error_in_a_fraction_of_train(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    job = JobFolder(tmp_path_factory.mktemp("channel")).fill(rows=64, max_epochs=1)
    job.channel("val", shop_rows(20, 1).assign(target=1))
    assert job.run() == 0
    assert "val: all 20 rows are of class '1'" in capsys.readouterr().out
    job = JobFolder(tmp_path_factory.mktemp("fraction"))
    job.channel("train", shop_rows(60).assign(target=[int(i == 7) for i in range(60)]))
    job.settings(val_fraction=0.2, early_stop_metric="val/auroc")
    assert job.run() == 1
    assert "raise val_fraction (it is 0.2)" in job.failure
    assert "to val," not in job.failure
