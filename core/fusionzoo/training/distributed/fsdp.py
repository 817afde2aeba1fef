"""FSDP: each process holds a shard of the weights, gradients and optimizer state, for encoders that exceed one GPU.

Each layer of the text encoder is a unit that is gathered while it runs. The rest of the model is one unit. Import this
module only after `fsdp_support.check_fsdp`: it needs newer libraries than the rest of core.
"""

from __future__ import annotations

import logging

from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from fusionzoo.nn.transformer_layers import find_encoder_layers
from fusionzoo.training.distributed.process_group import COLLECTIVE_TIMEOUT
from fusionzoo.training.distributed.world import World
from fusionzoo.training.gradient_norms import local_shard
from fusionzoo.training.module import TrainingModule

log = logging.getLogger(__name__)


class ShardedTrainingModule(TrainingModule):
    """A `TrainingModule` whose parameters are sharded over the processes."""

    def configure_model(self) -> None:
        """Shard the model; Lightning may call this more than once."""
        if any(isinstance(parameter, DTensor) for parameter in self.model.parameters()):
            return
        if self.device_mesh is None:
            raise ValueError("ShardedTrainingModule needs a ModelParallelStrategy")
        mesh = self.device_mesh["data_parallel"]
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        for layer in find_encoder_layers(self.model):
            fully_shard(layer, mesh=mesh)
        fully_shard(self.model, mesh=mesh)
        shards = dict(self.model.named_parameters())
        self._groups = [{**g, "params": [shards[names[p]] for p in g["params"]]} for g in self._groups]
        local = sum(local_shard(shard).numel() for shard in shards.values())
        total = sum(shard.numel() for shard in shards.values())
        log.info("FSDP: this process holds %s of %s weights", f"{local:,}", f"{total:,}")


def make_fsdp_strategy(world: World) -> ModelParallelStrategy:
    """Return Lightning's FSDP2 strategy, for data parallelism only; the first process writes unsharded checkpoints."""
    return ModelParallelStrategy(
        data_parallel_size=world.size,
        tensor_parallel_size=1,
        save_distributed_checkpoint=False,
        timeout=COLLECTIVE_TIMEOUT,
    )
