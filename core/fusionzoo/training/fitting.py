"""Fit the modules of a model that learn statistics of train, in the first process for all."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.nn.fitted_module import FittedModule, list_fitted_modules
from fusionzoo.training.distributed import collectives

log = logging.getLogger(__name__)


def fit_modules(model: nn.Module, train: EncodedSplit) -> frozenset[str]:
    """Fit every `FittedModule` of the model on train; return the names of their tensors in the state of the model.

    Only the first process computes them, and every process gets them.
    """
    modules = list_fitted_modules(model)
    if not modules:
        return frozenset()

    def fit() -> Mapping[str, Mapping[str, Tensor]]:
        return {name: _fit(module, train) for name, module in modules.items()}

    for name, state in collectives.broadcast_from_first(fit).items():
        modules[name].load_state_dict(state)
    log.info("Fitted on train: %s", ", ".join(name or "the model" for name in modules))
    return frozenset(_join(name, key) for name, module in modules.items() for key in module.state_dict())


@torch.no_grad()
def _fit(module: FittedModule, train: EncodedSplit) -> Mapping[str, Tensor]:
    module.fit(train)
    return module.state_dict()


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
