"""The interface of a target, and what is the same for every kind of target.

Encoded labels are one of these arrays; a missing label is -1 in an integer array and NaN in a float array:

- class indices [rows] int64;
- numbers [rows, columns] float64;
- 0 or 1 for each label [rows, labels] int8.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.reading.rows import Rows

NO_LABEL = -1
"""The class index of a row without a label."""
SPLITS_WITH_OPTIONAL_LABELS = frozenset({"test"})
"""The splits that need no labels: nothing is learned or selected from them."""


class Target(ABC):
    """A fitted target: from the values of its columns to encoded labels."""

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """The outputs of a model for one row."""

    @property
    def output_names(self) -> Sequence[str]:
        """What each output stands for, the same in another job; by default its position."""
        return [str(number) for number in range(self.num_outputs)]

    @abstractmethod
    def encode(self, rows: Rows, optional: bool = False) -> np.ndarray:
        """Return the encoded labels, [rows] or [rows, ...]; `optional` labels may be null.

        Raises:
            errors.DataError: a label is invalid, or null and not optional; names rows.
        """

    def standardize(self, labels: np.ndarray) -> np.ndarray:
        """Return encoded labels on the scale of the model; by default as they are."""
        return labels

    @abstractmethod
    def check(self, scan: Any, split: str) -> None:
        """Raise errors.DataError if the scan of another split found labels that this target does not have."""

    @abstractmethod
    def as_json(self) -> dict[str, Any]:
        """Return what `TargetReader.restore` needs, as plain values."""


class TargetScan(ABC):
    """The running fit of a target. For a split other than train, it only finds problems.

    `rows` counts the rows whose labels could be read.
    """

    rows: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether no label was found."""
        return not self.rows

    @abstractmethod
    def add(self, rows: Rows) -> Sequence[pa.Array]:
        """Add a block of rows, and return its labels for the search for leaks.

        Raises:
            errors.DataError: a label is invalid, or null in a split that needs labels; names rows.
        """

    @abstractmethod
    def fit(self, settings: DataSettings) -> Target:
        """Return the fitted target.

        Raises:
            errors.DataError: the labels of train contradict the settings.
        """

    @abstractmethod
    def warnings(self, target: Any) -> list[str]:
        """Return warnings about the fitted target."""


class Strata(ABC):
    """Collects the labels of a channel that is divided, so that each part gets rows of every kind.

    `columns` are the columns that it reads.
    """

    columns: Sequence[str]

    @abstractmethod
    def add(self, rows: Rows) -> None:
        """Add a block of rows.

        Raises:
            errors.DataError: a label is null or invalid; names rows.
        """

    @abstractmethod
    def codes(self) -> NDArray[np.int32]:
        """Return the stratum of each row, from 0 on, [rows] int32."""


class TargetReader(ABC):
    """How a job reads its target, chosen once from the settings by `choose_target`.

    Class variables:
        leak_class: what one code of `leak_classes` is, for messages.
        labels_may_be_lists: whether a value of the label columns may be a list.
    """

    leak_class: ClassVar[str]
    labels_may_be_lists: ClassVar[bool] = False

    def __init__(self, settings: DataSettings) -> None:
        self.settings = settings

    @property
    @abstractmethod
    def num_expected_outputs(self) -> int:
        """The outputs of a model for one row, as far as the settings tell; at least 1."""

    @abstractmethod
    def scan(self, optional: bool) -> TargetScan:
        """Return an empty scan; `optional` says whether rows may have no label."""

    @abstractmethod
    def restore(self, saved: Mapping[str, Any]) -> Target:
        """Return the target that `Target.as_json` describes."""

    @abstractmethod
    def strata(self) -> Strata:
        """Return an empty collection of labels for dividing a channel."""

    @abstractmethod
    def texts(self, rows: Rows) -> list[pa.Array]:
        """Return the label columns as canonical text, the same for every file format."""

    @abstractmethod
    def leak_classes(self, labels: Sequence[pa.Array]) -> dict[str, np.ndarray]:
        """Return integer codes [rows] by the name of what is predicted, from labels that a scan returned."""


def find_labeled_rows(labels: np.ndarray) -> NDArray[np.bool_]:
    """Return which rows of encoded labels have a label, [rows] bool."""
    is_known: NDArray[np.bool_] = ~np.isnan(labels) if labels.dtype.kind == "f" else labels >= 0
    labeled: NDArray[np.bool_] = np.all(is_known.reshape(len(labels), -1), axis=1)
    return labeled


def missing_labels(labels: np.ndarray) -> np.ndarray:
    """Return labels of the same shape and type that are all missing."""
    return np.full_like(labels, np.nan if labels.dtype.kind == "f" else NO_LABEL)
