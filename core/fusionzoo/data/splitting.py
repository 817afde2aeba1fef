"""Divide one channel into train, val and test: stratified by label, seeded, and without dividing a group."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor

import numpy as np

from fusionzoo import errors
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.channel import Channel
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.data.targets.target import Strata
from fusionzoo.data.value_codes import ValueCodes

log = logging.getLogger(__name__)

TRAIN = "train"
MAX_SHARE_DEVIATION = 0.2  # relative to the requested share; beyond it, a warning is logged


@dataclass(frozen=True)
class SplitPart:
    """The rows of a channel that belong to one split. Iterating over it reads them; it can be repeated."""

    channel: Channel
    name: str
    index: int
    assignment: np.ndarray = field(repr=False, compare=False)  # [rows of the channel] int8, index of each row's part

    @property
    def files(self) -> tuple[PartFile, ...]:
        """The channel's part files, which hold the rows of the other parts too."""
        return self.channel.files

    @property
    def format(self) -> str:
        """The format of the channel's first part file."""
        return self.channel.format

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return self.channel.columns

    @property
    def selection_hash(self) -> str:
        """Return a hash of the rows of the channel that belong to this part."""
        return hashlib.sha256(np.packbits(self.assignment == self.index).tobytes()).hexdigest()

    def __iter__(self) -> Iterator[Rows]:
        """Yield the rows of the part, in the channel's order.

        Raises:
            errors.DataError: the channel cannot be read, or its number of rows has changed since it was divided.
        """
        for rows, assignment in read_assigned_rows(self.channel, self.assignment):
            mask = assignment == self.index
            if mask.any():
                yield rows.filter(mask)


def read_assigned_rows(channel: Channel, assignment: np.ndarray) -> Iterator[tuple[Rows, np.ndarray]]:
    """Yield blocks of the rows of a channel, with the entry of `assignment` for each row.

    Raises:
        errors.DataError: the channel cannot be read, or has not as many rows as `assignment`.
    """
    end = 0
    for rows in channel:
        block = assignment[end : end + len(rows)]
        end += len(rows)
        if end > len(assignment):
            break
        yield rows, block
    if end != len(assignment):
        raise errors.DataError([errors.changed_channel(channel.name)])


def split_channel(
    channel: Channel, fractions: Mapping[str, float], strata: Strata, seed: int, group: str | None = None
) -> dict[str, SplitPart]:
    """Divide `channel` into one part for each of `fractions`, such as {"val": 0.1}, and "train" with the other rows.

    Reads only the columns of `strata` and `group`, once. Needs up to 40 bytes per row and an entry per class and group
    meanwhile; the parts hold one byte per row. Which rows a part gets depends only on the order of the rows and the
    seed.

    Without a group, each part has its fraction of each class, to within one row, but the last row of a class stays in
    train. With a group, all rows of a group are in one part: the largest groups are assigned first, each to the part
    where the shares of rows and classes come closest to the requested ones. The seed decides the order of groups of
    similar size. A row with a null group is a group of its own.

    Raises:
        errors.DataError: a column is missing, a label is null, or there are too few rows or groups for the fractions.
    """
    names = (TRAIN, *fractions)
    labels, groups = _read_label_and_group_codes(channel, strata, group)
    rng = np.random.default_rng(seed)
    if groups is None:
        assignment = _assign_rows(labels, list(fractions.values()), rng)
    else:
        assignment = _assign_groups(labels, groups, list(fractions.values()), rng)
    grouping = None if group is None or groups is None else (group, groups)
    _check_part_sizes(channel.name, assignment, fractions, labels, grouping)
    return {name: SplitPart(channel, name, index, assignment) for index, name in enumerate(names)}


# --- reading


def _read_label_and_group_codes(
    channel: Channel, strata: Strata, group: str | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the code of each row's class, and of its group if there is one, [rows] int32."""
    columns = dict.fromkeys([*strata.columns, *([] if group is None else [group])])
    groups, problems = ValueCodes(), ProblemLog()
    with problems.collect():
        for rows in channel.with_columns(list(columns)):
            problems.count_rows(rows)
            with problems.collect():
                strata.add(rows)
            if group is not None:
                with problems.collect():
                    groups.add(canonicalize_column(rows, group))
    problems.raise_if_any()
    label_codes = strata.codes()
    if not len(label_codes):
        raise errors.DataError([errors.channel_without_rows(channel.name)])
    return label_codes, None if group is None else groups.codes_with_distinct_nulls()


# --- assignment of single rows


def _assign_rows(labels: np.ndarray, fractions: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Return the part of each row, [rows] int8: the rows of each class, in random order, are cut by the quotas."""
    quotas = _compute_quotas(np.bincount(labels), fractions, rng)
    part_indices = np.arange(quotas.shape[1], dtype=np.int8)
    class_by_class = np.lexsort((rng.random(len(labels)), labels))
    assignment = np.empty(len(labels), np.int8)
    assignment[class_by_class] = np.repeat(np.tile(part_indices, len(quotas)), quotas.ravel())
    return assignment


def _compute_quotas(rows_per_class: np.ndarray, fractions: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Return the rows of each class in each part, [classes, parts] int64, by the largest remainder method."""
    exact = np.round(rows_per_class[:, None] * np.array([0.0, *fractions]), 6)  # 0.29 * 100 is slightly below 29
    quotas: np.ndarray = np.floor(exact).astype(np.int64)
    available = rows_per_class - quotas.sum(axis=1) - 1
    for part, fraction in enumerate(fractions, start=1):
        remainders = exact[:, part] - quotas[:, part]
        missing = floor(rows_per_class.sum() * fraction + 0.5) - quotas[:, part].sum()
        order = np.lexsort((rng.random(len(available)), -rows_per_class, -remainders))
        rounded_up = order[(available[order] > 0) & (remainders[order] > 0)][: max(0, missing)]
        quotas[rounded_up, part] += 1
        available[rounded_up] -= 1
    quotas[:, 0] = rows_per_class - quotas.sum(axis=1)
    return quotas


# --- assignment of whole groups


@dataclass(frozen=True)
class _GroupCounts:
    """Rows of each class in each group: group g has `counts[starts[g]:starts[g + 1]]` rows of these `classes`."""

    starts: Sequence[int]
    classes: Sequence[int]
    counts: Sequence[int]

    def of_group(self, group: int) -> list[tuple[int, int]]:
        """Return the classes of a group with their number of rows."""
        return [(self.classes[i], self.counts[i]) for i in range(self.starts[group], self.starts[group + 1])]


def _assign_groups(
    labels: np.ndarray, groups: np.ndarray, fractions: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """Return the part of each row, [rows] int8. Greedy, like scikit-learn's StratifiedGroupKFold.

    The largest and most uneven groups come first. A group goes to the part where the squared deviations from the
    requested rows of each class and of all classes together, each divided by the requested number, grow least:
    chi-square, and with one class the Sainte-Laguë method.
    """
    rows_per_class = np.bincount(labels)
    cells, counts = np.unique(groups.astype(np.int64) * len(rows_per_class) + labels, return_counts=True)
    owners, classes = np.divmod(cells, len(rows_per_class))
    starts = np.searchsorted(owners, np.arange(owners[-1] + 2))
    sizes = np.bincount(owners, counts.astype(np.float64) ** 2)
    order = np.lexsort((rng.random(len(sizes)), -np.floor(np.log2(np.maximum(sizes, 1)))))
    group_counts = _GroupCounts(starts.tolist(), classes.tolist(), counts.tolist())
    part_of_group = _assign_greedily(order.tolist(), group_counts, rows_per_class.tolist(), fractions)
    assignment: np.ndarray = part_of_group[groups]
    return assignment


def _assign_greedily(
    order: Sequence[int], group_counts: _GroupCounts, rows_per_class: Sequence[int], fractions: Sequence[float]
) -> np.ndarray:
    """Return the part of each group, [groups] int8. Groups are assigned in this order."""
    weights = [1 / fraction for fraction in (1 - sum(fractions), *fractions)]
    assigned = [[0] * len(rows_per_class) for _ in weights]
    totals = [0] * len(weights)
    available = list(rows_per_class)  # rows of each class that are in train or not assigned yet
    row_count = sum(rows_per_class)
    part_of_group = np.zeros(len(order), np.int8)
    for group in order:
        class_counts = group_counts.of_group(group)
        size = sum(count for _, count in class_counts)
        best = 0
        if all(available[c] > count for c, count in class_counts):
            costs = []
            for weight, part_rows, total in zip(weights, assigned, totals, strict=True):
                class_cost = sum(count * (2 * part_rows[c] + count) / rows_per_class[c] for c, count in class_counts)
                costs.append(weight * (class_cost + size * (2 * total + size) / row_count))
            best = costs.index(min(costs))
        for c, count in class_counts:
            assigned[best][c] += count
            if best:
                available[c] -= count
        totals[best] += size
        part_of_group[group] = best
    return part_of_group


# --- checks


def _check_part_sizes(
    name: str,
    assignment: np.ndarray,
    fractions: Mapping[str, float],
    labels: np.ndarray,
    grouping: tuple[str, np.ndarray] | None,
) -> None:
    """Raise errors.DataError for a part without rows; warn of a part much larger or smaller than requested.

    `grouping` has the column of the groups and the group of each row; None without groups.
    """
    part_rows = np.bincount(assignment, minlength=len(fractions) + 1).tolist()
    total = len(assignment)
    problems: list[errors.Problem] = []
    for (part, fraction), rows in zip(fractions.items(), part_rows[1:], strict=True):
        if rows:
            if abs(rows - fraction * total) > MAX_SHARE_DEVIATION * fraction * total:
                _warn_share_missed(part, fraction, rows, total, None if grouping is None else grouping[0])
        elif grouping is None:
            can_divide = bool((np.bincount(labels) > 1).any())
            problems.append(errors.no_row_for_split(name, part, fraction, total, can_divide))
        else:
            group, groups = grouping
            sizes = np.unique(groups, return_counts=True)[1].tolist()
            can_divide = _has_movable_group(labels, groups)
            problems.append(errors.no_group_for_split(name, part, fraction, group, sizes, can_divide))
    if problems:
        raise errors.DataError(problems)


def _has_movable_group(labels: np.ndarray, groups: np.ndarray) -> bool:
    """Return whether there is a group without which each class still has a row."""
    rows_per_class = np.bincount(labels)
    cells, counts = np.unique(groups.astype(np.int64) * len(rows_per_class) + labels, return_counts=True)
    owners, classes = np.divmod(cells, len(rows_per_class))
    return len(np.unique(owners)) > len(np.unique(owners[counts == rows_per_class[classes]]))


def _warn_share_missed(part: str, fraction: float, rows: int, total: int, group: str | None) -> None:
    reason = "each class keeps a row in train" if group is None else f"rows of the same '{group}' stay together"
    log.warning(
        "%s has %d of %d rows (%.1f %%) instead of %.1f %% as set by %s_fraction, because %s.",
        *(part, rows, total, 100 * rows / total, 100 * fraction, part, reason),
    )
