"""What every kind of rows has in common: it is read in blocks, and predictions are returned in the same kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.reading.rows import Rows

if TYPE_CHECKING:
    from fusionzoo.data.data_settings import DataSettings
    from fusionzoo.data.targets.class_labels import Label


@dataclass(frozen=True)
class ModelColumns:
    """The columns that a model knows. `features` must be there; labels and ids are optional, and are not scored."""

    features: tuple[str, ...]
    labels: tuple[str, ...]
    id_name: str | None

    @classmethod
    def of(cls, settings: DataSettings) -> ModelColumns:
        """Return the columns of a model with these settings."""
        return cls(tuple(settings.feature_columns), tuple(settings.label_columns), settings.id_name)

    @property
    def known(self) -> list[str]:
        """All columns that the model knows."""
        return [*self.features, *self.labels, *([] if self.id_name is None else [self.id_name])]

    def describe_absent(self, source: str, column: str, present: Sequence[str]) -> errors.Problem:
        """Return the problem of rows that lack a column of the model, from the columns that they have."""
        return errors.absent_column(source, column, present, self.known)

    def check(self, source: str, present: Sequence[str], strict: bool) -> None:
        """Check the names of the columns of rows.

        Raises:
            errors.DataError: a feature is absent or occurs twice.
            errors.PredictorInputError: `strict`, and there are columns that the model does not know.
        """
        known = set(present)
        problems = [self.describe_absent(source, column, present) for column in self.features if column not in known]
        if len(known) < len(present):
            problems += [errors.duplicate_column(source, name) for name in self.features if present.count(name) > 1]
        if problems:
            raise errors.DataError(problems)
        if strict:
            self.refuse_unknown(source, present)

    def refuse_unknown(self, source: str, present: Sequence[str]) -> None:
        """Raise errors.PredictorInputError if there are columns that the model does not know."""
        unknown = [name for name in dict.fromkeys(present) if name not in self.known]
        if unknown:
            absent = [name for name in self.known if name not in present]
            raise errors.PredictorInputError.unknown_columns(source, unknown, absent)


@dataclass(frozen=True)
class Predictions:
    """The columns of a result: their names, which can be classes, and their values, [rows] each."""

    names: Sequence[Label]
    values: Sequence[pa.Array]


class RowSource(ABC):
    """Rows to score, of one kind."""

    @abstractmethod
    def read(self, columns: ModelColumns, strict: bool) -> Iterator[Rows]:
        """Yield the rows in blocks that have the features, after the columns are checked.

        Raises:
            errors.DataError: a feature is absent or occurs twice, or a file cannot be read.
            errors.PredictorInputError: the rows are not of this kind, or `strict`, and there are columns that the model
                does not know.
        """

    @abstractmethod
    def convert(self, predictions: Predictions) -> Any:
        """Return the predictions of all rows in the kind of the source. The source has been read completely."""
