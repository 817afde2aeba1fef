"""Problems of columns, their values, labels and texts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from fusionzoo.errors.base import Problem
from fusionzoo.errors.number_fixes import (
    DATE_OF_FEATURE,
    SCORING,
    SCORING_DATE,
    advise_on_numbers,
    looks_like_dates,
)
from fusionzoo.errors.value_problems import Example, RowPlace, ValuesProblem
from fusionzoo.errors.wording import (
    cut,
    find_lookalikes,
    join_first,
    list_names,
    nearest_names,
    note_lookalikes,
    pluralize,
    quote_first,
    quoted,
    short,
)

MAX_LISTED_LABELS = 10
WRITE_INSTEAD = {
    "arrays": "write one text, number, true, false or null per row: join the elements of each array into one text, or "
    "give each element a column of its own",
    "objects": "write one text, number, true, false or null per row: give each key of the object a column of its own",
    "bytes": "decode the bytes to text",
    "durations": "write the durations as numbers, for example of seconds",
}


def missing_column(
    name: str, column: str, columns: Sequence[str], used: Collection[str] = (), may_be_null: bool = False
) -> Problem:
    """A file has no column of a name that the settings give.

    The columns `used` have another role in the settings, so they are not meant to be the missing one. `may_be_null` is
    whether the writer may have left out a column that is null in all rows.
    """
    others = [other for other in columns if other not in used]
    close = nearest_names(column, others, 3)
    fix = f"the file has the columns {list_names([quoted([other]) for other in columns])}; use one of them"
    if close:
        fix = f"did you mean {quoted(close)}? Correct the name, or add the column to the file"
    if pair := find_lookalikes([column], others):
        fix = f"rename column {pair[1]!a} of the file to {column!a}"
    elif may_be_null:
        fix += "; if it is null in all rows, write null in one of them (Spark: set ignoreNullFields to false)"
    message = f"column '{column}' does not exist{note_lookalikes([column], others)}"
    return Problem(name, message, fix, "FZ-D101", column=column)


def column_of_outer_folder(name: str, column: str, folder: Path) -> Problem:
    """The name of a folder such as `country=de` gives the column, but the input begins inside of that folder."""
    message = f"column '{column}' does not exist; the folder {folder} has it in its name, but is above the input"
    fix = f"give the folder above, {folder.parent}; to read this folder only, write the column into its files"
    return Problem(name, message, fix, "FZ-D381", column=column)


def duplicate_column(name: str, column: str) -> Problem:
    """A file has two columns of one name."""
    fix = "give each column a unique name"
    return Problem(name, f"column '{column}' occurs more than once", fix, "FZ-D102", column=column)


def wrong_column_type(
    name: str, column: str, kind: str, expected: str, example: tuple[RowPlace, str] | None = None
) -> Problem:
    """A column holds arrays, objects, bytes, durations or values of an unknown Arrow extension type.

    Args:
        kind: what the column holds, in the plural.
        expected: what it must hold.
        example: the first row that has a value, and the value.

    Fix: write one text, number, true, false or null per row, as the message explains for the kind of values
    """
    message = f"the column holds {kind}, not {expected}"
    if example is not None:
        message = f"{message}: {example[0]} has {cut(example[1], 60)}"
    fix = f"{WRITE_INSTEAD.get(kind, 'convert the values to text')}, or remove the column from the settings"
    rows = () if example is None else (example[0].number,)
    problem = Problem.of_column(name, column, message, fix, "FZ-D103", rows=rows)
    return problem.with_scoring_fix(WRITE_INSTEAD.get(kind, "convert the values to text"))


def column_not_utf8(name: str, column: str, cause: Exception) -> Problem:
    """A Parquet file marks bytes as text that are not UTF-8."""
    message = f"the column holds text that is not UTF-8 ({short(cause)})"
    return Problem.of_column(name, column, message, "write the text as UTF-8", "FZ-D104")


def ids_without_common_type(column: str, kinds: Mapping[str, str]) -> Problem:
    """Files of one split hold ids of different types, so that the prediction file cannot have one type."""
    shown = ", ".join(f"{kind} in {name}" for kind, name in kinds.items())
    message = f"part files hold ids of incompatible types: {shown}"
    return Problem.of_column("", column, message, "write all ids with one type", "FZ-D105")


def values_not_numeric(name: str, column: str, count: int, examples: Sequence[Example]) -> ValuesProblem:
    """A number column holds text, NaN or infinity; empty values are allowed.

    Fix: correct the values, list words for missing values in null_values, or use cat_field_list; the message says what
    to change about 1.234,56, $441, 3% and dates
    """
    values = [value for _, value in examples]
    fix, scoring_fix = advise_on_numbers(values), SCORING
    if looks_like_dates(values):
        fix, scoring_fix = DATE_OF_FEATURE, SCORING_DATE
    fix = fix or "correct the values, list words for missing values in null_values, or use cat_field_list"
    what = ("value", "is not a finite number", "are not finite numbers")
    problem = ValuesProblem.of((name, column), what, count, examples, fix, "FZ-D106")
    return problem.with_scoring_fix(scoring_fix)


def values_too_large(name: str, column: str, count: int, examples: Sequence[Example]) -> ValuesProblem:
    """Numbers are larger than the type of the model can hold."""
    what = ("value", "is beyond the range of float32")
    fix = "correct the values, or rescale the column, for example with a logarithm: it must be below 3.4e38"
    problem = ValuesProblem.of((name, column), what, count, examples, fix, "FZ-D130")
    return problem.with_scoring_fix("correct the values: they must be below 3.4e38")


def column_not_numeric(name: str, column: str, kind: str, is_category: bool) -> Problem:
    """A number column holds dates or times."""
    fix = "convert it to numbers, or remove it from tab_field_list"
    if is_category:
        fix = "convert it to numbers, such as days since a fixed day, or move it to cat_field_list"
    problem = Problem.of_column(name, column, f"the column holds {kind}, not numbers", fix, "FZ-D107")
    return problem.with_scoring_fix(SCORING_DATE)


def too_many_categories(column: str, limit: int) -> Problem:
    """A category column has so many different values that it is an id or free text."""
    message = f"the column has more than {limit:,} different values, so it is an id or free text"
    fix = "move it to text_name, or remove it from cat_field_list"
    return Problem.of_column("train", column, message, fix, "FZ-D108")


def no_text(columns: Sequence[str]) -> Problem:
    """After cleaning, the text columns are empty in every row."""
    fix = "check text_name and the cleaning steps"
    return Problem(f"train, column {quoted(columns)}", "no row has any text", fix, "FZ-D109")


def no_frequent_word(min_count: int) -> Problem:
    """The word tokenizer has no word for its vocabulary."""
    message = f"no word occurs at least {pluralize(min_count, 'time')}"
    return Problem("train", message, "lower word_min_count", "FZ-D110")


def single_class(column: str, counts: Mapping[str, int]) -> Problem:
    """All rows of train have the same label."""
    shown = ", ".join(f"'{label}' in {pluralize(count, 'row')}" for label, count in counts.items())
    fix = "check label_name: a classifier needs at least two classes"
    return Problem.of_column("train", column, f"the labels have one class only: {shown}", fix, "FZ-D111")


def no_rows_to_balance(column: str, absent: Sequence[object]) -> Problem:
    """Balanced class weights divide by the number of rows of each class, and a class has none."""
    message = f"class_weights: balanced needs rows of each class, and train has no row of {quote_first(absent)}"
    fix = "add such rows, or give class_weights as an object"
    return Problem.of_column("train", column, message, fix, "FZ-D112")


def class_weights_of_unknown_classes(names: Sequence[str], classes: Sequence[object]) -> Problem:
    """`class_weights` gives a weight to a class that is not one of the job's."""
    known = [str(label) for label in classes]
    close = list(dict.fromkeys(near for name in names for near in nearest_names(name, known)))
    fix = f"write {quote_first(close)}" if close else "use the names of the classes"
    message = f"class_weights names {quote_first(names)}, but the classes are {quote_first(known)}"
    message += note_lookalikes(names, known)
    return Problem("class_weights", message, fix, "FZ-D150")


def class_weights_of_same_class(names: Sequence[str]) -> Problem:
    """`class_weights` names one class in two ways, such as "1" and "1.0"."""
    return Problem("class_weights", f"{quoted(names)} are the same class", "keep one of them", "FZ-D151")


def class_weights_all_zero() -> Problem:
    """`class_weights` names every class, and each weight is 0."""
    return Problem("class_weights", "all weights are 0", "give at least one class a weight above 0", "FZ-D152")


def null_labels(name: str, column: str, count: int, rows: Sequence[RowPlace]) -> ValuesProblem:
    """Rows have no label."""
    examples = [(row, None) for row in rows]
    return ValuesProblem.of((name, column), ("label", "is null"), count, examples, "remove these rows", "FZ-D113")


def infinite_labels(column: str, count: int, rows: Sequence[RowPlace]) -> Problem:
    """Labels are infinite numbers."""
    examples = [(row, None) for row in rows]
    what = ("label", "is infinite")
    return ValuesProblem.of(("train", column), what, count, examples, "remove these rows", "FZ-D114")


def unseen_labels(
    name: str, column: str, count: int, examples: Sequence[Example], classes: Sequence[object]
) -> Problem:
    """Rows of val or test have a label that no row of train has."""
    known = quote_first(classes, MAX_LISTED_LABELS)
    fix = f"correct the labels (in test, they may be empty), or add such rows to train; train has {known}"
    note = note_lookalikes([label for _, label in examples], classes)
    what = ("label", "was not seen in train")
    problem = ValuesProblem.of((name, column), what, count, examples, f"{fix}{note}", "FZ-D115")
    return problem.with_scoring_fix(f"correct the labels, or leave them empty; the model knows {known}{note}")


def labels_contradict_num_classes(
    column: str, counts: Mapping[str, int], first_row: Mapping[str, RowPlace], num_classes: int
) -> Problem:
    """`num_classes` is not the number of different labels in train."""
    rarest = sorted(counts.items(), key=lambda item: item[1])
    labels = [f"'{label}' ({pluralize(count, 'row')}, first {first_row[label]})" for label, count in rarest]
    shown = join_first(labels, MAX_LISTED_LABELS)
    message = f"num_classes is {num_classes}, but train has {pluralize(len(counts), 'label')}: {shown}"
    message += note_lookalikes(counts)
    fix = "correct the labels or num_classes, or list all labels in classes where train lacks one"
    return Problem.of_column("train", column, message, fix, "FZ-D116")


def labels_outside_classes(
    column: str, extra: Sequence[str], first_row: Mapping[str, RowPlace], classes: Sequence[object]
) -> Problem:
    """Train has labels that the setting `classes` does not list."""
    shown = join_first([f"'{label}' (first {first_row[label]})" for label in extra], MAX_LISTED_LABELS)
    message = f"labels that are not in classes ({quote_first(classes, MAX_LISTED_LABELS)}): {shown}"
    message += note_lookalikes(extra, classes)
    return Problem.of_column("train", column, message, "correct the labels, or add them to classes", "FZ-D117")


def val_without_weight(weights: Sequence[float], val_fraction: float | None = None) -> Problem:
    """All rows of val are of classes with weight 0, so val_loss is 0 / 0.

    Fix: add rows of other classes to val (with val_fraction: raise it, or add them to train), or change class_weights
    """
    shown = list_names([f"{weight:g}" for weight in weights], 200)
    message = f"all rows are of classes with weight 0 (class_weights {shown}), so val_loss is 0 / 0"
    fix = f"{more_classes_in('val', val_fraction)}, or change class_weights"
    return Problem("val", message, fix, "FZ-D118")


def val_with_single_class(metric: str, val_fraction: float | None = None) -> Problem:
    """All rows of val have the same label, and `early_stop_metric` is not defined for one class.

    Fix: add rows of other classes to val (with val_fraction: raise it, or add them to train), or set early_stop_metric:
    val_loss
    """
    message = f"all rows are of one class, so {metric} is not defined"
    fix = f"{more_classes_in('val', val_fraction)}, or set early_stop_metric: val_loss"
    return Problem("val", message, fix, "FZ-D119")


def more_classes_in(split: str, fraction: float | None, noun: str = "classes") -> str:
    """Return how to get rows of other classes into a split; `fraction` is its share of train if the job made it."""
    if fraction is None:
        return f"add rows of other {noun} to {split}"
    return (
        f"raise {split}_fraction (it is {fraction:g}), add rows of the rare {noun} to train, or mount a channel "
        f"'{split}'"
    )
