"""List the values of a setting that the checks try: its choices, some numbers, and both in nested settings."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

NUMBERS = {int: (0, -1), float: (0.0, -1.0, 0.5, 1.5)}


@dataclass(frozen=True)
class Variant:
    """A changed value. `path` is the changed part, such as "table.kind", and `part` its value.

    `value` is the value of the whole setting, as plain values.
    """

    path: str
    part: Any
    value: Any

    def inside(self, path: str, value: Any) -> Variant:
        """Return this variant as a part of a setting with this path and value."""
        return Variant(f"{path}.{self.path}".rstrip("."), self.part, value)


def list_variants(name: str, annotation: Any, current: object) -> Iterator[Variant]:
    """Yield variants of a setting with this type and current value; none if it has neither choices nor numbers."""
    for variant in _vary(annotation, current, ()):
        yield variant.inside(name, variant.value)


def _vary(annotation: Any, current: object, parents: tuple[type, ...]) -> Iterator[Variant]:
    """Yield variants, with paths inside the setting. `parents` are the classes that contain it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _vary(arguments[0], current, parents)
    elif origin is Literal:
        yield from _make_variants(arguments)
    elif origin in (Union, UnionType):
        for argument in arguments:
            yield from _vary(argument, current, parents)
    elif isinstance(origin, type) and issubclass(origin, Mapping) and len(arguments) == 2:
        yield from _vary_mapping(arguments[1], current, parents)
    elif isinstance(origin, type) and issubclass(origin, Collection) and len(arguments) in (1, 2):
        yield from _vary_items(arguments[0], current, parents)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from _vary_model(annotation, current, parents)
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        yield from _make_variants([member.value for member in annotation])
    else:
        yield from _make_variants([False, True] if annotation is bool else NUMBERS.get(annotation, ()))


def _make_variants(values: Collection[Any]) -> Iterator[Variant]:
    return (Variant("", value, value) for value in values)


def _vary_mapping(annotation: Any, current: object, parents: tuple[type, ...]) -> Iterator[Variant]:
    """Yield variants with another value of the first key."""
    if isinstance(current, Mapping) and current:
        key, item = next(iter(current.items()))
        for variant in _vary(annotation, item, parents):
            yield variant.inside(str(key), {**current, key: variant.value})


def _vary_items(annotation: Any, current: object, parents: tuple[type, ...]) -> Iterator[Variant]:
    """Yield the empty list, and lists of one item."""
    items = list(current) if isinstance(current, Collection) and not isinstance(current, str | Mapping) else []
    variants = list(_vary(annotation, items[0] if items else None, parents))
    if variants:
        yield Variant("", [], [])
    for variant in variants:
        if variant.path:
            yield variant.inside("0", [variant.value])
        else:
            yield Variant("", [variant.part], [variant.value])


def _vary_model(model: type[BaseModel], current: object, parents: tuple[type, ...]) -> Iterator[Variant]:
    """Yield variants with another value of one field; if the setting has no such model now, also its defaults."""
    if model in parents:
        return
    base = current if isinstance(current, model) else _create(model)
    if base is None:
        return
    values = {name: getattr(base, name) for name in model.model_fields}
    if base is not current:
        yield Variant("", values, values)
    for name, field in model.model_fields.items():
        for variant in _vary(field.annotation, values[name], (*parents, model)):
            if variant.value != values[name]:
                yield variant.inside(name, {**values, name: variant.value})


def _create(model: type[BaseModel]) -> BaseModel | None:
    """Return the model with its defaults; None if it has no defaults, so that no valid values are known."""
    try:
        return model()
    except ValidationError:
        return None
