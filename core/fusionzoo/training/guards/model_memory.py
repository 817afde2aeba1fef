"""Check that the weights of the model fit into memory before they exist: large ones are built without storage."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from fusionzoo import errors
from fusionzoo.architecture import Architecture
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.targets.target_choice import choose_target
from fusionzoo.data.text.text_tokenizer import WORD_TOKENIZER
from fusionzoo.errors.wording import short
from fusionzoo.nn.machine_memory import read_total_memory
from fusionzoo.nn.schema import CategoryField, InputSpec, NumberField, TextSpec
from fusionzoo.training.distributed.world import World

log = logging.getLogger(__name__)

COPIES_IN_TRAINING = {"adamw": 4, "adam": 4, "sgd": 3}  # weight, gradient, and the state of the optimizer
FACTORIES = frozenset({torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn})
MAX_STORED_VALUES = 100_000
MIN_CATEGORIES = 3  # missing, unknown, and one value


def check_model_memory(architecture: Architecture, spec: InputSpec, world: World) -> None:
    """Check that weights, gradients and the optimizer's state of the model fit into the memory of this machine.

    Args:
        spec: the inputs; before the data is read, `smallest_spec`.

    Raises:
        errors.ModelMemoryError: they need more than all memory; names the largest weight and the settings that size it.
    """
    try:
        with _LargeTensorsWithoutStorage():
            model = architecture.add_adapters(architecture.build(spec)).model
    except Exception as cause:  # noqa: BLE001 - a plugin may read values of weights; the real build reports real errors
        log.info("The memory of the model cannot be estimated (%s).", short(cause))
        return
    is_sharded = architecture.job.strategy == "fsdp"
    needed = count_training_bytes(model, architecture.job.optimizer) // (world.size if is_sharded else 1)
    available = read_total_memory()
    if needed > available:
        name, weight = max(model.named_parameters(), key=lambda entry: entry[1].numel())
        settings = find_settings_of_shape(architecture, tuple(weight.shape))
        raise errors.ModelMemoryError(needed, available, f"{name} {list(weight.shape)}", settings)


class _LargeTensorsWithoutStorage(TorchFunctionMode):
    """In the block, new tensors of more than `MAX_STORED_VALUES` values have a shape but no storage.

    Small tensors are real, because layers read the values of constants such as the borders of bins.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in FACTORIES and kwargs.get("device") is None:
            without_storage = func(*args, **{**kwargs, "device": "meta"})
            if without_storage.numel() > MAX_STORED_VALUES:
                return without_storage
        return func(*args, **kwargs)


def smallest_spec(settings: DataSettings) -> InputSpec:
    """Return the inputs that the settings describe, each with the fewest possible words or values."""
    text = None
    if settings.text_columns:
        dim = settings.embedding_dim if settings.tokenizer_name == WORD_TOKENIZER else None
        limits = settings.max_sen_len, settings.max_total_chunks
        text = TextSpec(MIN_CATEGORIES, 0, *limits, settings.tokenizer_name, dim)
    return InputSpec(
        text,
        tuple(CategoryField(name, MIN_CATEGORIES) for name in settings.cat_field_list),
        tuple(NumberField(name, 0.0, 1.0, (-1.0, 0.0, 1.0)) for name in settings.tab_field_list),
        choose_target(settings).num_expected_outputs,
    )


def count_training_bytes(model: nn.Module, optimizer: str) -> int:
    """Return the bytes of the weights, and of the gradients and the optimizer's state of the trainable ones."""
    copies = COPIES_IN_TRAINING[optimizer]
    return sum(
        weight.numel() * weight.element_size() * (copies if weight.requires_grad else 1)
        for weight in model.parameters()
    )


def find_settings_of_shape(architecture: Architecture, shape: tuple[int, ...]) -> dict[str, int]:
    """Return the settings of the plugins and of word vectors that are sizes of a weight, largest first."""
    parts = architecture.hyperparameters.parts
    values: Mapping[str, Any] = {name: getattr(part, name) for part in parts for name in type(part).model_fields}
    sizes = {name: value for name, value in values.items() if type(value) is int and value > 1 and value in shape}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))
