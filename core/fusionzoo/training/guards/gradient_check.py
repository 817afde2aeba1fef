"""Stop a training whose loss has no gradient, with the plugin that computes it."""

from __future__ import annotations

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from fusionzoo import errors


class GradientCheck(Callback):
    """Raises an error of the plugin if its logits have no gradient, before torch raises one that names nothing.

    Args:
        claim: the model's plugin.
    """

    def __init__(self, claim: errors.Claim) -> None:
        self._claim = claim

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        if not loss.requires_grad:
            raise errors.PluginContractError.no_gradient(self._claim)
