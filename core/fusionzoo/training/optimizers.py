"""Which parameter learns at which rate: optimiser, groups, warm-up and decay."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from packaging.version import Version
from torch import nn
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from fusionzoo import errors
from fusionzoo.nn.transformer_layers import count_layers_above
from fusionzoo.settings import JobSettings

PRETRAINED_LR, FRESH_LR = 1e-4, 1e-3
FUSED_SINCE: Mapping[tuple[str, str], str] = MappingProxyType(  # of torch, by optimiser and device
    {
        ("adamw", "cuda"): "2.0",
        ("adam", "cuda"): "2.0",
        ("sgd", "cuda"): "2.3",
        ("adamw", "cpu"): "2.4",
        ("adam", "cpu"): "2.4",
        ("sgd", "cpu"): "2.4",
    }
)


def build_optimizer(groups: Sequence[dict[str, Any]], settings: JobSettings) -> Optimizer:
    """The optimiser over groups with keys `params`, `lr` and `weight_decay`.

    With `fused_optimizer`, the one fused kernel that updates all weights, where this torch has it.
    """
    parameters = [parameter for group in groups for parameter in group["params"]]
    fused = settings.fused_optimizer and supports_fused(settings.optimizer, parameters)
    optimizer = _made(groups, settings, {"fused": True} if fused else {})  # SGD has no such argument before torch 2.3
    # Otherwise a fused one would divide by fp16's loss scale itself, after clipping, which Lightning refuses.
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    return optimizer


def _made(groups: Sequence[dict[str, Any]], settings: JobSettings, kernel: dict[str, Any]) -> Optimizer:
    match settings.optimizer:
        case "sgd":
            return SGD(groups, momentum=settings.momentum, **kernel)
        case "adam":
            return Adam(groups, eps=settings.adam_epsilon, **kernel)
        case "adamw":
            return AdamW(groups, eps=settings.adam_epsilon, **kernel)


def supports_fused(optimizer: str, parameters: Iterable[Parameter], torch_version: str = torch.__version__) -> bool:
    """Whether this torch has the fused kernel of an optimiser, for these parameters' devices and types."""

    def has(parameter: Parameter) -> bool:
        since = FUSED_SINCE.get((optimizer, parameter.device.type))
        return since is not None and Version(torch_version) >= Version(since) and parameter.is_floating_point()

    return all(has(parameter) for parameter in parameters)


def learning_rates(optimizers: Iterable[Optimizer]) -> list[float]:
    """The learning rates of the step that comes next, one per group of parameters."""
    return [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]


def steps_per_epoch(batches: int, settings: JobSettings) -> int:
    """Optimiser steps of an epoch of so many batches; the last step may be of fewer batches than the others."""
    return -(-batches // settings.accumulate_grad_batches)


def build_scheduler(optimizer: Optimizer, settings: JobSettings, steps: int) -> LambdaLR:
    """Linear warm-up from near zero, then a line or half a cosine to zero, or a constant rate.

    Args:
        steps: optimiser steps of the whole training.
    """
    warmup = warmup_steps(settings, steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        left = max(0.0, (steps - step) / max(1, steps - warmup))
        match settings.schedule:
            case "constant":
                return 1.0
            case "linear":
                return left
            case "cosine":
                return (1 - math.cos(math.pi * left)) / 2

    return LambdaLR(optimizer, factor)


def warmup_steps(settings: JobSettings, steps: int) -> int:
    """Steps of warm-up: `warmup_steps` where given, otherwise `warmup_fraction` of all steps."""
    return int(settings.warmup_fraction * steps) if settings.warmup_steps is None else settings.warmup_steps


def parameter_groups(
    model: nn.Module, pretrained: nn.Module | None, settings: JobSettings, own: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Groups with `params`, `lr`, `weight_decay` and `name`, each trainable parameter in exactly one.

    Groups of one name learn at one rate: `encoder`, with `layer_decay` one for each rate, and `head`; `model` where no
    pretrained part learns; and the plugin's.

    Args:
        pretrained: the part of the model that starts from pretrained weights, if any.
        own: the plugin's groups, with `lr_scale` and `weight_decay`; core groups what they leave out. Neither
            `encoder_lr_scale` nor `layer_decay` changes their rates.

    Raises:
        errors.SettingError: there is `layer_decay`, and no pretrained stack of layers that learns.
    """
    tuned = [] if pretrained is None else [p for p in pretrained.parameters() if p.requires_grad]
    rate = settings.lr or (PRETRAINED_LR if tuned else FRESH_LR)
    taken = {id(p) for group in own for p in group["params"]}
    groups = [
        {
            "params": list(group["params"]),
            "lr": rate * group.get("lr_scale", 1.0),
            "weight_decay": group.get("weight_decay", settings.weight_decay),
            "name": group.get("name", f"plugin_{number}"),
        }
        for number, group in enumerate(own)
    ]
    undecayed = _undecayed(model)
    fresh = settings.head_lr_scale if tuned else 1.0
    scales = _encoder_scales(pretrained, settings) if pretrained is not None and tuned else {}
    if settings.layer_decay is not None and not scales:
        raise errors.no_layers_to_decay(settings.layer_decay)
    alike: dict[tuple[bool, float, bool], list[Parameter]] = {}
    for p in _trainable(model.parameters()):
        if id(p) not in taken:
            key = (id(p) in scales, scales.get(id(p), fresh), id(p) not in undecayed)
            alike.setdefault(key, []).append(p)
    for (tuned_part, scale, decayed), params in sorted(alike.items(), key=lambda item: item[0], reverse=True):
        decay = settings.weight_decay if decayed else 0.0
        name = _name(tuned_part, scale, settings) if tuned else "model"
        groups.append({"params": params, "lr": rate * scale, "weight_decay": decay, "name": name})
    return groups


def _name(pretrained: bool, scale: float, settings: JobSettings) -> str:
    if not pretrained:
        return "head"
    return "encoder" if settings.layer_decay is None else f"encoder_x{scale:.3g}"


def _encoder_scales(pretrained: nn.Module, settings: JobSettings) -> dict[int, float]:
    """Of each parameter of a pretrained encoder, by id: its rate over `lr`."""
    if settings.layer_decay is None:
        return {id(p): settings.encoder_lr_scale for p in pretrained.parameters()}
    above = count_layers_above(pretrained)
    if above is None:
        raise errors.no_stack_of_layers(settings.layer_decay, type(pretrained).__name__)
    named = pretrained.named_parameters()
    return {id(p): settings.encoder_lr_scale * settings.layer_decay ** above[name] for name, p in named}


def _trainable(parameters: Iterable[Parameter]) -> list[Parameter]:
    return [p for p in parameters if p.requires_grad]


def _undecayed(model: nn.Module) -> set[int]:
    """Biases, norms (all that have one dimension) and embeddings."""
    tables = [m.weight for m in model.modules() if isinstance(m, nn.Embedding)]
    return {id(p) for p in [*tables, *(p for p in model.parameters() if p.ndim < 2)]}
