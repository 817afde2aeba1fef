"""Copy the weights of a trained model into a new one: rows of embeddings and outputs by value, not by position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.table.categories import FIRST_VALUE_ID
from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.data.targets.label_sets import LabelSets
from fusionzoo.errors.wording import cut, join_first, pluralize
from fusionzoo.training.warm_start.parameter_axes import INTEGER, Axis, TensorLayout

MAX_NAMED = 5  # values in a log line


@dataclass(frozen=True)
class ModelSide:
    """A model's preprocessor, and the layout of the tensors of its state."""

    preprocessor: Preprocessor
    layouts: Mapping[str, TensorLayout]

    @property
    def columns(self) -> tuple[list[str], list[str]]:
        """The names of the category and of the number columns."""
        preprocessor = self.preprocessor
        return [c.name for c in preprocessor.categories], [n.name for n in preprocessor.numbers]

    @cached_property
    def values(self) -> dict[Axis, list[str | None]]:
        """Return what each id of each axis stands for; None for an id without a meaning of its own."""
        preprocessor = self.preprocessor
        values: dict[Axis, list[str | None]] = {
            Axis("category", c.name): [*(f"\0{i}" for i in range(FIRST_VALUE_ID)), *c.values]
            for c in preprocessor.categories
        }
        values[Axis("output")] = list(preprocessor.target.output_names)
        if preprocessor.text is not None:
            tokens = values[Axis("token")] = [None] * preprocessor.text.tokenizer.vocab_size
            for token, number in preprocessor.text.tokenizer.backend.get_vocab(with_added_tokens=True).items():
                tokens[number] = token
        return values


@dataclass
class Transfer:
    """What a new model takes from a trained one.

    Attributes:
        weights: the tensors to load.
        reused: the names of tensors that are taken completely.
        partly_reused: what is taken, by the name of the tensor.
        new: why nothing is taken, by the name of the tensor.
        not_used: the names of tensors of the trained model that the new one has no use for.
    """

    weights: dict[str, Tensor] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)
    partly_reused: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)
    not_used: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return what metrics.json states."""
        names = ("reused", "partly_reused", "new", "not_used")
        return {name: getattr(self, name) for name in names}

    def describe(self) -> str:
        """Return the log line about the tensors: how many are reused, and why others are new."""
        reasons = Counter("another shape" if "its shape is [" in each else each for each in self.new.values())
        why = "; ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
        counts = f"{len(self.reused)} reused, {len(self.partly_reused)} partly reused, {len(self.new)} new"
        total = pluralize(len(self.reused) + len(self.partly_reused) + len(self.new), "tensor")
        unused = f"; {len(self.not_used)} of the trained model not used" if self.not_used else ""
        return f"{total}: {counts}{f' ({why})' if why else ''}{unused}"

    def takes_from(self, axis: Axis, layouts: Mapping[str, TensorLayout]) -> bool:
        """Return whether a tensor that the values of this axis index is reused, at least in part."""
        return any(axis in layouts[name].axes for name in (*self.reused, *self.partly_reused))


def transfer_weights(
    fresh: Mapping[str, Tensor], new: ModelSide, trained: Mapping[str, Tensor], old: ModelSide
) -> Transfer:
    """Return the state of a new model that takes what it can from a trained one.

    Args:
        fresh: the state of the new model, freshly initialized.
        new: the new model.
        trained: the state of the trained model.
        old: the trained model.
    """
    transfer, used = Transfer(), set()
    old_names = {_generalize(name, layout): name for name, layout in old.layouts.items()}
    values, old_values = new.values, old.values
    for name, layout in new.layouts.items():
        old_name = old_names.get(_generalize(name, layout))
        source = None if old_name is None else trained.get(old_name)
        if old_name is not None:
            used.add(old_name)
        if layout.is_fitted and source is not None:
            is_equal = source.shape == fresh[name].shape and torch.equal(source, fresh[name])
            if not is_equal:
                transfer.new[name] = "statistics of the training data"
                continue
        reason = _find_obstacle(layout, source, new, old)
        if reason is not None or source is None:
            transfer.new[name] = reason or "the trained model does not have it"
            continue
        pairs = {axis: match_ids(values[axis], old_values[axis]) for axis in layout.axes if axis is not None}
        taken = [
            pairs[axis] if axis is not None else (torch.arange(size), torch.arange(size))
            for axis, size in zip(layout.axes, layout.shape, strict=True)
        ]
        _take(transfer, name, fresh[name], source, taken)
        if name in transfer.partly_reused:
            transfer.partly_reused[name] = _describe_axes(layout, pairs)
    transfer.not_used = sorted(trained.keys() - used)
    return transfer


def describe_values(transfer: Transfer, new: ModelSide, old: ModelSide) -> Iterator[str]:
    """Yield log lines in the words of the data: which classes, columns, categories and tokens are reused or new."""
    values, old_values = new.values, old.values
    for axis in sorted(values, key=lambda axis: axis.kind != "output"):  # classes first
        if not any(axis in layout.axes for layout in new.layouts.values()):
            continue  # the model has no weights for each of these values
        names, old_names = (_list_names(each.get(axis, [])) for each in (values, old_values))
        title = {"output": "outputs", "token": "tokens"}.get(axis.kind, f"values of '{axis.column}'")
        if axis.kind == "output" and isinstance(new.preprocessor.target, LabelMap | LabelSets):
            title = "classes"
        reused = [name for name in names if name in old_names] if transfer.takes_from(axis, new.layouts) else []
        yield f"{title}: {len(reused):,} reused{_describe_rest(names, old_names, reused)}"
    columns, old_columns = ({name: None for kind in side.columns for name in kind} for side in (new, old))
    if new.columns != old.columns:
        both = [name for name in columns if name in old_columns]
        rest = _describe_rest(columns, old_columns, both)
        yield f"columns: {len(both):,} in both models{rest}; the layers that join all columns are new"


def _list_names(values: Sequence[str | None]) -> dict[str, None]:
    """Return the values without those that have no meaning of their own, in their order."""
    return {value: None for value in values if value is not None and not value.startswith("\0")}


def _describe_rest(names: Mapping[str, None], old_names: Mapping[str, None], reused: Sequence[str]) -> str:
    """Return the end of a line: what is new, and what of the trained model is not used."""
    known = set(reused)
    sides = (("new", names), ("not used", old_names))
    rest = {title: [f"'{cut(name, 60)}'" for name in each if name not in known] for title, each in sides}
    return "".join(f"; {title}: {join_first(each, MAX_NAMED)}" for title, each in rest.items() if each)


def _generalize(name: str, layout: TensorLayout) -> str | tuple[str, tuple[Axis | None, ...]]:
    """Return what a tensor of the same column has in common in both models: its position in a list may differ."""
    return (INTEGER.sub("*", name), layout.axes) if layout.is_of_category else name


def _find_obstacle(layout: TensorLayout, source: Tensor | None, new: ModelSide, old: ModelSide) -> str | None:
    """Return why nothing can be taken from a tensor of the trained model; None if something can."""
    if source is None:
        return "the trained model does not have it"
    if layout.depends_on_columns and new.columns != old.columns:
        return "the table has other columns"
    if layout.depends_on_sizes and new.values != old.values:
        return "its shape depends on vocabularies that differ"
    sizes = [
        size if axis is None else len(old.values.get(axis, ()))
        for size, axis in zip(layout.shape, layout.axes, strict=True)
    ]
    if list(source.shape) != sizes:
        return f"its shape is {list(layout.shape)}, and that of the trained model is {list(source.shape)}"
    return None


def match_ids(new: Sequence[str | None], old: Sequence[str | None]) -> tuple[Tensor, Tensor]:
    """Return the ids of the values that both have: in the new model and in the old one, each [values] int64."""
    positions = {value: number for number, value in enumerate(old) if value is not None}
    pairs = [(number, positions[value]) for number, value in enumerate(new) if value in positions]
    ids = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return ids[:, 0], ids[:, 1]


def _take(transfer: Transfer, name: str, fresh: Tensor, source: Tensor, taken: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Copy the matching ids of every dimension from `source` into a copy of `fresh`."""
    if any(len(ids) == 0 for ids, _ in taken):
        transfer.new[name] = "no value is in both vocabularies"
        return
    value = fresh.clone()
    value[_make_grid([ids for ids, _ in taken])] = source[_make_grid([ids for _, ids in taken])].to(fresh.dtype)
    transfer.weights[name] = value
    if all(len(ids) == size for (ids, _), size in zip(taken, fresh.shape, strict=True)):
        transfer.reused.append(name)
    else:
        transfer.partly_reused[name] = ""


def _make_grid(ids: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return indices that select the product of the ids of every dimension."""
    return tuple(each.reshape([-1 if d == number else 1 for d in range(len(ids))]) for number, each in enumerate(ids))


def _describe_axes(layout: TensorLayout, pairs: Mapping[Axis, tuple[Tensor, Tensor]]) -> str:
    parts = []
    for size, axis in zip(layout.shape, layout.axes, strict=True):
        if axis is not None:
            of = f"ids of {axis.column}" if axis.kind == "category" else f"{axis.kind}s"
            parts.append(f"{len(pairs[axis][0]):,} of {size:,} {of}")
    return ", ".join(parts)
