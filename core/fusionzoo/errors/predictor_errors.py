"""What callers of `Predictor` give: rows to score, and how."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import list_names, nearest_names, quote_name


class PredictorInputError(ZooError, ValueError):
    """An argument of `Predictor.predict` or `Predictor.predict_records` cannot be used."""

    @classmethod
    def batch_size(cls, value: object) -> PredictorInputError:
        """The batch size is not a whole number above 0."""
        return cls(f"batch_size is {quote_name(value)}.", "give an integer of at least 1.", "FZ-O201")

    @classmethod
    def not_records(cls, value: object) -> PredictorInputError:
        """`predict_records` got something other than several records, such as a text or a number."""
        return cls(
            f"predict_records needs a list of records, but got {_type_name(value)}.",
            'give a list of dictionaries, like [{"column": value}].',
            "FZ-O202",
        )

    @classmethod
    def single_record(cls) -> PredictorInputError:
        """`predict_records` got one dictionary instead of a list of them."""
        return cls(
            "predict_records needs a list of records, but got one dictionary.",
            "for one record, write [record]; for a dictionary of columns, write predict(pandas.DataFrame(columns)).",
            "FZ-O203",
        )

    @classmethod
    def not_a_record(cls, index: int, value: object) -> PredictorInputError:
        """An item of the records is not a mapping from columns to values."""
        return cls(
            f"Record {index} (from 0) is {_type_name(value)}, not a dictionary.",
            'give each record as {"column": value}.',
            "FZ-O204",
        )

    @classmethod
    def no_known_column(cls, index: int, keys: Sequence[str], columns: Sequence[str]) -> PredictorInputError:
        """A record has none of the model's columns, so that the prediction would not depend on it."""
        nearest = list(dict.fromkeys(name for key in keys for name in nearest_names(key, columns)))
        names = f"did you mean {list_names(nearest)}? " if nearest else ""
        return cls(
            f"Record {index} (from 0) has no column of the model; its keys are: {list_names(keys)}.",
            f"{names}The model reads these columns: {list_names(columns)}; give None for a missing value.",
            "FZ-O205",
        )

    @classmethod
    def similar_column(cls, index: int, key: str, column: str) -> PredictorInputError:
        """A record lacks a column, and has a key that differs from it only in case, spaces or punctuation."""
        return cls(
            f"Record {index} (from 0) has the key {quote_name(key)}, but the model's column is {quote_name(column)}.",
            f"rename the key, or remove it and give {quote_name(column)} or None.",
            "FZ-O206",
        )

    @classmethod
    def not_rows(cls, value: object) -> PredictorInputError:
        """`predict` got something other than a DataFrame or blocks of rows."""
        return cls(
            f"predict needs a pandas DataFrame or blocks of rows, but got {_type_name(value)}.",
            "for records, use predict_records; for files, use fusionzoo.data.reading.channel.open_channel.",
            "FZ-O207",
        )


def _type_name(value: object) -> str:
    return f"a value of type {type(value).__name__}"
