"""Class indices and probabilities that cannot be evaluated."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.value_problems import MAX_EXAMPLES, RowPlace
from fusionzoo.errors.wording import join_first, pluralize, quoted


class ScoresError(ZooError, ValueError):
    """Class indices and probabilities cannot be evaluated. `rows` are the numbers of the rows that it names."""

    rows: tuple[int, ...] = ()

    @classmethod
    def shapes(
        cls, y_true: tuple[int, ...], probabilities: tuple[int, ...], expected: tuple[int, int] | None = None
    ) -> ScoresError:
        """The arrays have wrong shapes."""
        shape = f"[rows, classes] = {list(expected)}" if expected else "[rows, classes] with at least two classes"
        return cls(
            f"Scores have wrong shapes: y_true {list(y_true)}, probabilities {list(probabilities)}.",
            f"give y_true as [rows] and probabilities as {shape}.",
            "FZ-O101",
        )

    @classmethod
    def number_shapes(cls, y_true: tuple[int, ...], predicted: tuple[int, ...]) -> ScoresError:
        """The labels and the predicted numbers have different shapes."""
        return cls(
            f"Scores have wrong shapes: labels {list(y_true)}, predicted numbers {list(predicted)}.",
            "give both as [rows, columns].",
            "FZ-O108",
        )

    @classmethod
    def types(cls, y_true: object, probabilities: object) -> ScoresError:
        """The arrays have wrong dtypes."""
        return cls(
            f"Scores have wrong dtypes: y_true {y_true}, probabilities {probabilities}.",
            "give class indices as integers and probabilities as floating-point numbers.",
            "FZ-O102",
        )

    @classmethod
    def unknown_class(cls, row: int, index: int, classes: int) -> ScoresError:
        """A class index is not between 0 and the number of classes."""
        message = f"y_true[{row}] is class index {index}, but there are {classes} classes."
        return cls(message, f"give indices from 0 to {classes - 1}.", "FZ-O103")

    @classmethod
    def not_finite(cls, row: int, count: int) -> ScoresError:
        """The model's probabilities are NaN or infinite: training diverged."""
        return cls(
            f"The model's scores are NaN or infinite in {pluralize(count, 'row')}, first in scores[{row}].",
            "lower lr, set gradient_clip_val, or set precision: 32.",
            "FZ-O104",
        )

    @classmethod
    def rows_not_finite(cls, count: int, rows: Sequence[RowPlace]) -> ScoresError:
        """A trained model computes NaN or infinity for some rows, although their values can be encoded."""
        shown = join_first([str(row) for row in rows], MAX_EXAMPLES)
        message = f"The model's predictions are NaN or infinite in {pluralize(count, 'row')}: {shown}."
        fix = (
            "leave these rows out, or correct their values if they are unusual; if they are not, train the model again "
            "with a lower lr."
        )
        error = cls(message, fix, "FZ-O112")
        error.rows = tuple(row.number for row in rows)
        return error

    @classmethod
    def not_probabilities(cls, row: int, values: Sequence[float], count: int) -> ScoresError:
        """The values of a row do not sum to 1: often logits instead of probabilities."""
        shown = join_first([f"{value:.4g}" for value in values], 10)
        return cls(
            f"{pluralize(count, 'row')} without probabilities that sum to 1, first probabilities[{row}]: [{shown}].",
            "give softmax(logits), not logits.",
            "FZ-O105",
        )

    @classmethod
    def wrong_class_count(cls, labels: int, scored: int) -> ScoresError:
        """The list of labels is longer or shorter than a row of probabilities."""
        message = f"There are {labels} labels, but probabilities of {scored} classes."
        return cls(message, "give one label per class.", "FZ-O106")

    @classmethod
    def duplicate_class(cls, names: Sequence[str]) -> ScoresError:
        """Two labels are the same as text, such as 1 and "1"."""
        message = f"Several classes have the same text: {quoted(names)}."
        return cls(message, "give each label a unique text.", "FZ-O107")

    @classmethod
    def label_shapes(cls, y_true: tuple[int, ...], probabilities: tuple[int, ...]) -> ScoresError:
        """The labels and the probabilities of a multilabel classification have different shapes."""
        message = f"Scores have wrong shapes: labels {list(y_true)}, probabilities {list(probabilities)}."
        return cls(message, "give both as [rows, labels].", "FZ-O109")

    @classmethod
    def not_label_values(cls, row: int, count: int) -> ScoresError:
        """A label of a multilabel classification is neither 0 nor 1."""
        message = f"{pluralize(count, 'row')} with a label that is neither 0 nor 1, first labels[{row}]."
        return cls(message, "give 1 for each label that applies to a row, and 0 for the others.", "FZ-O110")

    @classmethod
    def outside_unit_interval(cls, row: int, values: Sequence[float], count: int) -> ScoresError:
        """A probability of a label is below 0 or above 1: often a logit instead of a probability."""
        shown = join_first([f"{value:.4g}" for value in values], 10)
        message = f"{pluralize(count, 'row')} with values outside 0 to 1, first probabilities[{row}]: [{shown}]."
        return cls(message, "give sigmoid(logits), not logits.", "FZ-O111")
