"""Which parameter learns at which rate: optimiser, groups, warm-up and decay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn
from torch.nn import Parameter
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from fusionzoo.settings import JobSettings

PRETRAINED_LR, FRESH_LR = 1e-4, 1e-3


def build(groups: Sequence[dict[str, Any]], settings: JobSettings) -> Optimizer:
    """The optimiser over groups with keys `params`, `lr` and `weight_decay`."""
    match settings.optimizer:
        case "sgd":
            return SGD(groups, momentum=settings.momentum)
        case "adam":
            return Adam(groups, eps=settings.adam_epsilon)
        case "adamw":
            return AdamW(groups, eps=settings.adam_epsilon)


def scheduler(optimizer: Optimizer, settings: JobSettings, steps: int) -> LambdaLR:
    """Linear warm-up from near zero, then linear decay to zero or a constant rate; counted in steps."""
    warmup = warmup_steps(settings, steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 1.0 if settings.schedule == "constant" else max(0.0, (steps - step) / max(1, steps - warmup))

    return LambdaLR(optimizer, factor)


def warmup_steps(settings: JobSettings, steps: int) -> int:
    """Steps of warm-up: `warmup_steps` where given, otherwise `warmup_fraction` of all steps."""
    return int(settings.warmup_fraction * steps) if settings.warmup_steps is None else settings.warmup_steps


def parameter_groups(
    model: nn.Module, pretrained: nn.Module | None, settings: JobSettings, own: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Groups with `params`, `lr` and `weight_decay`, each trainable parameter in exactly one.

    Args:
        pretrained: the part of the model that starts from pretrained weights, if any.
        own: the plugin's groups, with `lr_scale` and `weight_decay`; core groups what they leave out.
    """
    tuned = [] if pretrained is None else [p for p in pretrained.parameters() if p.requires_grad]
    rate = settings.lr or (PRETRAINED_LR if tuned else FRESH_LR)
    taken = {id(p) for group in own for p in group["params"]}
    groups = [
        {
            "params": list(group["params"]),
            "lr": rate * group.get("lr_scale", 1.0),
            "weight_decay": group.get("weight_decay", settings.weight_decay),
        }
        for group in own
    ]
    tuned_ids = {id(p) for p in tuned}
    undecayed = _undecayed(model)
    for from_pretrained in (True, False):
        scale = settings.encoder_lr_scale if from_pretrained else settings.head_lr_scale if tuned else 1.0
        for decayed in (True, False):
            params = [
                p
                for p in _trainable(model.parameters())
                if id(p) not in taken
                and (id(p) in tuned_ids) == from_pretrained
                and (id(p) not in undecayed) == decayed
            ]
            if params:
                decay = settings.weight_decay if decayed else 0.0
                groups.append({"params": params, "lr": rate * scale, "weight_decay": decay})
    return groups


def _trainable(parameters: Iterable[Parameter]) -> list[Parameter]:
    return [p for p in parameters if p.requires_grad]


def _undecayed(model: nn.Module) -> set[int]:
    """Biases, norms (all that have one dimension) and embeddings."""
    tables = [m.weight for m in model.modules() if isinstance(m, nn.Embedding)]
    return {id(p) for p in [*tables, *(p for p in model.parameters() if p.ndim < 2)]}
