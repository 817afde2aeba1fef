"""The optimizer, its parameter groups with their learning rates, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

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
FUSED_SINCE: Mapping[tuple[str, str], str] = MappingProxyType(  # torch version, by optimizer and device
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
    """Return the optimizer over parameter groups with the keys `params`, `lr` and `weight_decay`.

    With `fused_optimizer`, one fused kernel updates all weights if this torch version has it.
    """
    parameters = [parameter for group in groups for parameter in group["params"]]
    is_fused = settings.fused_optimizer and supports_fused(settings.optimizer, parameters)
    options = {"fused": True} if is_fused else {}  # SGD does not have this argument before torch 2.3
    optimizer = _create_optimizer(groups, settings, options)
    # Otherwise a fused optimizer would divide by fp16's loss scale itself, after clipping, which Lightning rejects.
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    return optimizer


def _create_optimizer(groups: Sequence[dict[str, Any]], settings: JobSettings, options: Mapping[str, Any]) -> Optimizer:
    match settings.optimizer:
        case "sgd":
            return SGD(groups, momentum=settings.momentum, **options)
        case "adam":
            return Adam(groups, eps=settings.adam_epsilon, **options)
        case "adamw":
            return AdamW(groups, eps=settings.adam_epsilon, **options)


def supports_fused(optimizer: str, parameters: Iterable[Parameter], torch_version: str = torch.__version__) -> bool:
    """Return whether this torch version has the optimizer's fused kernel for the parameters' devices and dtypes."""

    def has_kernel(parameter: Parameter) -> bool:
        since = FUSED_SINCE.get((optimizer, parameter.device.type))
        return since is not None and Version(torch_version) >= Version(since) and parameter.is_floating_point()

    return all(has_kernel(parameter) for parameter in parameters)


def current_learning_rates(optimizers: Iterable[Optimizer]) -> list[float]:
    """Return the learning rates of the next step, one per parameter group."""
    return [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]


def steps_per_epoch(batches: int, settings: JobSettings) -> int:
    """Return the optimizer steps of an epoch with this many batches; the last step may accumulate fewer batches."""
    return -(-batches // settings.accumulate_grad_batches)


def build_scheduler(optimizer: Optimizer, settings: JobSettings, total_steps: int) -> LambdaLR:
    """Return the schedule: linear warm-up from near zero, then a linear or cosine decay to zero, or a constant rate.

    Args:
        total_steps: optimizer steps of the whole training.
    """
    warmup = count_warmup_steps(settings, total_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        remaining = max(0.0, (total_steps - step) / max(1, total_steps - warmup))
        match settings.schedule:
            case "constant":
                return 1.0
            case "linear":
                return remaining
            case "cosine":
                return (1 - math.cos(math.pi * remaining)) / 2

    return LambdaLR(optimizer, factor)


def apply_schedule(scheduler: LambdaLR) -> None:
    """Set the learning rates of the next step from the schedule; the restored ones are those of another total.

    Has no effect if the number of steps of the whole training has not changed.
    """
    rates = zip(scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
    for group, (base, factor) in zip(scheduler.optimizer.param_groups, rates, strict=True):
        group["lr"] = base * factor(scheduler.last_epoch)


def count_warmup_steps(settings: JobSettings, total_steps: int) -> int:
    """Return the steps of the warm-up: `warmup_steps` if it is set, else `warmup_fraction` of all steps."""
    return int(settings.warmup_fraction * total_steps) if settings.warmup_steps is None else settings.warmup_steps


class _GroupKey(NamedTuple):
    """What the parameters of one group have in common."""

    is_encoder: bool  # a trainable part of the pretrained text encoder
    is_adapter: bool
    lr_scale: float
    decays: bool


def parameter_groups(
    model: nn.Module,
    pretrained: nn.Module | None,
    settings: JobSettings,
    plugin_groups: Sequence[dict[str, Any]],
    adapters: Sequence[Parameter] = (),
) -> list[dict[str, Any]]:
    """Return groups with `params`, `lr`, `weight_decay` and `part`; each trainable parameter is in exactly one.

    Groups of the same part have the same learning rate. The parts are `encoder` and `adapters` (with `layer_decay`,
    one part per rate) and `head`, or `model` if no pretrained part is trained, and the names of the plugin's groups.
    Adapters are new weights, so they have the rate of the head.

    Args:
        pretrained: the part of the model that starts from pretrained weights, if any.
        plugin_groups: the plugin's groups with `lr_scale` and `weight_decay`. Core groups the remaining parameters.
            `encoder_lr_scale` and `layer_decay` do not change the rates of the plugin's groups.
        adapters: the new weights in the pretrained part.

    Raises:
        errors.SettingError: `layer_decay` is set, but there is no trainable pretrained stack of layers.
    """
    is_adapter = {id(p) for p in adapters}
    trained = [p for p in ([] if pretrained is None else pretrained.parameters()) if p.requires_grad]
    is_tuned = any(id(p) not in is_adapter for p in trained)
    lr = settings.lr or (PRETRAINED_LR if is_tuned else FRESH_LR)
    groups = _scale_plugin_groups(plugin_groups, lr, settings)
    encoder_scales = _compute_encoder_scales(pretrained, settings) if pretrained is not None and trained else {}
    if settings.layer_decay is not None and not encoder_scales:
        raise errors.layer_decay_without_encoder(settings.layer_decay)
    in_plugin_groups = {id(p) for group in plugin_groups for p in group["params"]}
    without_decay = _find_parameters_without_decay(model)
    head_scale = settings.head_lr_scale if is_tuned else 1.0
    by_key: dict[_GroupKey, list[Parameter]] = {}
    for p in model.parameters():
        if p.requires_grad and id(p) not in in_plugin_groups:
            is_new = id(p) not in encoder_scales or id(p) in is_adapter
            scale = encoder_scales.get(id(p), 1.0) * (head_scale if is_new else 1.0)
            is_vector = id(p) in is_adapter and max(p.shape) == p.numel()  # IA3's scales [width, 1] start at one
            decays = id(p) not in without_decay and not is_vector
            key = _GroupKey(id(p) in encoder_scales, id(p) in is_adapter, scale, decays)
            by_key.setdefault(key, []).append(p)
    for key, params in sorted(by_key.items(), key=lambda item: item[0], reverse=True):
        decay = settings.weight_decay if key.decays else 0.0
        part = _name_part(key, settings) if trained else "model"
        groups.append({"params": params, "lr": lr * key.lr_scale, "weight_decay": decay, "part": part})
    return groups


def _scale_plugin_groups(
    plugin_groups: Sequence[dict[str, Any]], lr: float, settings: JobSettings
) -> list[dict[str, Any]]:
    return [
        {
            "params": list(group["params"]),
            "lr": lr * group.get("lr_scale", 1.0),
            "weight_decay": group.get("weight_decay", settings.weight_decay),
            "part": group.get("name", f"plugin_{number}"),
        }
        for number, group in enumerate(plugin_groups)
    ]


def _name_part(key: _GroupKey, settings: JobSettings) -> str:
    if not key.is_encoder:
        return "head"
    part = "adapters" if key.is_adapter else "encoder"
    return part if settings.layer_decay is None else f"{part}_x{key.lr_scale:.3g}"


def _compute_encoder_scales(pretrained: nn.Module, settings: JobSettings) -> dict[int, float]:
    """Return the learning rate, relative to `lr`, of each parameter of a pretrained encoder, by the parameter's id."""
    if settings.layer_decay is None:
        return {id(p): settings.encoder_lr_scale for p in pretrained.parameters()}
    layers_above = count_layers_above(pretrained)
    if layers_above is None:
        raise errors.layer_decay_without_layers(settings.layer_decay, type(pretrained).__name__)
    return {
        id(p): settings.encoder_lr_scale * settings.layer_decay ** layers_above[name]
        for name, p in pretrained.named_parameters()
    }


def _find_parameters_without_decay(model: nn.Module) -> set[int]:
    """Return the ids of biases and norms (all one-dimensional parameters) and of embedding tables."""
    tables = [module.weight for module in model.modules() if isinstance(module, nn.Embedding)]
    return {id(p) for p in [*tables, *(p for p in model.parameters() if p.ndim < 2)]}
