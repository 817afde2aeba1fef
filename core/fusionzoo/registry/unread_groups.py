"""Find distributions with an entry-point group that fusionzoo does not read, but that is like one that it reads."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from importlib_metadata import Distribution

from fusionzoo import errors
from fusionzoo.registry.entry_points import CORE_DISTRIBUTION, GROUP_KINDS
from fusionzoo.registry.providers import normalize_name, read_identity


@dataclass(frozen=True)
class UnreadGroup:
    """A group of entry points of a distribution; `names` are those of its entries."""

    distribution: str
    version: str
    group: str
    names: tuple[str, ...]

    @property
    def owner(self) -> str:
        """The distribution and its version, such as "acme-film 1.0"."""
        return f"{self.distribution} {self.version}".strip()


def find_unread_groups(path: Sequence[str] | None = None) -> Iterator[UnreadGroup]:
    """Yield the groups with a misspelled name, of the distributions that Python imports.

    Args:
        path: the folders to search, by default `sys.path`.
    """
    seen: set[str] = set()
    for dist in Distribution.discover(path=list(sys.path if path is None else path)):
        try:
            entry_points = list(dist.entry_points)
        except Exception:  # noqa: BLE001 - damaged files of any package; those of plugins are a finding of their own
            continue
        name, version = read_identity(dist)
        if normalize_name(name) in seen:
            continue  # another one precedes it on the path
        seen.add(normalize_name(name))
        for group in sorted({entry.group for entry in entry_points} - set(GROUP_KINDS)):
            letters = _letters(group)
            if CORE_DISTRIBUTION in letters or errors.nearest_names(letters, map(_letters, GROUP_KINDS)):
                yield UnreadGroup(name, version, group, tuple(e.name for e in entry_points if e.group == group))


def _letters(group: str) -> str:
    """Return the lower-case letters of a group's name, which a misspelled separator or case does not change."""
    return re.sub(r"[^a-z]", "", group.lower())
