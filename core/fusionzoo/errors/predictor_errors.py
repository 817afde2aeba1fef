"""What callers of `Predictor` give: rows to score, and how."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fusionzoo.errors.base import Problem, ZooError
from fusionzoo.errors.wording import (
    cut,
    find_lookalikes,
    keep_letters,
    list_names,
    nearest_names,
    note_lookalikes,
    printable,
    quote_first,
    quote_name,
    quoted,
    short,
)

MAX_PATH_LENGTH = 400
SEVERAL_ROWS = 'a pandas DataFrame, a pyarrow.Table, a list of dictionaries like [{"column": value}], or a path'


class PredictorInputError(ZooError, ValueError):
    """An argument of `Predictor` cannot be used."""

    @classmethod
    def batch_size(cls, value: object) -> PredictorInputError:
        """The batch size is not a whole number above 0."""
        return cls(f"batch_size is {quote_name(value)}.", "give an integer of at least 1.", "FZ-O201")

    @classmethod
    def threads(cls, value: object) -> PredictorInputError:
        """The number of threads is not a whole number above 0."""
        fix = "give an integer of at least 1, or None for one thread per core."
        return cls(f"threads is {quote_name(value)}.", fix, "FZ-O222")

    @classmethod
    def not_records(cls, value: object) -> PredictorInputError:
        """The rows are none of the kinds that a predictor accepts, such as a number."""
        return cls(f"The rows are {_type_name(value)}.", f"give {SEVERAL_ROWS}.", "FZ-O202")

    @classmethod
    def unreadable_table(cls, value: object, cause: Exception) -> PredictorInputError:
        """The rows have Arrow's PyCapsule interface, but are one column, or of a type that pyarrow does not know."""
        message = f"pyarrow cannot read the rows, which are {_type_name(value)} ({short(cause)})."
        return cls(message, "give a pyarrow.Table; frame.to_arrow() converts a polars DataFrame.", "FZ-O226")

    @classmethod
    def missing_path(cls, path: object) -> PredictorInputError:
        """The rows are a text or a path, and there is no such file or folder."""
        return cls(
            f"The file or folder {cut(repr(str(path)), MAX_PATH_LENGTH)} does not exist.",
            'give the path of a file or folder; to score a text, give a record of it, like [{"column": text}].',
            "FZ-O223",
        )

    @classmethod
    def single_record(cls) -> PredictorInputError:
        """The rows are one dictionary, or one row of a DataFrame, instead of several."""
        return cls(
            "The rows are one record instead of a list of records.",
            "for one record, write [record]; for a dictionary of columns, write predict(pandas.DataFrame(columns)).",
            "FZ-O203",
        )

    @classmethod
    def not_a_record(cls, index: int, value: object) -> PredictorInputError:
        """An item of the records is not a mapping from columns to values."""
        return cls(
            f"records[{index}] is {_type_name(value)}, not a dictionary.",
            'give each record as {"column": value}.',
            "FZ-O204",
        )

    @classmethod
    def no_known_column(
        cls, index: int, keys: Sequence[str], columns: Sequence[str], own: Collection[str] = ()
    ) -> PredictorInputError:
        """A record has none of the columns that the model reads, so that the prediction would not depend on it.

        The keys `own`, such as labels, are columns of the model that it does not read.
        """
        others = [key for key in keys if key not in own]
        nearest = list(dict.fromkeys(name for key in others for name in nearest_names(key, columns)))
        names = f"did you mean {list_names(nearest)}? " if nearest else ""
        return cls(
            f"records[{index}] has no column that the model reads; its keys are: {list_names(keys)}"
            f"{note_lookalikes(keys, columns)}.",
            f"{names}The model reads these columns: {list_names(columns)}; give None for a missing value.",
            "FZ-O205",
        )

    @classmethod
    def similar_column(cls, index: int, key: str, column: str) -> PredictorInputError:
        """A record lacks a column, and has a key that differs from it only in case, spaces or punctuation."""
        return cls(
            f"records[{index}] has the key {quote_name(key)}, but the model's column is {quote_name(column)}"
            f"{note_lookalikes([key], [column])}.",
            f"rename the key, or remove it and give {quote_name(column)} or None.",
            "FZ-O206",
        )

    @classmethod
    def not_rows(cls, value: object) -> PredictorInputError:
        """`predict_blocks` got something other than blocks of rows."""
        return cls(
            f"predict_blocks needs blocks of rows, but got {_type_name(value)}.",
            "for other rows use predict; for files, open_path of fusionzoo.data.reading.channel gives blocks.",
            "FZ-O207",
        )

    @classmethod
    def unknown_columns(cls, source: str, unknown: Sequence[str], absent: Sequence[str]) -> PredictorInputError:
        """With `strict=True`, the rows have columns that are none of the model's.

        `absent` are the columns of the model that the rows lack.
        """
        nearest = list(dict.fromkeys(name for column in unknown for name in nearest_names(column, absent)))
        fix = "remove these columns, or leave out strict=True to ignore them."
        if nearest:
            fix = f"did you mean {quote_first(nearest)}? Rename or {fix}"
        message = f"{printable(source)}: the model does not know these columns: {quote_first(unknown)}"
        message += f"{note_lookalikes(unknown, absent)}."
        return cls(message, fix, "FZ-O224")

    @classmethod
    def no_probabilities(cls, title: str) -> PredictorInputError:
        """The model predicts numbers, so it has no probabilities."""
        message = f"The model predicts numbers ({printable(title)}), which have no probabilities."
        return cls(message, "use predict, which returns the predicted numbers.", "FZ-O225")


def absent_column(source: str, column: str, present: Sequence[str], own: Collection[str] = ()) -> Problem:
    """The rows lack a column that the model reads. A missing value is data, but a missing column is a mistake.

    The columns `own` of the model, such as its labels, are not meant to be the absent one.
    """
    others = [name for name in present if name not in own]
    close = nearest_names(column, others, 3)
    if pair := find_lookalikes([column], others):
        fix = f"rename {pair[1]!a} to {column!a}"
    elif close and keep_letters(close[0]) == keep_letters(column):
        fix = f"rename {quoted(close[:1])} to '{column}'"
    elif close:
        fix = (
            f"did you mean {quoted(close)}? Rename it to '{column}', or add the column, with nulls if it has no values"
        )
    else:
        names = list_names([quoted([name]) for name in present])
        fix = f"add the column, with nulls if all are missing; the columns are {names}"
    message = f"column '{column}' of the model does not exist{note_lookalikes([column], others)}"
    return Problem(source, message, fix, "FZ-O221", column=column)


def _type_name(value: object) -> str:
    return f"a value of type {type(value).__name__}"
