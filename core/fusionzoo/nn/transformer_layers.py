"""Find the stack of layers in a Hugging Face encoder, and the depth of each parameter."""

from __future__ import annotations

from torch import nn


def count_layers_above(encoder: nn.Module) -> dict[str, int] | None:
    """Return the number of layers above each parameter of an encoder, by name; None if no stack of layers is found.

    The stack is the `ModuleList` with `num_hidden_layers` entries, as given in the `config` of the encoder or of the
    outermost module in it that has one. Several such lists are parts of the same layers (XLM). Parameters before the
    stack and embeddings lie below all layers; parameters after it lie above all of them.
    """
    backbone = _find_backbone(encoder)
    if backbone is None:
        return None
    prefix, module, count = backbone
    stacks = find_layer_stacks(module, count, prefix)
    if not stacks:
        return None
    embeddings = {id(module.weight) for module in encoder.modules() if isinstance(module, nn.Embedding)}
    layers_above: dict[str, int] = {}
    is_before_stack = True
    for name, parameter in encoder.named_parameters():
        stack = next((stack for stack in stacks if name.startswith(stack)), None)
        is_before_stack = is_before_stack and stack is None
        if stack is not None:
            layers_above[name] = count - 1 - int(name.removeprefix(stack).partition(".")[0])
        else:
            layers_above[name] = count if is_before_stack or id(parameter) in embeddings else 0
    return layers_above


def find_encoder_layers(encoder: nn.Module) -> list[nn.Module]:
    """Return the layers of the stacks that `count_layers_above` uses, in order; empty if there is none."""
    backbone = _find_backbone(encoder)
    if backbone is None:
        return []
    prefix, module, count = backbone
    stacks = [encoder.get_submodule(stack.removesuffix(".")) for stack in find_layer_stacks(module, count, prefix)]
    return [layer for stack in stacks for layer in stack.children()]


def find_layer_stacks(backbone: nn.Module, count: int, prefix: str = "") -> list[str]:
    """Return the name prefixes of each `ModuleList` with `count` entries; not of those inside another one."""
    stacks: list[str] = []
    for name, module in backbone.named_modules(prefix=prefix):
        is_stack = isinstance(module, nn.ModuleList) and len(module) == count
        if is_stack and not name.startswith(tuple(stacks)):  # a layer of T5 is a list, too
            stacks.append(f"{name}.")
    return stacks


def _find_backbone(encoder: nn.Module) -> tuple[str, nn.Module, int] | None:
    """Return name, module and number of layers of the outermost module with `config.num_hidden_layers`."""
    for name, module in encoder.named_modules():
        count = getattr(getattr(module, "config", None), "num_hidden_layers", None)
        if isinstance(count, int):
            return name, module, count
    return None
