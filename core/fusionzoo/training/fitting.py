"""Fit the modules of a model that learn statistics of train, in the first process for all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.targets.target import Target
from fusionzoo.nn.fitted_module import (
    FittedModule,
    fit_module,
    list_fitted_modules,
    list_modules_with_unused_fit,
    list_useless_fits,
)
from fusionzoo.training.distributed import collectives

log = logging.getLogger(__name__)


def fit_modules(model: nn.Module, train: EncodedSplit, target: Target) -> frozenset[str]:
    """Fit every `FittedModule` of the model on train; return the names of what they fit in the state of the model.

    The labels are on the scale of the model. Only the first process computes the tensors, and every process gets them.

    Raises:
        errors.FittedModuleError: a module does not keep the rules of `FittedModule`.
    """
    for name in list_modules_with_unused_fit(model):
        log.warning("%s has a method fit, which is not called: only a FittedModule is fitted on train.", name)
    modules = list_fitted_modules(model)
    if not modules:
        return frozenset()
    scaled = train if train.labels is None else replace(train, labels=target.standardize(train.labels))

    def fit() -> Mapping[str, Mapping[str, Tensor]]:
        return {name: _fit(name, module, scaled) for name, module in modules.items()}

    for name, state in collectives.broadcast_from_first(fit).items():
        modules[name].load_state_dict(state)
    log.info("Fitted on train: %s", ", ".join(name or "the model" for name in modules))
    return frozenset(_join(name, key) for name, module in modules.items() for key in _list_fitted(module))


def _fit(name: str, module: FittedModule, train: EncodedSplit) -> Mapping[str, Tensor]:
    unchanged = fit_module(name, module, train)
    explained = list_useless_fits(name, module)
    for reason in explained.values():
        log.warning("%s", reason)
    for each in unchanged:
        if not any(f"{key}.".startswith(f"{each}." if each else "") for key in explained):
            log.warning("fit() of %s has changed no parameter or buffer.", each or "the model")
    return module.state_dict()


def _list_fitted(module: FittedModule) -> set[str]:
    """Return the names of the module's tensors without those that are trained."""
    return set(module.state_dict()) - {name for name, weight in module.named_parameters() if weight.requires_grad}


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
