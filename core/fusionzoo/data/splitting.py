"""Divide one channel into train, val and test: stratified by label, seeded, and never through a group."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.labels import refuse_null
from fusionzoo.data.reading.channel import Channel, Format, PartFile, Rows
from fusionzoo.data.table.categories import canonical_category

log = logging.getLogger(__name__)

TRAIN = "train"
MOST_MISSED = 0.2  # of a share that was asked for, before a user is warned


@dataclass(frozen=True)
class SplitPart:
    """The rows of a channel that belong to one split. Iterating it reads them, as often as wanted."""

    channel: Channel
    name: str
    side: int
    sides: np.ndarray = field(repr=False, compare=False)  # [rows of the channel] int8, shared by its parts

    @property
    def files(self) -> tuple[PartFile, ...]:
        """The channel's part files, which hold the rows of the other parts, too."""
        return self.channel.files

    @property
    def format(self) -> Format:
        """The format of the channel's first part file."""
        return self.channel.format

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return self.channel.columns

    @property
    def identity(self) -> str:
        """A text that is the same exactly where the same rows of the channel are chosen."""
        return hashlib.sha256(np.packbits(self.sides == self.side).tobytes()).hexdigest()

    def __iter__(self) -> Iterator[Rows]:
        """The part's rows, in the channel's order.

        Raises:
            errors.DataError: as the channel does; or it has other rows than when it was divided.
        """
        at = 0
        for rows in self.channel:
            sides = self.sides[at : at + len(rows)]
            at += len(rows)
            if at > len(self.sides):
                break
            chosen = sides == self.side
            if chosen.any():
                yield rows.where(chosen)
        if at != len(self.sides):
            raise errors.DataError([errors.channel_changed(self.channel.name)])


def split_channel(
    channel: Channel, shares: Mapping[str, float], label: str, seed: int, group: str | None = None
) -> dict[str, SplitPart]:
    """`channel` as the parts "train", which gets the rest, and one for each of `shares`, such as {"val": 0.1}.

    Only the columns `label` and `group` are read, once. That takes up to 40 bytes per row and an entry per class and
    group; the parts keep one byte per row. Their rows depend on the rows' order and the seed alone.

    Without a group, each class has its share of rows in each part, to within one row, but its last row stays in train.
    With one, all rows of a group are in one part: the largest groups first, each goes where the shares of rows and of
    classes come nearest to what was asked for; of groups of about the same size the seed decides which is first. A row
    whose group is null is a group of its own.

    Raises:
        errors.DataError: the columns are not there, a label is null, or there are too few rows or groups for the
            shares.
    """
    names = (TRAIN, *shares)
    labels, groups = _read(channel, label, group)
    random = np.random.default_rng(seed)
    if groups is None:
        sides = _by_row(labels, list(shares.values()), random)
    else:
        sides = _by_group(labels, groups, list(shares.values()), random)
    _check(channel.name, sides, shares, group, groups)
    return {name: SplitPart(channel, name, side, sides) for side, name in enumerate(names)}


# --- reading


class _Codes:
    """Numbers for a column's values, in the order in which they come; canonical text, so that "3" and 3.0 are one."""

    def __init__(self) -> None:
        self._numbers: dict[str | None, int] = {}
        self._blocks: list[np.ndarray] = []

    def add(self, text: pa.Array) -> None:
        """Number a block; null has a number, too."""
        encoded = text.dictionary_encode("encode")
        own = [self._numbers.setdefault(value, len(self._numbers)) for value in encoded.dictionary.to_pylist()]
        self._blocks.append(np.array(own, np.int32)[encoded.indices.to_numpy()])

    def all(self) -> np.ndarray:
        """[rows] int32."""
        return np.concatenate([np.zeros(0, np.int32), *self._blocks])

    def each_null_apart(self) -> np.ndarray:
        """[rows] int32, each null with a number of its own."""
        codes = self.all()
        null = codes == self._numbers.get(None, -1)
        codes[null] = len(self._numbers) + np.arange(null.sum(), dtype=np.int32)
        return codes


def _read(channel: Channel, label: str, group: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Each row's class, and its group where there is one, as numbers [rows] int32."""
    columns = dict.fromkeys([label] if group is None else [label, group])
    labels, groups, problems = _Codes(), _Codes(), errors.ProblemLog()
    with problems.kept():
        for rows in channel.with_columns(list(columns)):
            with problems.kept():
                text = canonical_category(rows, label)
                refuse_null(rows, label, text)
                labels.add(text)
            if group is not None:
                with problems.kept():
                    groups.add(canonical_category(rows, group))
    problems.raise_if_any()
    found = labels.all()
    if not len(found):
        raise errors.DataError([errors.no_rows(channel.name)])
    return found, None if group is None else groups.each_null_apart()


# --- rows apart


def _by_row(labels: np.ndarray, shares: Sequence[float], random: np.random.Generator) -> np.ndarray:
    """Each row's side [rows] int8: in each class, a random order is cut where the quotas say."""
    quotas = _quotas(np.bincount(labels), shares, random)
    all_sides = np.arange(quotas.shape[1], dtype=np.int8)
    class_after_class = np.lexsort((random.random(len(labels)), labels))
    sides = np.empty(len(labels), np.int8)
    sides[class_after_class] = np.repeat(np.tile(all_sides, len(quotas)), quotas.ravel())
    return sides


def _quotas(per_class: np.ndarray, shares: Sequence[float], random: np.random.Generator) -> np.ndarray:
    """Rows of each class on each side, [classes, train and shares] int64: the method of the largest remainder."""
    wanted = np.round(per_class[:, None] * np.array([0.0, *shares]), 6)  # 0.29 * 100 is a little less than 29
    quotas: np.ndarray = np.floor(wanted).astype(np.int64)
    room = per_class - quotas.sum(axis=1) - 1
    for side, share in enumerate(shares, start=1):
        remainders = wanted[:, side] - quotas[:, side]
        missing = floor(per_class.sum() * share + 0.5) - quotas[:, side].sum()
        order = np.lexsort((random.random(len(room)), -per_class, -remainders))
        more = order[(room[order] > 0) & (remainders[order] > 0)][: max(0, missing)]
        quotas[more, side] += 1
        room[more] -= 1
    quotas[:, 0] = per_class - quotas.sum(axis=1)
    return quotas


# --- groups whole


def _by_group(
    labels: np.ndarray, groups: np.ndarray, shares: Sequence[float], random: np.random.Generator
) -> np.ndarray:
    """Each row's side: greedy over groups, the largest and most uneven first, as scikit-learn's StratifiedGroupKFold.

    A group goes to the side where the squared deviations from the wanted rows of each class, and of all together,
    each divided by what is wanted, grow least: chi-square, and with one class Sainte-Lague's method of seats.
    """
    per_class = np.bincount(labels)
    cells, counts = np.unique(groups.astype(np.int64) * len(per_class) + labels, return_counts=True)
    owners, classes = np.divmod(cells, len(per_class))
    starts = np.searchsorted(owners, np.arange(owners[-1] + 2)).tolist()
    sizes = np.bincount(owners, counts.astype(np.float64) ** 2)
    order = np.lexsort((random.random(len(sizes)), -np.floor(np.log2(np.maximum(sizes, 1)))))
    sides = _greedy(order.tolist(), starts, classes.tolist(), counts.tolist(), per_class.tolist(), shares)
    by_row: np.ndarray = sides[groups]
    return by_row


def _greedy(
    order: Sequence[int],
    starts: Sequence[int],
    classes: Sequence[int],
    counts: Sequence[int],
    per_class: Sequence[int],
    shares: Sequence[float],
) -> np.ndarray:
    """Each group's side [groups] int8; group g holds `counts[starts[g]:starts[g + 1]]` rows of these `classes`."""
    weights = [1 / share for share in (1 - sum(shares), *shares)]
    placed = [[0] * len(per_class) for _ in weights]
    totals = [0] * len(weights)
    left = list(per_class)  # rows of each class that are in train or may still come there
    rows = sum(per_class)
    sides = np.zeros(len(order), np.int8)
    for group in order:
        held = [(classes[i], counts[i]) for i in range(starts[group], starts[group + 1])]
        size = sum(count for _, count in held)
        best = 0
        if all(left[c] > count for c, count in held):
            costs = []
            for weight, own, total in zip(weights, placed, totals, strict=True):
                uneven = sum(count * (2 * own[c] + count) / per_class[c] for c, count in held)
                costs.append(weight * (uneven + size * (2 * total + size) / rows))
            best = costs.index(min(costs))
        for c, count in held:
            placed[best][c] += count
            if best:
                left[c] -= count
        totals[best] += size
        sides[group] = best
    return sides


# --- checks


def _check(
    name: str, sides: np.ndarray, shares: Mapping[str, float], group: str | None, groups: np.ndarray | None
) -> None:
    """Refuse a part without rows, and warn of one that is much larger or smaller than was asked for."""
    found = np.bincount(sides, minlength=len(shares) + 1).tolist()
    problems: list[errors.Problem] = []
    for (part, share), rows in zip(shares.items(), found[1:], strict=True):
        if rows:
            if abs(rows - share * len(sides)) > MOST_MISSED * share * len(sides):
                log.warning(errors.share_missed(part, share, rows, len(sides), group))
        elif group is None or groups is None:
            problems.append(errors.no_row_for_part(name, part, share, len(sides)))
        else:
            sizes = np.unique(groups, return_counts=True)[1].tolist()
            problems.append(errors.no_group_for_part(name, part, share, len(sides), group, sizes))
    if problems:
        raise errors.DataError(problems)
