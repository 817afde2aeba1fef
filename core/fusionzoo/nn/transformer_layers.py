"""The layers of a Transformer encoder, as Hugging Face builds them: which parameter lies how deep."""

from __future__ import annotations

from torch import nn


def count_layers_above(encoder: nn.Module) -> dict[str, int] | None:
    """How many layers lie above each parameter of an encoder, by name; None where no stack of layers is found.

    The stack is the `ModuleList` with as many entries as `num_hidden_layers` says in the `config` of the encoder or of
    the outermost module inside it that has such a one; several of that length are the parts of the same layers (XLM).
    All layers lie above what stands before the stack and above every embedding; none above what stands after it.
    """
    found = _backbone(encoder)
    if found is None:
        return None
    prefix, backbone, count = found
    stacks = find_layer_stacks(backbone, count, prefix)
    if not stacks:
        return None
    embeddings = {id(module.weight) for module in encoder.modules() if isinstance(module, nn.Embedding)}
    above: dict[str, int] = {}
    before = True
    for name, parameter in encoder.named_parameters():
        stack = next((stack for stack in stacks if name.startswith(stack)), None)
        before = before and stack is None
        if stack is not None:
            above[name] = count - 1 - int(name.removeprefix(stack).partition(".")[0])
        else:
            above[name] = count if before or id(parameter) in embeddings else 0
    return above


def find_encoder_layers(encoder: nn.Module) -> list[nn.Module]:
    """The layers of the stack that `layers_above` means, in their order; of several stacks, all; none without one."""
    found = _backbone(encoder)
    if found is None:
        return []
    prefix, backbone, count = found
    stacks = [encoder.get_submodule(stack.removesuffix(".")) for stack in find_layer_stacks(backbone, count, prefix)]
    return [layer for stack in stacks for layer in stack.children()]


def find_layer_stacks(backbone: nn.Module, count: int, prefix: str = "") -> list[str]:
    """The prefixes of the stacks of `count` layers; outer ones first: such a list inside a layer does not count."""
    return [
        f"{name}."
        for name, module in backbone.named_modules(prefix=prefix)
        if isinstance(module, nn.ModuleList) and len(module) == count
    ]


def _backbone(encoder: nn.Module) -> tuple[str, nn.Module, int] | None:
    """Name, module and number of layers of the outermost module whose configuration tells that number."""
    for name, module in encoder.named_modules():
        count = getattr(getattr(module, "config", None), "num_hidden_layers", None)
        if isinstance(count, int):
            return name, module, count
    return None
