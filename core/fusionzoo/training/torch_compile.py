"""The model that trains, through torch.compile: it runs other code, with the same weights under the same names."""

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
from fusionzoo.training.frozen.probe import replaced_forward

log = logging.getLogger(__name__)

COMPILES_SINCE = "2.5"  # of torch: earlier ones compile each layer of a stack anew


def check_torch_compile(settings: JobSettings, torch_version: str = torch.__version__) -> None:
    """Compile something tiny where `torch_compile` is on, so that a missing compiler is found before data are read.

    Warns where compiling hardly pays.

    Raises:
        errors.SettingError: this machine or this torch cannot compile; names what is missing.
    """
    if not settings.torch_compile:
        return
    if Version(torch_version) < Version(COMPILES_SINCE):
        raise errors.compile_needs_torch(torch_version, COMPILES_SINCE)
    from torch._inductor.utils import fresh_inductor_cache  # importing it takes seconds

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:  # in an empty cache: otherwise what an earlier job left there would stand in for the compiler
        with TemporaryDirectory(prefix="compile-") as folder, fresh_inductor_cache(dir=folder):
            torch.compile(_tiny)(torch.ones(2, device=device, requires_grad=True)).backward()  # type: ignore[no-untyped-call]
    except RuntimeError as cause:
        raise errors.compiler_missing(device, cause) from cause
    if device == "cpu":
        log.warning(errors.compiled_on_cpu())


def _tiny(values: Tensor) -> Tensor:
    return (values * 2 + 1).sum()


@contextmanager
def compiled(model: nn.Module, text_encoder: nn.Module | None, settings: JobSettings) -> Iterator[None]:
    """For a while, has the model run compiled while it is in training mode, where `torch_compile` is on.

    Compiled code holds for all sizes of a batch. Dropout draws other numbers than it does uncompiled.

    Args:
        text_encoder: the one inside the model, if it runs.

    Raises:
        errors.CompileError: a part of the model cannot be compiled.
    """
    if not settings.torch_compile:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # importing it takes seconds

    with ExitStack() as stack:
        stack.callback(torch.compiler.reset)  # a process may train again, and torch gives up after a few versions
        for part in compiled_parts(model, text_encoder):
            stack.enter_context(replaced_forward(part, _in_training(model, part)))
        try:
            yield
        except TorchDynamoException as cause:
            raise errors.CompileError(type(model).__name__, cause) from cause


def compiled_parts(model: nn.Module, text_encoder: nn.Module | None) -> list[nn.Module]:
    """What is compiled: each layer of the text encoder's stack, or the whole model where there is none.

    Layers that are alike share one compiled code, and the encoder still runs a batch in groups of similar length.
    """
    layers = [] if text_encoder is None else find_encoder_layers(text_encoder)
    return layers or [model]


def is_one_graph(model: nn.Module, text_encoder: nn.Module | None, settings: JobSettings) -> bool:
    """Whether the whole model is compiled, so that what goes on inside it cannot be watched."""
    return settings.torch_compile and compiled_parts(model, text_encoder) == [model]


def _in_training(model: nn.Module, part: nn.Module) -> Callable[..., Any]:
    """The part's forward, compiled while the model is in training mode; a frozen part never is itself."""
    eager = part.forward
    fast: Callable[..., Any] = torch.compile(eager, dynamic=True)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return (fast if model.training else eager)(*args, **kwargs)

    return forward
