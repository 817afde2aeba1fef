"""Modules with weights that are fitted on train before the training, such as the weights of words in TF-IDF."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

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
