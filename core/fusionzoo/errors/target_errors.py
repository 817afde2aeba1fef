"""Problems of what is predicted: labels that do not fit the task, and settings that another task has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fusionzoo.errors.base import Problem
from fusionzoo.errors.channel_errors import ValuesProblem
from fusionzoo.errors.setting_errors import setting_problem
from fusionzoo.errors.wording import join_first, list_names, pluralize, quote_first


def target_not_numeric(problem: Problem) -> Problem:
    """The column to predict holds text, dates or infinity, and the task is regression."""
    fix = "correct the values; to predict classes, set task: classification and num_classes"
    return Problem(problem.where, f"{problem.message}, and task is regression", fix, "FZ-D160")


def target_without_logarithm(name: str, column: str, count: int, examples: Sequence[tuple[str, object]]) -> Problem:
    """A value to predict is -1 or less, and `target_transform` is log1p."""
    fix = "correct the values, or remove target_transform"
    what = ("value", "not above -1, as target_transform: log1p needs it")
    return ValuesProblem.of(f"{name}, column '{column}'", what, count, examples, fix, "FZ-D161")


def constant_target(column: str, value: float) -> Problem:
    """All rows of train have the same number to predict."""
    message = f"every row has the value {value:g}, so there is nothing to learn"
    return Problem(f"train, column '{column}'", message, "check label_name, or add rows with other values", "FZ-D162")


def numbers_as_classes(column: str, distinct: int, first_row: Mapping[str, str], num_classes: int) -> Problem:
    """The labels of a classification are many different numbers."""
    shown = join_first([f"'{label}' (first {row})" for label, row in first_row.items()], 3)
    message = f"num_classes is {num_classes}, but train has {pluralize(distinct, 'number')} as labels: {shown}"
    fix = "to predict a number, set task: regression and remove num_classes; otherwise correct one of the two"
    return Problem(f"train, column '{column}'", message, fix, "FZ-D163")


def metric_undefined_on_val(metric: str) -> Problem:
    """`early_stop_metric` is undefined for the labels of val: they are constant, or hold 0 for a percentage error."""
    reason = "a value is 0" if metric.endswith("mape") else "all values are equal"
    message = f"{metric} is not defined, because {reason}"
    return Problem("val", message, "add other rows to val, or set early_stop_metric: val_loss", "FZ-D164")


def metric_of_ordered_classes(metric: str, column: str, classes: Sequence[object]) -> Problem:
    """`early_stop_metric` needs classes with an order; the labels are not numbers, and `classes` does not list them."""
    message = f"{metric} needs classes with an order, and these labels are not numbers: {quote_first(classes, 5)}"
    fix = "set classes to the labels from the lowest to the highest, or set early_stop_metric: val_loss"
    return Problem(f"column '{column}'", message, fix, "FZ-D170")


def setting_of_other_task(key: str, value: object, task: str, owners: Sequence[str]) -> Problem:
    """A setting has a meaning for other tasks only."""
    message = f"the setting has a meaning for task {list_names(owners)} only, and task is {task}"
    return setting_problem(key, value, message, f"remove {key}, or set task: {owners[0]}", "FZ-S140")


def loss_of_other_task(loss: str, task: str, losses: Sequence[str]) -> Problem:
    """The loss does not fit what is predicted."""
    fix = f"remove loss, or give one of {', '.join(losses)}"
    return setting_problem("loss", loss, f"task {task} has no such loss", fix, "FZ-S141")


def num_classes_required(allowed: str) -> Problem:
    """A classification does not say how many classes there are."""
    fix = f"give {allowed}; to predict a number, set task: regression"
    return Problem("num_classes", "the setting is required by task classification", fix, "FZ-S142")


def single_class_setting() -> Problem:
    """`num_classes` is 1."""
    fix = "give the number of classes; to predict a number, set task: regression and remove num_classes"
    return setting_problem("num_classes", 1, "a classification has at least two classes", fix, "FZ-S143")


def several_label_columns(columns: Sequence[str]) -> Problem:
    """A classification has one label column."""
    fix = "give one column; for several numbers, set task: regression"
    return setting_problem("label_name", list(columns), "task classification predicts one column", fix, "FZ-S144")


def quantiles_without_median(quantiles: Sequence[float]) -> Problem:
    """`quantiles` has no 0.5, which is the number that a prediction file and the metrics use."""
    message = "0.5, the median, is missing, which is the predicted number"
    return setting_problem("quantiles", list(quantiles), message, "add 0.5 to quantiles", "FZ-S145")


def quantiles_contradict_loss(quantiles: Sequence[float] | None, loss: str) -> Problem:
    """`quantiles` and `loss: quantile` need each other."""
    fix = "set loss: quantile and quantiles: [0.05, 0.5, 0.95], or remove both"
    shown = None if quantiles is None else list(quantiles)
    return setting_problem("quantiles", shown, f"loss is {loss}", fix, "FZ-S146")


def duplicate_quantiles(quantiles: Sequence[float]) -> Problem:
    """`quantiles` lists a quantile twice."""
    return setting_problem("quantiles", list(quantiles), "a quantile is listed twice", "list each once", "FZ-S147")


def huber_delta_without_huber_loss(delta: float, loss: str) -> Problem:
    """`huber_delta` applies to the Huber loss only."""
    message = f"huber_delta has an effect with loss: huber only, and loss is {loss}"
    return setting_problem("huber_delta", delta, message, "remove huber_delta, or set loss: huber", "FZ-S148")


def metric_of_other_task(key: str, metric: str, task: str, owner: str, known: Sequence[str]) -> Problem:
    """The metric is one of another task."""
    message = f"the metric is one of task {owner}, and task is {task}"
    return setting_problem(key, metric, message, f"give one of {', '.join(known)}", "FZ-S149")
