"""Objects that the analyzed program can change, and which remembered results such a change makes invalid."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fusionzoo.contracts.static.atoms import Token
from fusionzoo.contracts.static.budget import MAX_ITEMS
from fusionzoo.contracts.static.values import Atom, Class, Instance, Mapping, Sequence, Text, Tuple, Value, join


class Heap:
    """Creates and changes objects. A change in a branch that may not run keeps the earlier value as an alternative."""

    def __init__(self) -> None:
        self.token = Token()
        self._clock = 0
        self._changes: list[tuple[int, int]] = []  # (time, serial of the changed object); both increase

    def tick(self) -> int:
        """Return a new serial number, which is also a time."""
        self._clock += 1
        return self._clock

    @contextmanager
    def branch(self) -> Iterator[None]:
        """In the block, the program may or may not run."""
        before = self.token
        self.token = Token(before)
        try:
            yield
        finally:
            self.token = before

    def is_unchanged_since(self, time: int) -> bool:
        """Return whether nothing that existed at this time has changed since then."""
        position = bisect_right(self._changes, (time, self._clock))
        return position == len(self._changes) or self._changes[position][1] > time

    def record_change(self, serial: int) -> None:
        """Record that the object with this serial number has another value now."""
        time = self.tick()
        while self._changes and self._changes[-1][1] >= serial:
            self._changes.pop()
        self._changes.append((time, serial))

    def is_sure(self, token: Token | None) -> bool:
        """Return whether a change now happens in every run in which an object of this branch exists."""
        return token is not None and token.is_inside(self.token)

    def sequence(self, items: Iterable[Value] = (), is_exact: bool = True, kind: str = "list") -> Sequence:
        """Return a new list, set or iterator."""
        found = Sequence([], self.tick(), self.token, is_exact, kind)
        for item in items:
            self._add(found, item)
        return found

    def mapping(self, entries: dict[Atom, Value] | None = None, rest: Value = ()) -> Mapping:
        """Return a new dict."""
        return Mapping(dict(entries or {}), self.tick(), self.token, rest=rest)

    def instance(self, owner: Class | None, kind: str = "") -> Instance:
        """Return a new object without attributes."""
        return Instance(owner, {}, self.tick(), self.token, kind)

    def copy(self, atom: Atom) -> Atom:
        """Return a copy of a list or dict; anything else as it is."""
        if isinstance(atom, Sequence):
            return Sequence(list(atom.items), self.tick(), self.token, atom.is_exact, atom.kind)
        if isinstance(atom, Mapping):
            return Mapping(dict(atom.entries), self.tick(), self.token, set(atom.optional), atom.rest)
        return atom

    def append(self, sequence: Sequence, item: Value) -> None:
        """Add an item at the end of a sequence."""
        if not self.is_sure(sequence.token) and sequence.is_exact:
            sequence.is_exact = False
            self.record_change(sequence.serial)
        if sequence.is_exact or item not in sequence.items:
            self.record_change(sequence.serial)
            self._add(sequence, item)

    def _add(self, sequence: Sequence, item: Value) -> None:
        if len(sequence.items) < MAX_ITEMS:
            sequence.items.append(item)
        else:
            sequence.is_exact = False
            sequence.items[-1] = join(sequence.items[-1], item)

    def remove(self, sequence: Sequence, position: int) -> None:
        """Remove an item of a sequence that is exact."""
        del sequence.items[position]
        self.record_change(sequence.serial)

    def set_attribute(self, target: Instance | Class, name: str, value: Value) -> None:
        """Set an attribute."""
        before = target.attributes.get(name)
        if before is not None and not self.is_sure(target.token):
            value = join(before, value)
        if before != value:
            target.attributes[name] = value
            self.record_change(target.serial)

    def set_item(self, target: Mapping, key: Atom | None, value: Value) -> None:
        """Set the value of a key; None stands for a key that is not known."""
        if key is None or (key not in target.entries and len(target.entries) >= MAX_ITEMS):
            before, after = target.rest, join(target.rest, value)
            target.rest = after
        else:
            before, after = target.entries.get(key, ()), value
            if not self.is_sure(target.token):
                after = join(before, value)
                if not before:
                    target.optional.add(key)
            else:
                target.optional.discard(key)
            target.entries[key] = after
        if target.owner is not None and isinstance(key, Text):
            self.set_attribute(target.owner, key.value, value)
        if before != after:
            self.record_change(target.serial)

    def forget_order(self, sequence: Sequence) -> None:
        """Make a sequence inexact: its items are known, but not their number and order."""
        if sequence.is_exact:
            sequence.is_exact = False
            self.record_change(sequence.serial)


def items_of(atom: Atom) -> list[Value] | None:
    """Return the items of a tuple, sequence or dict (its keys); None for anything else."""
    if isinstance(atom, Tuple):
        return list(atom.items)
    if isinstance(atom, Sequence):
        return list(atom.items)
    if isinstance(atom, Mapping):
        return [(key,) for key in atom.entries]
    return None
