"""Operations of torch that the tracing exporter does not export, or exports with another type, in a form that it does.

The exporter makes float tensors of `torch.full` without a dtype, and fails on True and False as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

_FILLING = (torch.full, torch.full_like, Tensor.new_full)


class ExportableOperations(TorchFunctionMode):
    """In the context, `nn.Bilinear` and operations that create or choose constants can be exported."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        args, kwargs = list(args), dict(kwargs or {})
        if function in _FILLING:
            _set_fill_type(function, args, kwargs)
        elif function is torch.where and len(args) == 3 and all(isinstance(value, bool) for value in args[1:]):
            return torch.where(args[0], int(args[1]), int(args[2])).to(torch.bool)
        elif function is torch.bilinear:
            return _compute_bilinear(*args, **kwargs)
        return function(*args, **kwargs)


def _compute_bilinear(first: Tensor, second: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return what `nn.Bilinear` computes [..., out], for which ONNX has no operation."""
    product = torch.einsum("...i,oij,...j->...o", first, weight, second)
    return product if bias is None else product + bias


def _set_fill_type(function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> None:
    """Change the arguments of a function that fills a tensor, so that they state the dtype, and the value is no bool.

    The value of each function is its last positional argument or `fill_value`.
    """
    owner, name = (kwargs, "fill_value") if "fill_value" in kwargs else (args, -1)
    value: object = owner[name]  # type: ignore[index]
    if function is torch.full and kwargs.get("dtype") is None and "out" not in kwargs:
        kwargs["dtype"] = _find_dtype(value)
    if isinstance(value, bool):
        owner[name] = int(value)  # type: ignore[index]


def _find_dtype(value: object) -> torch.dtype:
    """Return the dtype that torch gives to a tensor that is filled with this number."""
    if isinstance(value, Tensor):
        return value.dtype
    if isinstance(value, bool):
        return torch.bool
    return torch.long if isinstance(value, int) else torch.get_default_dtype()


@contextmanager
def computed_parametrizations(model: nn.Module) -> Iterator[None]:
    """In the context, each parametrized tensor of the model is a parameter, as if its parametrization were removed.

    So the operations of a parametrization, such as `spectral_norm` or `orthogonal`, need no equivalent in ONNX. The
    results are equal. `parametrize.cached` would do, but rejects tracing.

    Args:
        model: a model in evaluation mode, so that a tensor is the same at each access.
    """
    parametrized = [module for module in model.modules() if parametrize.is_parametrized(module)]
    with torch.no_grad():
        values = [{name: getattr(module, name) for name in _get_parametrizations(module)} for module in parametrized]
    with ExitStack() as restore:
        for module, tensors in zip(parametrized, values, strict=True):
            _replace_parametrizations(module, tensors, restore)
        yield


def _get_parametrizations(module: nn.Module) -> Collection[str]:
    """Return the names of the parametrized tensors of a module."""
    return list(cast("nn.ModuleDict", module.parametrizations))


def _replace_parametrizations(module: nn.Module, tensors: Mapping[str, Tensor], restore: ExitStack) -> None:
    """Give a module its own class again, without properties, and these tensors as parameters."""
    submodules, parameters, parametrized_class = module._modules, module._parameters, module.__class__

    def undo() -> None:
        module._modules, module._parameters = submodules, parameters
        module.__class__ = parametrized_class

    restore.callback(undo)
    module.__class__ = parametrized_class.__bases__[0]
    module._modules = {name: part for name, part in submodules.items() if name != "parametrizations"}
    frozen = {name: nn.Parameter(tensor.detach(), requires_grad=False) for name, tensor in tensors.items()}
    module._parameters = {**parameters, **frozen}
