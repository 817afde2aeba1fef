"""Trace a module and write it as an ONNX file, with torch's exporter and without its output."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning

from fusionzoo.artifacts.exportable_attention import exportable_attention
from fusionzoo.artifacts.exportable_operations import ExportableOperations, computed_parametrizations

OPSET = 17

WarningHandler = Callable[[Warning], None]


@dataclass(frozen=True)
class TracedModule:
    """A module in evaluation mode, the example inputs with which it is traced, and the names of inputs and output.

    `dynamic_axes` are those of `torch.onnx.export`.
    """

    module: nn.Module
    example: tuple[Tensor, ...]
    inputs: Sequence[str]
    output: str
    dynamic_axes: Mapping[str, Mapping[int, str]]


def write_onnx(
    traced: TracedModule, path: Path, handle_warning: WarningHandler | None = None, with_lines: bool = False
) -> None:
    """Write the module as an ONNX file.

    Args:
        traced: what to export.
        path: the file to write.
        handle_warning: called for each warning of the tracer about a value that it makes a constant, while the line
            that causes it runs.
        with_lines: store the stack of Python's calls of each node in its `doc_string`.

    Raises:
        Exception: whatever torch's exporter raises.
    """
    # torch >= 2.5 has two exporters; the newer one writes two files of IR version 10, which older runtimes cannot load.
    exporter: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    with _silenced(), _exportable(traced.module, handle_warning):
        torch.onnx.export(
            traced.module,
            traced.example,
            str(path),
            input_names=list(traced.inputs),
            output_names=[traced.output],
            dynamic_axes=traced.dynamic_axes,
            opset_version=OPSET,
            verbose=with_lines,
            **exporter,
        )


@contextmanager
def _exportable(module: nn.Module, handle_warning: WarningHandler | None) -> Iterator[None]:
    """In the context, the module can be traced: it uses operations that can be exported, and warnings are hidden."""

    def show(message: Warning | str, *details: object, **options: object) -> None:
        if handle_warning is not None and isinstance(message, TracerWarning):
            handle_warning(message)

    with (
        warnings.catch_warnings(),
        computed_parametrizations(module),
        exportable_attention(module),
        ExportableOperations(),
    ):
        # the tracer warns about each shape that it reads; the comparison is what decides
        warnings.simplefilter("ignore")
        if handle_warning is not None:
            warnings.simplefilter("always", TracerWarning)
            warnings.showwarning = show
        yield


@contextmanager
def _silenced() -> Iterator[None]:
    """In the context, the exporter does not print graphs, which it does when it fails, by a function in C++."""
    log_graph = getattr(torch._C, "_jit_onnx_log", None)  # absent in some versions of torch
    if log_graph is None:
        yield
        return
    torch._C._jit_onnx_log = lambda *graph: None
    try:
        yield
    finally:
        torch._C._jit_onnx_log = log_graph
