"""Problems of the settings that say how probabilities become decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fusionzoo.errors.base import Problem
from fusionzoo.errors.setting_errors import setting_problem
from fusionzoo.errors.wording import list_names, pluralize


def several_decision_rules(given: Mapping[str, object]) -> Problem:
    """More than one setting says how to decide."""
    first, *others = given
    verb = "says" if len(others) == 1 else "say"
    message = f"{list_names(others)} also {verb} how to decide"
    return setting_problem(first, given[first], message, f"keep one of {', '.join(given)}", "FZ-S170")


def threshold_of_several_classes(key: str, value: object, num_classes: int) -> Problem:
    """A threshold belongs to two classes or to labels, and there are more than two classes."""
    message = f"a threshold decides between two classes, and num_classes is {num_classes}"
    fix = f"remove {key}, so that the most probable class is predicted; or set cost_matrix"
    return setting_problem(key, value, message, fix, "FZ-S171")


def thresholds_of_labels(value: Sequence[float]) -> Problem:
    """A list of thresholds belongs to task multilabel."""
    message = "a list has a threshold for each label of task multilabel, and task is classification"
    fix = "give one number: the threshold of class 1 of two classes"
    return setting_problem("decision_threshold", list(value), message, fix, "FZ-S172")


def wrong_number_of_thresholds(value: Sequence[float], labels: int) -> Problem:
    """The list of thresholds is not as long as the labels."""
    message = f"{pluralize(len(value), 'threshold')} for {pluralize(labels, 'label')}"
    fix = "give one threshold for each label, in their order; or one number for all"
    return setting_problem("decision_threshold", list(value), message, fix, "FZ-S173")


def cost_matrix_shape(costs: Sequence[Sequence[float]], classes: int) -> Problem:
    """The cost matrix does not have a row and a column for each class."""
    message = f"it needs {classes} lists of {classes} numbers: for each true class, the cost of each prediction"
    shown = [list(row) for row in costs]
    return setting_problem("cost_matrix", shown, message, "complete the matrix", "FZ-S174")


def cost_of_correct_class(costs: Sequence[Sequence[float]], row: int) -> Problem:
    """Predicting the correct class costs more than a wrong one, so the matrix is probably transposed."""
    correct, wrong = costs[row][row], min(costs[row])
    message = f"in list {row + 1}, the correct prediction costs {correct:g}, and a wrong one {wrong:g}"
    fix = "order the matrix as cost_matrix[true class][predicted class]; a correct prediction costs 0"
    return setting_problem("cost_matrix", [list(each) for each in costs], message, fix, "FZ-S175")


def equal_costs(costs: Sequence[Sequence[float]]) -> Problem:
    """All predictions cost the same, so the matrix does not say what to predict."""
    message = "for each true class, all predictions cost the same, so every decision would be as good"
    fix = "give the cost of each wrong prediction; or remove cost_matrix"
    return setting_problem("cost_matrix", [list(row) for row in costs], message, fix, "FZ-S176")
