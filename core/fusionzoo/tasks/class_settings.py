"""Checks of the settings that say what the classes are and how the loss weights them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fusionzoo import errors
from fusionzoo.data.data_settings import MAX_CLASSES
from fusionzoo.data.targets.class_labels import Label, canonical_label
from fusionzoo.errors import target_errors
from fusionzoo.tasks.task import SettingsView

MAX_CLASS_WEIGHT = 1e9  # the loss is float32


def find_class_problems(job: SettingsView) -> Iterator[errors.Problem]:
    """Yield the problems among `num_classes`, `is_binary`, `classes` and `class_weights`."""
    is_binary, weights, classes = job.get("is_binary"), job.get("class_weights"), job.get("classes")
    if isinstance(weights, (list, dict)) and (problem := find_problem_of_weights(weights)):
        yield problem
    weights = weights if isinstance(weights, list) else None
    yield from _find_duplicate_classes(classes)
    num_classes = job.get("num_classes")
    if num_classes is None:
        if job.is_valid("num_classes"):
            yield target_errors.num_classes_required(f"an integer from 2 to {MAX_CLASSES}")
        return
    if num_classes == 1:
        yield target_errors.single_class_setting()
    if is_binary is not None and is_binary != (num_classes == 2):
        yield errors.is_binary_contradicts_num_classes(is_binary, num_classes)
    for name, values in (("class_weights", weights), ("classes", classes)):
        if values is not None and len(values) != num_classes:
            yield errors.wrong_length_for_classes(name, values, num_classes)


def find_label_set_problems(job: SettingsView) -> Iterator[errors.Problem]:
    """Yield the problems among the settings of a multilabel classification that say what the labels are."""
    columns, classes, weights = job.get("label_name"), job.get("classes"), job.get("class_weights")
    if isinstance(weights, (list, dict)) and (problem := find_problem_of_weights(weights)):
        yield problem
    yield from _find_duplicate_classes(classes)
    several = len(columns) if isinstance(columns, list) and len(columns) > 1 else None
    for name, value in (("classes", classes), ("label_separator", job.get("label_separator"))):
        if several is not None and value is not None:
            yield target_errors.setting_of_label_lists(name, value, several)
    num_classes = job.get("num_classes")
    source, labels = ("num_classes", num_classes) if several is None else ("label_name", several)
    if several is not None and num_classes not in (None, several):
        yield target_errors.wrong_length_for_labels("num_classes", num_classes, num_classes, several, source)
    if several is None and num_classes == 1:
        yield target_errors.single_class_setting()
    for name, values in (("classes", None if several else classes), ("class_weights", weights)):
        if isinstance(values, list) and labels not in (None, len(values)):
            yield target_errors.wrong_length_for_labels(name, values, len(values), labels, source)


def _find_duplicate_classes(setting: Sequence[Label] | None) -> Iterator[errors.Problem]:
    classes = setting or []
    keys = [canonical_label(c) for c in classes]
    if duplicates := [c for c, key in zip(classes, keys, strict=True) if keys.count(key) > 1]:
        yield errors.duplicate_classes(classes, duplicates)


def find_problem_of_weights(weights: Sequence[float] | Mapping[str, float]) -> errors.Problem | None:
    """Return the problem of class weights; None if there is none."""
    values = list(weights.values()) if isinstance(weights, Mapping) else weights
    are_all_zero = not isinstance(weights, Mapping) and not any(values)  # an object leaves other classes at 1
    if values and (min(values) < 0 or max(values) > MAX_CLASS_WEIGHT or are_all_zero):
        return errors.invalid_class_weights(weights, values, MAX_CLASS_WEIGHT)
    return None


def find_loss_problems(job: SettingsView, default_loss: str) -> Iterator[errors.Problem]:
    """Yield the problems among the settings of cross entropy and focal loss."""
    loss, gamma, smoothing = (job.get(name) for name in ("loss", "focal_gamma", "label_smoothing"))
    if loss in (None, default_loss) and gamma not in (None, job.default("focal_gamma")) and job.is_valid("loss"):
        yield errors.focal_gamma_without_focal_loss(gamma, default_loss)
    if loss == "focal" and smoothing:
        yield errors.label_smoothing_with_focal_loss(smoothing)
