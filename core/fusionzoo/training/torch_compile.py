"""Run the model through torch.compile while it trains; its weights and their names stay the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor, nn

from fusionzoo import errors
from fusionzoo.nn.transformer_layers import find_encoder_layers
from fusionzoo.settings import JobSettings
from fusionzoo.training.device import find_device
from fusionzoo.training.frozen.probe import replace_forward

log = logging.getLogger(__name__)

MIN_TORCH = "2.5"  # earlier versions recompile for each layer of a stack


def check_torch_compile(settings: JobSettings, torch_version: str = torch.__version__) -> None:
    """If `torch_compile` is on, compile a tiny function, so that a missing compiler fails before the data is read.

    Log a warning if compiling is unlikely to pay off.

    Raises:
        errors.SettingError: this machine or this torch version cannot compile; names what is missing.
    """
    if not settings.torch_compile:
        return
    if Version(torch_version) < Version(MIN_TORCH):
        raise errors.torch_too_old_to_compile(torch_version, MIN_TORCH)
    from torch._inductor.utils import fresh_inductor_cache  # importing it takes seconds

    device = find_device().type
    try:  # with an empty cache: compiled code of an earlier job would hide a missing compiler
        with TemporaryDirectory(prefix="compile-") as folder, fresh_inductor_cache(dir=folder):
            torch.compile(_tiny_function)(torch.ones(2, device=device, requires_grad=True)).backward()  # type: ignore[no-untyped-call]
    except RuntimeError as cause:
        raise errors.missing_compiler(device, cause) from cause
    if device == "cpu":
        log.warning(
            "torch_compile is on, but there is no GPU. On a CPU, MiniLM trained at 0.8 times its usual speed, after "
            "50 s of compiling. Remove the setting unless it raises the rows per second."
        )


def _tiny_function(values: Tensor) -> Tensor:
    return (values * 2 + 1).sum()


@contextmanager
def compile_for_training(model: nn.Module, text_encoder: nn.Module | None, settings: JobSettings) -> Iterator[None]:
    """Within the block, run the model compiled whenever it is in training mode, if `torch_compile` is on.

    The compiled code works for all batch sizes. Dropout draws other random numbers than without compiling.

    Args:
        text_encoder: the text encoder inside the model if it runs during training.

    Raises:
        errors.CompileError: a part of the model cannot be compiled.
    """
    if not settings.torch_compile:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # importing it takes seconds

    with ExitStack() as stack:
        # A process may train several times, and torch stops compiling after a few versions of the same code.
        stack.callback(torch.compiler.reset)
        for part in select_compiled_parts(model, text_encoder):
            stack.enter_context(replace_forward(part, _make_forward(model, part)))
        try:
            yield
        except TorchDynamoException as cause:
            raise errors.CompileError(type(model).__name__, cause) from cause


def select_compiled_parts(model: nn.Module, text_encoder: nn.Module | None) -> list[nn.Module]:
    """Return the modules to compile: each layer of the text encoder's stack, or the whole model if there is none.

    Identical layers share one compiled code, and the encoder can still run a batch in groups of similar length.
    """
    layers = [] if text_encoder is None else find_encoder_layers(text_encoder)
    return layers or [model]


def is_one_graph(model: nn.Module, text_encoder: nn.Module | None, settings: JobSettings) -> bool:
    """Return whether the whole model is compiled, so that hooks on the modules inside it do not run."""
    return settings.torch_compile and select_compiled_parts(model, text_encoder) == [model]


def _make_forward(model: nn.Module, part: nn.Module) -> Callable[..., Any]:
    """Return a forward that is compiled while the model trains; `part.training` would be False for a frozen part."""
    eager = part.forward
    compiled: Callable[..., Any] = torch.compile(eager, dynamic=True)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return (compiled if model.training else eager)(*args, **kwargs)

    return forward
