"""Fit the modules of a model that learn statistics of train, in the first process for all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.targets.target import Target
from fusionzoo.nn.fitted_module import FittedModule, list_fitted_modules
from fusionzoo.training.distributed import collectives

log = logging.getLogger(__name__)


def fit_modules(model: nn.Module, train: EncodedSplit, target: Target) -> frozenset[str]:
    """Fit every `FittedModule` of the model on train; return the names of what they fit in the state of the model.

    The labels are on the scale of the model. Only the first process computes the tensors, and every process gets them.
    """
    modules = list_fitted_modules(model)
    if not modules:
        return frozenset()
    scaled = train if train.labels is None else replace(train, labels=target.standardize(train.labels))

    def fit() -> Mapping[str, Mapping[str, Tensor]]:
        return {name: _fit(module, scaled) for name, module in modules.items()}

    for name, state in collectives.broadcast_from_first(fit).items():
        modules[name].load_state_dict(state)
    log.info("Fitted on train: %s", ", ".join(name or "the model" for name in modules))
    return frozenset(_join(name, key) for name, module in modules.items() for key in _list_fitted(module))


@torch.no_grad()
def _fit(module: FittedModule, train: EncodedSplit) -> Mapping[str, Tensor]:
    module.fit(train)
    return module.state_dict()


def _list_fitted(module: FittedModule) -> set[str]:
    """Return the names of the module's tensors without those that are trained."""
    return set(module.state_dict()) - {name for name, weight in module.named_parameters() if weight.requires_grad}


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
