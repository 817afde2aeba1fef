"""Find out which dimension of a parameter is indexed by category values, tokens or outputs, for any architecture.

The architecture is built again from input specifications that differ in one respect, and the shapes are compared. So
no plugin has to declare anything.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fusionzoo.architecture import Architecture
from fusionzoo.errors import ZooError
from fusionzoo.nn.schema import CategoryField, InputSpec, NumberField
from fusionzoo.training.checkpointing.random_state import get_random_state, seed_everything, set_random_state

log = logging.getLogger(__name__)

OTHER_COLUMN = "\0other column"  # not the name of a column
INTEGER = re.compile(r"(?<![^.])\d+(?![^.])")  # a part of a name, as of the modules in a ModuleList
FIRST_STEP, STEP = 3, 2  # the sizes of the axes grow by 3, 5, 7, ..., so that a growth identifies its axis


class Axis(NamedTuple):
    """What the ids along a dimension stand for: `output`, `token`, or `category` with the name of its column."""

    kind: str
    column: str = ""


@dataclass(frozen=True)
class TensorLayout:
    """How a tensor of a model's state depends on the inputs.

    Attributes:
        shape: its shape.
        axes: for each dimension the axis whose ids index it; None if there is none.
        depends_on_sizes: whether its shape depends on the sizes of axes in another way.
        depends_on_columns: whether it differs for a table with other columns.
        is_fitted: whether it is a buffer with statistics of the training data, which are not learned.
    """

    shape: tuple[int, ...]
    axes: tuple[Axis | None, ...]
    depends_on_sizes: bool = False
    depends_on_columns: bool = False
    is_fitted: bool = False

    @property
    def is_of_category(self) -> bool:
        """Whether the values of a category column index a dimension."""
        return any(axis is not None and axis.kind == "category" for axis in self.axes)


def describe_tensors(architecture: Architecture, spec: InputSpec) -> dict[str, TensorLayout]:
    """Return the layout of each tensor in the state of the model; the random state stays as it is."""
    state = get_random_state()
    try:
        built = _build(architecture, spec)
        buffers = {name: value.clone() for name, value in built.named_buffers()}
        shapes = _get_shapes(built)
        del built
        axes = list_axis_sizes(spec)
        grown = _try_shapes(architecture, [_grow(spec, axes), _grow(spec, axes.keys() - {Axis("token")})])
        with_columns = _try_shapes(architecture, [_add_columns(spec)])
        refitted = dict(_build(architecture, _refit(spec)).named_buffers()) if buffers else {}
    finally:
        set_random_state(state)
    sizes = list_axis_sizes(spec)
    column_lists = {INTEGER.sub("*", name) for name in with_columns.keys() - shapes.keys()}
    layouts = {name: _compare_shapes(shape, grown.get(name), sizes) for name, shape in shapes.items()}
    return {
        name: replace(
            layout,
            depends_on_columns=with_columns.get(name) != layout.shape
            or (INTEGER.sub("*", name) in column_lists and not layout.is_of_category),
            is_fitted=name in buffers and not _equal(buffers[name], refitted.get(name)),
        )
        for name, layout in layouts.items()
    }


def list_axis_sizes(spec: InputSpec) -> dict[Axis, int]:
    """Return the number of ids of each axis."""
    sizes = {Axis("output"): spec.num_outputs}
    if spec.text is not None:
        sizes[Axis("token")] = spec.text.vocab_size
    return sizes | {Axis("category", field.name): field.cardinality for field in spec.categories}


def _grow(spec: InputSpec, axes: Iterable[Axis]) -> InputSpec:
    """Return the spec with a larger size of these axes; each grows by a number of its own."""
    chosen, steps = set(axes), _choose_steps(list_axis_sizes(spec))
    steps = {axis: step if axis in chosen else 0 for axis, step in steps.items()}
    text = spec.text
    if text is not None:
        step = steps[Axis("token")]
        vectors = text.embeddings
        padded = None if vectors is None else torch.cat([vectors, vectors.new_zeros(step, vectors.shape[1])])
        text = replace(text, vocab_size=text.vocab_size + step, embeddings=padded)
    return replace(
        spec,
        text=text,
        categories=tuple(
            CategoryField(field.name, field.cardinality + steps[Axis("category", field.name)])
            for field in spec.categories
        ),
        num_outputs=spec.num_outputs + steps[Axis("output")],
    )


def _choose_steps(axes: Iterable[Axis]) -> dict[Axis, int]:
    return {axis: FIRST_STEP + STEP * number for number, axis in enumerate(axes)}


def _add_columns(spec: InputSpec) -> InputSpec:
    number = NumberField(OTHER_COLUMN, 0.0, 1.0, (-1.0, 0.0, 1.0))
    category = CategoryField(OTHER_COLUMN, 3)
    return replace(spec, categories=(*spec.categories, category), numbers=(*spec.numbers, number))


def _refit(spec: InputSpec) -> InputSpec:
    """Return the spec of other training data, with the same sizes."""
    text = spec.text
    if text is not None and text.embeddings is not None:
        text = replace(text, embeddings=text.embeddings + 1)
    numbers = tuple(
        replace(n, mean=n.mean + 1, std=2 * n.std, edges=tuple(1.5 * edge for edge in n.edges)) for n in spec.numbers
    )
    return replace(spec, text=text, numbers=numbers)


def _build(architecture: Architecture, spec: InputSpec) -> nn.Module:
    seed_everything(architecture.job.seed)  # so that buffers with random numbers are equal
    return architecture.build(spec).model


def _try_shapes(architecture: Architecture, specs: Sequence[InputSpec]) -> dict[str, tuple[int, ...]]:
    """Return the shapes for the first of the specs that the architecture accepts; empty if it accepts none.

    A pretrained encoder, for example, refuses more tokens than it has.
    """
    for spec in specs:
        try:
            return _get_shapes(_build(architecture, spec))
        except (ZooError, ValueError) as cause:
            log.debug("The architecture cannot be built from a changed specification: %s", cause)
    return {}


def _get_shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _compare_shapes(shape: tuple[int, ...], grown: tuple[int, ...] | None, sizes: Mapping[Axis, int]) -> TensorLayout:
    if grown is None or len(grown) != len(shape):
        return TensorLayout(shape, (None,) * len(shape), depends_on_sizes=True)
    steps = _choose_steps(sizes)
    axes, is_mixed = [], False
    for size, grown_size in zip(shape, grown, strict=True):
        matching = [axis for axis in sizes if (sizes[axis], steps[axis]) == (size, grown_size - size)]
        axes.append(matching[0] if matching else None)
        is_mixed |= size != grown_size and not matching
    return TensorLayout(shape, tuple(axes), is_mixed)


def _equal(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and one.shape == other.shape and torch.equal(one, other)
