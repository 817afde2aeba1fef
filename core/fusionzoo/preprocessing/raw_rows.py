"""The rows to split: all columns of a file or folder, and the split of each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusionzoo.data.reading.channel import Channel, open_path
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.splitting import read_assigned_rows, split_channel
from fusionzoo.data.targets.target_choice import choose_target
from fusionzoo.settings import JobSettings


@dataclass(frozen=True)
class SplitRows:
    """The rows of the raw data with the split of each of them. Iterating reads the files; it can be repeated.

    Attributes:
        channel: the raw data, with all of its columns.
        names: the names of the splits.
        assignment: the position in `names` of each row's split, [rows] int8.
    """

    channel: Channel
    names: tuple[str, ...]
    assignment: np.ndarray

    def __iter__(self) -> Iterator[tuple[Rows, np.ndarray]]:
        """Return an iterator over blocks of rows, with the position of each row's split, [rows] int8.

        Raises:
            errors.DataError: the data cannot be read, or its number of rows has changed since it was divided.
        """
        return read_assigned_rows(self.channel, self.assignment)

    def count_rows(self) -> dict[str, int]:
        """Return the number of rows of each split."""
        counts = np.bincount(self.assignment, minlength=len(self.names)).tolist()
        return dict(zip(self.names, counts, strict=True))


def open_raw_data(path: Path, settings: JobSettings) -> Channel:
    """Open a file or folder with all of its columns. Each part file must have all of them.

    Raises:
        errors.DataError: there is no data, a part file cannot be read, or lacks a column that another one or an
            argument names.
    """
    named = [*settings.label_columns, *([settings.id_name] if settings.id_name else [])]
    named += [settings.group_field] if settings.group_field else []
    channel = open_path(path, named, ReadOptions.from_settings(settings))
    channel.with_columns(list(dict.fromkeys(named)))
    return channel.with_columns(channel.list_all_columns())


def split_rows(channel: Channel, settings: JobSettings) -> SplitRows:
    """Divide the rows into train and the splits that have a fraction.

    Raises:
        errors.DataError: a label is null or invalid, or there are too few rows or groups for the fractions.
    """
    shares: Mapping[str, float | None] = {"val": settings.val_fraction, "test": settings.test_fraction}
    fractions = {name: fraction for name, fraction in shares.items() if fraction is not None}
    strata = choose_target(settings).strata()
    parts = split_channel(channel, fractions, strata, settings.seed, settings.group_field)
    return SplitRows(channel, tuple(parts), next(iter(parts.values())).assignment)
