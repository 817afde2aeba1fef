"""Modules with weights that are fitted on train before the training, such as the weights of words in TF-IDF."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from fusionzoo import errors

if TYPE_CHECKING:
    from fusionzoo.data.encoded import EncodedSplit


class FittedModule(nn.Module, ABC):
    """A module that is fitted on train; core does it when a new training starts.

    What is fitted must be in parameters or buffers whose sizes the spec and the settings decide. It is then part of
    every checkpoint and of the model folder.

    Class variables:
        is_comparable: whether its outputs mean the same after a fit on other rows, so that layers that were trained on
            them can be reused. `init_from` refuses a model with a module that is not comparable.
    """

    is_comparable: ClassVar[bool] = False

    @abstractmethod
    def fit(self, train: EncodedSplit) -> None:
        """Fit the module on the encoded training split; the result must be the same each time."""

    def explain_useless_fit(self) -> str | None:
        """Return why what was fitted has no effect, with a fix, in words of the user of a model; None if it has one."""
        return None


def fit_module(name: str, module: FittedModule, train: EncodedSplit) -> list[str]:
    """Fit a module on train, and check the result; return which fitted modules in it, or itself, did not change.

    Args:
        name: the name of the module in the model; empty for the model itself.
        module: a module of `list_fitted_modules`.
        train: the encoded training split, with labels on the scale of the model.

    Raises:
        errors.FittedModuleError: a tensor got another shape, or values that are not finite.
    """
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.no_grad():
        module.fit(train)
    after = module.state_dict()
    shapes, new_shapes = ({key: tuple(value.shape) for key, value in state.items()} for state in (before, after))
    if changed := sorted(key for key in shapes | new_shapes if shapes.get(key) != new_shapes.get(key)):
        raise errors.FittedModuleError.resized(name, type(module).__name__, changed)
    floats = {key: value for key, value in after.items() if value.is_floating_point()}
    if wrong := sorted(key for key, value in floats.items() if not bool(value.isfinite().all())):
        raise errors.FittedModuleError.not_finite(name, type(module).__name__, wrong)
    fitted = {key for key, value in after.items() if not torch.equal(value, before[key])}
    inner = [key for key, child in module.named_modules() if isinstance(child, FittedModule)]
    unchanged = [key for key in inner if not any(each.startswith(f"{key}." if key else "") for each in fitted)]
    return [f"{name}.{key}".strip(".") for key in unchanged]


def list_useless_fits(name: str, module: FittedModule) -> dict[str, str]:
    """Return why what was fitted has no effect, by the name of the module: of this module, and of those inside it."""
    inner = {key: child for key, child in module.named_modules(prefix=name) if isinstance(child, FittedModule)}
    return {key: reason for key, child in inner.items() if (reason := child.explain_useless_fit()) is not None}


def list_modules_with_unused_fit(module: nn.Module, prefix: str = "") -> list[str]:
    """Return the names of modules with a method `fit` that core does not call, because they are no `FittedModule`."""
    if isinstance(module, FittedModule):
        return []
    own = [prefix.rstrip(".") or "the model"] if callable(getattr(module, "fit", None)) else []
    children = (list_modules_with_unused_fit(child, f"{prefix}{name}.") for name, child in module.named_children())
    return own + [found for names in children for found in names]


def list_fitted_modules(module: nn.Module) -> dict[str, FittedModule]:
    """Return the fitted modules in a module by name; not those inside another one, which fits them itself."""
    if isinstance(module, FittedModule):
        return {"": module}
    return {
        f"{name}.{inner}".rstrip("."): fitted
        for name, child in module.named_children()
        for inner, fitted in list_fitted_modules(child).items()
    }


def make_fitted(*shape: int) -> nn.Parameter:
    """Return a weight that is fitted, not trained; unlike a buffer, processes do not exchange it in every step."""
    return nn.Parameter(torch.zeros(*shape), requires_grad=False)
