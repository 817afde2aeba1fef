"""FSDP: weights, gradients and the optimiser's state in parts, one per process, for encoders that fit on no GPU whole.

Each layer of the text encoder's stack is put together while it runs, and the rest of the model for the whole step.
Checkpoints are whole ones, the same as without it. Importing this needs the libraries that `sharding.check` asks for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from fusionzoo.nn.transformer_layers import find_encoder_layers
from fusionzoo.training.distributed import process_group
from fusionzoo.training.distributed.world import World
from fusionzoo.training.module import Classifier

log = logging.getLogger(__name__)


class ShardedClassifier(Classifier):
    """A `Classifier` whose model's parameters are parts, one in each process."""

    def configure_model(self) -> None:
        if any(isinstance(parameter, DTensor) for parameter in self.model.parameters()):
            return  # Lightning may call this again
        names = {id(parameter): name for name, parameter in self.model.named_parameters()}
        if self.device_mesh is None:
            raise ValueError("a sharded module needs a strategy that shards")
        mesh = self.device_mesh["data_parallel"]
        for layer in find_encoder_layers(self.model):
            fully_shard(layer, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        parts = dict(self.model.named_parameters())
        held, all_of_it = (sum(map(size, parts.values())) for size in (lambda p: p.to_local().numel(), Tensor.numel))
        log.info("FSDP: this process holds %s of the model's %s weights", f"{held:,}", f"{all_of_it:,}")
        self._groups = [{**g, "params": [parts[names[id(p)]] for p in g["params"]]} for g in self._groups]


class ShardedStrategy(ModelParallelStrategy):
    """Lightning's, for data in parallel alone, with whole checkpoints that the first process reads and writes."""

    def __init__(self, world: World) -> None:
        super().__init__(
            data_parallel_size=world.size,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            timeout=process_group.COLLECTIVE_TIMEOUT,
        )

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole state, by parameters' names, in the first process."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        return dict(get_optimizer_state_dict(self._module, _plain(optimizer), options=options))

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self.checkpoint_io.load_checkpoint(checkpoint_path)
        return found

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        options = StateDictOptions(full_state_dict=True, strict=strict)
        set_model_state_dict(self._module, dict(checkpoint["state_dict"]), options=options)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        options = StateDictOptions(full_state_dict=True)
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            set_optimizer_state_dict(self._module, _plain(optimizer), state, options=options)

    @property
    def _module(self) -> nn.Module:
        if self.model is None:
            raise ValueError("a strategy has its model before it has a checkpoint")
        return self.model


def _plain(optimizer: Any) -> Optimizer:
    """The optimiser without Lightning's wrapper."""
    found: Optimizer = getattr(optimizer, "optimizer", optimizer)
    return found
