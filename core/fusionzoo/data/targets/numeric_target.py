"""Numeric targets: one or more columns of numbers, with the scale of train on which a model predicts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.data.table.numbers import NumberStatistics, parse_numbers
from fusionzoo.data.targets.class_labels import check_labels_not_null
from fusionzoo.data.targets.target import Strata, Target, TargetReader, TargetScan
from fusionzoo.errors import target_errors

Transform = Literal["log1p"]
BINS = 10  # of equal numbers of rows: for stratified splits, and for the search for leaks
MIN_ROWS_PER_BIN = 5
MIN_DISTINCT = 3  # fewer distinct values are probably classes
MEDIAN = 0.5
FLOAT32_EPSILON = float(np.finfo(np.float32).eps)
MIN_STD = 1e-35  # predictions are float32, which has fewer digits below 1e-38
MAX_ROUNDING = 0.1  # of a prediction to float32, in standard deviations of train


@dataclass(frozen=True)
class TargetScale:
    """The mean and standard deviation of one column in train, after the transform."""

    name: str
    mean: float
    std: float


@dataclass(frozen=True)
class NumericTarget(Target):
    """The columns to predict. Encoded labels are their values as they were read, [rows, columns] float64.

    A model predicts each column on its standardized scale; `quantiles`, in ascending order, if there are any, otherwise
    one number.
    """

    scales: tuple[TargetScale, ...]
    transform: Transform | None = None
    quantiles: tuple[float, ...] = ()

    @property
    def names(self) -> list[str]:
        """The columns in order."""
        return [scale.name for scale in self.scales]

    @property
    def num_outputs(self) -> int:
        return len(self.scales) * max(1, len(self.quantiles))

    @property
    def output_names(self) -> Sequence[str]:
        return [f"{name} {quantile}" for name in self.names for quantile in (self.quantiles or ("value",))]

    def encode(self, rows: Rows, optional: bool = False) -> np.ndarray:
        return _read_numbers(rows, self.names, self.transform, optional)

    def check(self, scan: Any, split: str) -> None:
        """Do nothing: any number is valid, and the scan has checked that the labels are numbers."""

    def as_json(self) -> dict[str, Any]:
        scales = [asdict(scale) for scale in self.scales]
        return {"scales": scales, "transform": self.transform, "quantiles": list(self.quantiles)}

    def standardize(self, labels: np.ndarray) -> np.ndarray:
        """Return encoded labels [rows, columns] on the scale of the model, float64."""
        values = np.log1p(labels) if self.transform == "log1p" else labels
        means, stds = (np.array([getattr(scale, name) for scale in self.scales]) for name in ("mean", "std"))
        standardized: np.ndarray = (values - means) / stds
        return standardized

    def restore_units(self, outputs: np.ndarray) -> np.ndarray:
        """Return outputs [rows, outputs] on the scale of the model in the units of the data; quantiles never cross."""
        values = np.sort(outputs.astype(np.float64).reshape(len(outputs), len(self.scales), -1), axis=2)
        means, stds = (np.array([[getattr(scale, name)] for scale in self.scales]) for name in ("mean", "std"))
        values = values * stds + means
        restored: np.ndarray = (np.expm1(values) if self.transform == "log1p" else values).reshape(outputs.shape)
        return restored


class NumericTargetScan(TargetScan):
    """The running fit of the target columns, in memory that does not grow with the number of rows."""

    def __init__(self, settings: DataSettings, optional: bool) -> None:
        self._names, self._transform, self.optional = settings.label_columns, settings.target_transform, optional
        self._statistics = {name: NumberStatistics(name) for name in self._names}
        self._distinct: dict[str, set[float]] = {name: set() for name in self._names}

    def add(self, rows: Rows) -> Sequence[pa.Array]:
        numbers = _read_numbers(rows, self._names, self._transform, self.optional)
        self.rows += len(rows)
        values = np.log1p(numbers) if self._transform == "log1p" else numbers
        for column, name in enumerate(self._names):
            self._statistics[name].add(values[:, column])
            if len(self._distinct[name]) < MIN_DISTINCT:
                self._distinct[name].update(np.unique(numbers[:, column])[:MIN_DISTINCT].tolist())
        return [pa.array(column) for column in numbers.T]

    def fit(self, settings: DataSettings) -> NumericTarget:
        problems = ProblemLog()
        for name, distinct in self._distinct.items():
            if len(distinct) == 1:
                problems.add(target_errors.constant_target(name, next(iter(distinct))))
        problems.raise_if_any()
        encoders = [self._statistics[name].fit() for name in self._names]
        scales = tuple(TargetScale(encoder.name, encoder.mean, encoder.std) for encoder in encoders)
        for scale in scales:
            spread = (
                float(np.ptp(list(self._distinct[scale.name]))) if scale.std == 1 else scale.std
            )  # 1 may stand for 0
            if spread < MIN_STD or FLOAT32_EPSILON * abs(scale.mean) > MAX_ROUNDING * scale.std:
                problems.add(target_errors.target_beyond_float32(scale.name, scale.mean, scale.std))
        problems.raise_if_any()
        return NumericTarget(scales, settings.target_transform, tuple(sorted(settings.quantiles or ())))

    def warnings(self, target: NumericTarget) -> list[str]:
        return [
            f"Column '{name}' has only {len(distinct)} distinct values in train. If they are classes, set task: "
            "classification."
            for name, distinct in self._distinct.items()
            if len(distinct) < MIN_DISTINCT
        ]


class NumericTargetReader(TargetReader):
    """The target of a regression: one or more columns of numbers."""

    leak_class = "tenth of the values"

    @property
    def num_expected_outputs(self) -> int:
        return len(self.settings.label_columns) * max(1, len(self.settings.quantiles or ()))

    def scan(self, optional: bool) -> NumericTargetScan:
        return NumericTargetScan(self.settings, optional)

    def restore(self, saved: Mapping[str, Any]) -> NumericTarget:
        scales = tuple(TargetScale(**scale) for scale in saved["scales"])
        return NumericTarget(scales, saved["transform"], tuple(saved["quantiles"]))

    def strata(self) -> NumericStrata:
        return NumericStrata(self.settings.label_columns)

    def texts(self, rows: Rows) -> list[pa.Array]:
        return [canonicalize_column(rows, name) for name in self.settings.label_columns]

    def leak_classes(self, labels: Sequence[pa.Array]) -> dict[str, np.ndarray]:
        names = self.settings.label_columns
        return {name: _bin(column.to_numpy(), BINS) for name, column in zip(names, labels, strict=True)}


class NumericStrata(Strata):
    """Bins with equal numbers of rows: of the target, or of the mean of several standardized targets."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns
        self._blocks: list[np.ndarray] = []

    def add(self, rows: Rows) -> None:
        self._blocks.append(_read_numbers(rows, self.columns, None, optional=False))

    def codes(self) -> NDArray[np.int32]:
        numbers = np.concatenate([np.zeros((0, len(self.columns))), *self._blocks])
        if not len(numbers):
            return np.zeros(0, np.int32)
        deviations = numbers.std(axis=0)
        scaled = (numbers - numbers.mean(axis=0)) / np.where(deviations > 0, deviations, 1)
        return _bin(scaled.mean(axis=1), min(BINS, len(numbers) // MIN_ROWS_PER_BIN)).astype(np.int32)


def _bin(values: np.ndarray, bins: int) -> np.ndarray:
    """Return the bin of each value, [rows] int64, from 0 on without gaps; equal values are in the same bin."""
    bins, ordered = max(1, bins), np.sort(values)
    edges = ordered[np.arange(1, bins) * len(ordered) // bins - 1]  # the last value of each bin but the last one
    codes: np.ndarray = np.unique(np.searchsorted(edges, values, side="left"), return_inverse=True)[1]
    return codes


def _read_numbers(rows: Rows, names: Sequence[str], transform: Transform | None, optional: bool) -> np.ndarray:
    """Return the target columns [rows, columns] float64, NaN where an optional label is null.

    Raises:
        errors.DataError: a value is not a finite number, is null and not optional, or has no transformed value.
    """
    columns, problems = [], ProblemLog()
    for name in names:
        with problems.collect():
            columns.append(_read_column(rows, name, transform, optional))
    problems.raise_if_any()
    return np.stack(columns, axis=1)


def _read_column(rows: Rows, name: str, transform: Transform | None, optional: bool) -> np.ndarray:
    parsed, problems = parse_numbers(rows, name), ProblemLog()
    numbers = parsed.values
    for problem in parsed.problems:
        problems.add(target_errors.target_not_numeric(problem))
    if not optional:
        with problems.collect():
            check_labels_not_null(rows, name, pa.array(numbers, from_pandas=True))
    invalid = np.flatnonzero(numbers <= -1) if transform == "log1p" else np.zeros(0, np.int64)
    if len(invalid):
        examples = rows.examples(invalid, pa.array(numbers))
        problems.add(target_errors.target_without_logarithm(rows.source, name, len(invalid), examples))
    problems.raise_if_any()
    return numbers
