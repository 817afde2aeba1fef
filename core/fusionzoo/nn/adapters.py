"""Train adapters of the library peft instead of the weights of a Hugging Face encoder, and merge them at the end.

The methods change the weight of a linear layer, so that the merged layer computes the same: LoRA (Hu et al. 2021,
arXiv 2106.09685), DoRA (Liu et al. 2024, arXiv 2402.09353) and IA3 (Liu et al. 2022, arXiv 2205.05638).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from fusionzoo import errors
from fusionzoo.nn.hugging_face import create_encoder

if TYPE_CHECKING:
    from peft import PeftConfig

log = logging.getLogger(__name__)

AdapterMethod = Literal["lora", "dora", "ia3"]
EXTRA = "peft"
LINEAR_LAYERS = (nn.Linear, Conv1D)  # the second one is that of GPT-2: its weight is transposed


@dataclass(frozen=True)
class AdapterSettings:
    """The method, its targets, and the settings of LoRA and DoRA.

    `targets` are names of linear layers or their last parts, such as "query" or "attention.self.query"; None: all.
    """

    method: AdapterMethod
    rank: int
    alpha: float
    dropout: float
    targets: Sequence[str] | None


def check_adapters(config: PretrainedConfig, settings: AdapterSettings, with_pooler: bool) -> None:
    """Check that peft is installed and that each target is a linear layer of the encoder, without creating its weights.

    Raises:
        errors.MissingPackagesError: peft is not installed.
        errors.AdapterLibraryError: peft does not work with the installed libraries.
        errors.SettingError: a target is not a linear layer of the encoder, or it has none; names `peft_targets`.
    """
    if find_spec("peft") is None:
        raise errors.MissingPackagesError(EXTRA, ["peft"])
    try:
        import peft  # noqa: F401 - takes three seconds, so that other jobs do not import it
    except ImportError as cause:
        raise errors.AdapterLibraryError(cause) from cause
    with torch.device("meta"):
        backbone = create_encoder(config, with_pooler)
    find_targets(backbone, settings)


def find_targets(backbone: PreTrainedModel, settings: AdapterSettings) -> list[str]:
    """Return the names of the linear layers of an encoder that get an adapter.

    Raises:
        errors.SettingError: a target is not a linear layer of the encoder, or it has none; names `peft_targets`.
    """
    layers, targets = list_linear_layers(backbone), settings.targets
    if not layers:
        raise errors.no_linear_layers(settings.method, str(backbone.config.model_type))
    if targets is None:
        return layers
    for target in targets:
        if not any(_matches(layer, target) for layer in layers):
            raise errors.unknown_peft_target(target, list(targets), layers)
    return [layer for layer in layers if any(_matches(layer, target) for target in targets)]


def list_linear_layers(backbone: nn.Module) -> list[str]:
    """Return the names of the linear layers whose weight belongs to no other layer, which merging would change too."""
    owners = Counter(id(weight) for _, weight in backbone.named_parameters(remove_duplicate=False))
    return [
        name
        for name, module in backbone.named_modules()
        if type(module) in LINEAR_LAYERS and owners[id(module.weight)] == 1  # subclasses may compute something else
    ]


def _matches(layer: str, target: str) -> bool:
    return f".{layer}".endswith(f".{target}")


def add_adapters(backbone: PreTrainedModel, settings: AdapterSettings) -> None:
    """Add an adapter to each target, with initial values that change nothing; only adapters stay trainable."""
    from peft import inject_adapter_in_model

    targets = find_targets(backbone, settings)
    is_transposed = isinstance(backbone.get_submodule(targets[0]), Conv1D)  # peft adapts to the other layers itself
    inject_adapter_in_model(_make_config(settings, targets, is_transposed), backbone)
    trainable = sum(p.numel() for p in backbone.parameters() if p.requires_grad)
    log.info(
        "peft %s: %s trainable parameters in adapters of %d linear layers; the pretrained weights stay as they are",
        *(settings.method, f"{trainable:,}", len(targets)),
    )


def _make_config(settings: AdapterSettings, targets: list[str], is_transposed: bool) -> PeftConfig:
    from peft import IA3Config, LoraConfig

    if settings.method == "ia3":
        return IA3Config(target_modules=targets, feedforward_modules=[], fan_in_fan_out=is_transposed)
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # peft only divides it by the rank
        lora_dropout=settings.dropout,
        target_modules=targets,
        use_dora=settings.method == "dora",
        fan_in_fan_out=is_transposed,
    )


def merge_adapters(backbone: PreTrainedModel) -> None:
    """Merge the adapters into the weights, in place, so that the encoder has its own layers again.

    In evaluation mode it computes the same as before, up to rounding. All its weights are trainable again.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(backbone.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            parent, _, attribute = name.rpartition(".")
            setattr(backbone.get_submodule(parent), attribute, layer.get_base_layer())
    del backbone.peft_config
    backbone.requires_grad_(True)
