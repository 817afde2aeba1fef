"""The check that torch knows every layer and parameter of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject


def check_layers_are_registered(subject: Subject) -> None:
    """Each layer and parameter of the model is registered, so that it is trained and saved: none is in a plain list."""
    model = subject.build()
    known = {id(part) for part in (*model.modules(), *model.parameters())}
    for name, module in model.named_modules():
        for attribute, value in vars(module).items():
            if attribute.startswith("_") and attribute in vars(nn.Module()):
                continue  # torch's own registers
            kinds = {kind for part, kind in _find_parts(value) if id(part) not in known}
            if kinds:
                container = "Dict" if isinstance(value, Mapping) else "List"
                better = "nn.Module" if "module" in kinds else "nn.Parameter"
                place = ".".join(part for part in (name, attribute) if part)
                raise ConformanceError(
                    f"the {type(value).__name__} {place} of the model contains a {' and a '.join(sorted(kinds))} that "
                    "torch does not know, so it is not trained, saved or moved to a GPU. "
                    f"Fix: make {place} an {better}{container}"
                )


def _find_parts(value: object, depth: int = 3) -> Iterator[tuple[object, str]]:
    """Yield the modules and the parameters in a container of Python, and their kind."""
    parts = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(parts, list | tuple | set) or not depth:
        return
    for part in parts:
        if isinstance(part, nn.Module):
            yield part, "module"
        elif isinstance(part, Tensor) and part.requires_grad:
            yield part, "parameter"
        else:
            yield from _find_parts(part, depth - 1)
