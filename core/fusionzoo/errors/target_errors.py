"""Problems of what is predicted: labels that do not fit the task, and settings that another task has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fusionzoo.errors.base import Problem
from fusionzoo.errors.number_fixes import DATE, advise_on_numbers, looks_like_dates
from fusionzoo.errors.setting_errors import setting_problem
from fusionzoo.errors.value_problems import Example, RowPlace, ValuesProblem
from fusionzoo.errors.wording import cut, join_first, list_names, pluralize, quote_first, quote_name


def target_not_numeric(problem: Problem) -> Problem:
    """The column to predict holds text, dates or infinity, and the task is regression.

    Fix: correct the values, as the message says for 1.234,56, $441, 3% and dates; to predict classes, set task:
    classification and num_classes, and for several labels per row task: multilabel
    """
    fix = (
        "correct the values; to predict classes, set task: classification and num_classes, and for several labels per "
        "row task: multilabel"
    )
    reason = ", and task is regression"
    message = f"{problem.message}{reason}"
    numeric = Problem(problem.where, message, fix, "FZ-D160", column=problem.column, rows=problem.rows)
    if isinstance(problem, ValuesProblem):
        values = [value for _, value in problem.examples]
        fix = DATE if looks_like_dates(values) else advise_on_numbers(values) or fix
        numeric = replace(problem.with_reason(reason), fix=fix, code=numeric.code)
    return numeric.with_scoring_fix("write the labels as numbers such as 1200.5, or leave them empty")


def target_without_logarithm(name: str, column: str, count: int, examples: Sequence[Example]) -> ValuesProblem:
    """A value to predict is -1 or less, and `target_transform` is log1p."""
    fix = "correct the values, or remove target_transform"
    what = ("value", "is not above -1, as target_transform: log1p needs it")
    problem = ValuesProblem.of((name, column), what, count, examples, fix, "FZ-D161")
    return problem.with_scoring_fix("correct the values, or leave them empty")


def constant_target(column: str, value: float) -> Problem:
    """All rows of train have the same number to predict."""
    message = f"every row has the value {value:g}, so there is nothing to learn"
    return Problem.of_column("train", column, message, "check label_name, or add rows with other values", "FZ-D162")


def target_beyond_float32(column: str, mean: float, std: float) -> Problem:
    """The numbers to predict differ by less than float32 resolves around their mean."""
    message = f"the values vary by {std:g} around {mean:g}, and float32, the type of predictions, cannot show that"
    fix = "subtract a constant from the values if they are large, multiply them if they are tiny"
    return Problem.of_column("train", column, message, fix, "FZ-D177")


def target_too_far_from_train(name: str, column: str, count: int, examples: Sequence[Example], limit: float) -> Problem:
    """Values to predict are so far from those of train that their loss is infinite in float32."""
    what = ("value", f"is more than {limit:.0e} standard deviations of train away from its mean, so the loss overflows")
    fix = "correct the values, or remove these rows"
    return ValuesProblem.of((name, column), what, count, examples, fix, "FZ-D380")


def numbers_as_classes(column: str, distinct: int, first_row: Mapping[str, RowPlace], num_classes: int) -> Problem:
    """The labels of a classification are many different numbers."""
    shown = join_first([f"'{label}' (first {row})" for label, row in first_row.items()], 3)
    message = f"num_classes is {num_classes}, but train has {pluralize(distinct, 'number')} as labels: {shown}"
    fix = "to predict a number, set task: regression and remove num_classes; otherwise correct one of the two"
    return Problem.of_column("train", column, message, fix, "FZ-D163")


def metric_undefined_on_val(metric: str) -> Problem:
    """`early_stop_metric` is undefined for the labels of val: they are constant, or hold 0 for a percentage error."""
    reason = "a value is 0" if metric.endswith("mape") else "all values are equal"
    message = f"{metric} is not defined, because {reason}"
    return Problem("val", message, "add other rows to val, or set early_stop_metric: val_loss", "FZ-D164")


def metric_of_ordered_classes(metric: str, column: str, classes: Sequence[object]) -> Problem:
    """`early_stop_metric` needs classes with an order; the labels are not numbers, and `classes` does not list them."""
    message = f"{metric} needs classes with an order, and these labels are not numbers: {quote_first(classes, 5)}"
    fix = "set classes to the labels from the lowest to the highest, or set early_stop_metric: val_loss"
    return Problem.of_column("", column, message, fix, "FZ-D170")


def column_of_lists(problem: Problem) -> Problem:
    """The label column of a classification holds arrays."""
    fix = "for any number of labels per row, set task: multilabel; otherwise write one class per row"
    message = f"{problem.message}, and task is classification"
    lists = Problem(problem.where, message, fix, "FZ-D165", column=problem.column, rows=problem.rows)
    return lists.with_scoring_fix("write one class per row")


def text_lists_as_classes(column: str, first_row: Mapping[str, RowPlace]) -> Problem:
    """The labels of a classification are arrays that are written as text."""
    shown = join_first([f"'{cut(label, 60)}' (first {row})" for label, row in first_row.items()], 3)
    message = f"every label is an array, and task is classification, which has one class per row: {shown}"
    fix = "for any number of labels per row, set task: multilabel and remove num_classes"
    return Problem.of_column("train", column, message, fix, "FZ-D166")


def label_not_boolean(name: str, column: str, count: int, examples: Sequence[Example]) -> ValuesProblem:
    """One of several label columns of task multilabel holds something else than 0, 1, true and false."""
    fix = (
        "write 0 or 1; for a column of classes, set task: classification, for numbers task: regression, and give one "
        "column of lists if the values are lists"
    )
    what = ("value", "is neither 0, 1, true nor false")
    problem = ValuesProblem.of((name, column), what, count, examples, fix, "FZ-D167")
    return problem.with_scoring_fix("write 0 or 1, or leave the value empty")


def null_label_value(name: str, column: str, count: int, rows: Sequence[RowPlace]) -> ValuesProblem:
    """Rows have no value in one of several label columns of task multilabel."""
    fix = "write 0 where the label does not apply, and remove rows where that is unknown"
    what, examples = ("value", "is null"), [(row, None) for row in rows]
    return ValuesProblem.of((name, column), what, count, examples, fix, "FZ-D175")


def not_a_label_list(name: str, column: str, count: int, examples: Sequence[Example]) -> ValuesProblem:
    """The label column of task multilabel holds single values, not lists."""
    fix = (
        'write arrays such as ["a", "b"], or set label_separator to the text between two labels; for one class per '
        "row, set task: classification and num_classes"
    )
    what = ("value", "is not a list of labels", "are not lists of labels")
    problem = ValuesProblem.of((name, column), what, count, examples, fix, "FZ-D168")
    return problem.with_scoring_fix('write arrays such as ["a", "b"], as the data that the model was trained on')


def null_label_list(name: str, column: str, count: int, rows: Sequence[RowPlace]) -> ValuesProblem:
    """Rows have no list of labels: not even an empty one."""
    fix = "write [] where no label applies, and remove rows whose labels are unknown"
    what, examples = ("value", "is null"), [(row, None) for row in rows]
    return ValuesProblem.of((name, column), what, count, examples, fix, "FZ-D169")


def empty_label_in_list(name: str, column: str, count: int, examples: Sequence[Example]) -> Problem:
    """A list of labels has an element that is null, an empty text, or no plain value."""
    what = ("list", "has an element that is empty, null or nested")
    fix = "write only texts and numbers into the lists"
    return ValuesProblem.of((name, column), what, count, examples, fix, "FZ-D176")


def too_few_labels(columns: Sequence[str], labels: Sequence[object], rows: int) -> Problem:
    """Train has no label, or only one, so there is nothing to tell apart or the task is a classification."""
    found = f"one label only: {quote_first(labels)}" if labels else "no label in any row"
    message = f"{pluralize(rows, 'row')} {'has' if rows == 1 else 'have'} {found}, and task multilabel needs two"
    fix = "check label_name; to predict whether one label applies, set task: classification and num_classes: 2"
    return Problem(f"train, column {quote_first(columns, 5)}", message, fix, "FZ-D171")


def constant_labels(columns: Sequence[str]) -> Problem:
    """Every label applies to all rows of train, or to none."""
    message = "every label applies to all rows or to none, so there is nothing to learn"
    return Problem(
        f"train, column {quote_first(columns, 5)}", message, "check label_name, or add other rows", "FZ-D172"
    )


def too_many_labels(column: str, count: int, limit: int) -> Problem:
    """The lists hold so many different labels that they are ids or free text."""
    message = f"the lists have {count:,} different labels, and a model has at most {limit:,}"
    return Problem.of_column("train", column, message, "leave rare labels out, or check label_name", "FZ-D173")


def val_without_labels(metric: str, fix: str) -> Problem:
    """No label of val has both rows that it applies to and others, so `early_stop_metric` is undefined."""
    message = f"no label applies to some of its rows and not to others, so {metric} is not defined"
    return Problem("val", message, f"{fix}, or set early_stop_metric: val_loss", "FZ-D174")


def setting_of_other_task(key: str, value: object, task: str, owners: Sequence[str]) -> Problem:
    """A setting has a meaning for other tasks only."""
    tasks = f"task {owners[0]}" if len(owners) == 1 else f"tasks {' and '.join(owners)}"
    message = f"the setting has a meaning for {tasks} only, and task is {task}"
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
    fix = "give one column; for several numbers, set task: regression; for columns of 0 and 1, set task: multilabel"
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
    """`quantiles` lists a quantile twice, or two that are the same in six digits of a percentage."""
    message = "two quantiles are equal, or differ only after the sixth digit, so that their columns have one name"
    return setting_problem("quantiles", list(quantiles), message, "list each once", "FZ-S147")


def huber_delta_without_huber_loss(delta: float, loss: str) -> Problem:
    """`huber_delta` applies to the Huber loss only."""
    message = f"huber_delta has an effect with loss: huber only, and loss is {loss}"
    return setting_problem("huber_delta", delta, message, "remove huber_delta, or set loss: huber", "FZ-S148")


def task_of_other_plugins(
    task: str, kind: str, name: str, supported: Sequence[str], alternatives: Sequence[str]
) -> Problem:
    """The architecture or the text encoder does not support the task.

    `alternatives` are the installed ones that do.
    """
    message = f"{kind} {quote_name(name)} supports task {list_names(supported)} only"
    others = f"set {kind} to one that supports {task}: {list_names(alternatives)}" if alternatives else ""
    fix = f"{others or f'install a {kind} that supports {task}'}; or set task: {supported[0]}"
    return setting_problem("task", task, message, fix, "FZ-S160")


def metric_of_other_task(key: str, metric: str, task: str, owner: str, known: Sequence[str]) -> Problem:
    """The metric is one of another task."""
    message = f"the metric is one of task {owner}, and task is {task}"
    return setting_problem(key, metric, message, f"give one of {', '.join(known)}", "FZ-S149")


def wrong_length_for_labels(key: str, value: object, length: int, labels: int, source: str) -> Problem:
    """A setting of task multilabel has an entry for each label, or is their number, and there are other labels."""
    message = f"{pluralize(length, 'label')}, but {source} has {labels:,}"
    return setting_problem(key, value, message, f"correct {key} or {source}", "FZ-S150")


def setting_of_label_lists(key: str, value: object, columns: int) -> Problem:
    """`classes` and `label_separator` are about one column of lists, and there are several label columns."""
    message = f"the setting is for one column of lists, and label_name has {columns} columns, each of which is a label"
    return setting_problem(key, value, message, f"remove {key}, or give one column", "FZ-S151")
