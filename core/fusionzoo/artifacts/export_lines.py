"""Find the lines of a model's own code at which its export to ONNX fails."""

from __future__ import annotations

import linecache
import re
import sysconfig
import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

import fusionzoo
from fusionzoo.artifacts.onnx_tracing import TracedModule, write_onnx
from fusionzoo.errors.wording import cut

MAX_LINES, MAX_CODE_LENGTH = 3, 100
TORCH, CORE = Path(str(torch.__file__)).parent, Path(str(fusionzoo.__file__)).parent
EXPORT = CORE / "artifacts"
TRACER = TORCH / "jit" / "_trace.py"
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
PACKAGES = Path(sysconfig.get_path("purelib"))  # is often inside the folder of the standard library
CALL = re.compile(r"(.+)\((\d+)\): \S+")  # a line of the stack that the tracer stores
OPERATION = re.compile(r"aten::(\w+)")


class FixedValues:
    """The lines of a model at which the tracer makes constants of values that other inputs change.

    The line of a condition comes last: most conditions, such as `if batch.rows`, are the same for all inputs.
    """

    def __init__(self) -> None:
        self._lines: dict[str, bool] = {}

    def add(self, warning: Warning) -> None:
        """Add the line that runs, for which the tracer gives this warning."""
        if (line := _find_running_line()) and not line.is_of_core:
            self._lines[str(line)] = "Python boolean" in str(warning)

    @property
    def lines(self) -> list[str]:
        """The lines in the order in which they ran, conditions last."""
        return sorted(self._lines, key=lambda line: self._lines[line])[:MAX_LINES]


@dataclass(frozen=True)
class CodeLine:
    """A line of code. `is_of_core` tells whether it calls, directly or not, nothing but torch, or core's modules."""

    file: str
    number: int
    is_of_core: bool

    def __str__(self) -> str:
        code = linecache.getline(self.file, self.number).strip()
        return f"{cut(self.file, 150)}, line {self.number}" + (f": {cut(code, MAX_CODE_LENGTH)}" if code else "")


def find_own_line(calls: Iterable[tuple[str, int]]) -> CodeLine | None:
    """Return the innermost line of the model's own code; of core's, if only core's modules are called; None if none.

    Args:
        calls: the file and the line of each call, the innermost first. Those outside of the tracer are ignored.
    """
    line_of_core: CodeLine | None = None
    for file, number in calls:
        path = Path(file)
        if path == TRACER:
            break
        is_of_library = path.is_relative_to(STANDARD_LIBRARY) and not path.is_relative_to(PACKAGES)
        if path.is_relative_to(TORCH) or path.is_relative_to(EXPORT) or is_of_library or file.startswith("<"):
            continue
        if not path.is_relative_to(CORE):
            return CodeLine(file, number, line_of_core is not None)
        line_of_core = line_of_core or CodeLine(file, number, is_of_core=True)
    return line_of_core


def find_lines_of_error(traced: TracedModule, cause: Exception) -> list[str]:
    """Return the lines that raise an exception of the exporter, or call the operation that it cannot export."""
    frames = list(traceback.walk_tb(cause.__traceback__))
    calls = [(frame.f_code.co_filename, number) for frame, number in frames]
    lines: list[CodeLine | None] = []
    if any(Path(file) == TRACER for file, _ in calls):
        lines.append(find_own_line(reversed(calls)))
    nodes = (frame.f_locals.get("node") for frame, _ in reversed(frames))
    if (node := next((node for node in nodes if isinstance(node, torch.Node)), None)) is not None:
        lines.append(find_own_line(_parse_calls(str(node.sourceRange()))))
    elif operation := OPERATION.search(str(cause)):  # the message about arguments of wrong types
        lines += _find_lines_with_bool(traced, operation[1])
    return list(dict.fromkeys(str(line) for line in lines if line is not None))[:MAX_LINES]


def find_lines_of_node(traced: TracedModule, name: str) -> list[str]:
    """Return the line that computes a node of the exported graph, as a list; empty if it is unknown."""
    import onnx

    with tempfile.TemporaryDirectory(prefix="fusionzoo-export-") as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(traced, path, with_lines=True)
        nodes = onnx.load(str(path), load_external_data=False).graph.node
    lines = (find_own_line(_parse_calls(node.doc_string)) for node in nodes if node.name == name)
    return [str(line) for line in lines if line is not None]


class _CallsWithBool(TorchFunctionMode):
    """Collects the lines that call an operation with True or False as an argument."""

    def __init__(self, operation: str) -> None:
        super().__init__()
        self._operation, self.lines = operation, list[CodeLine | None]()

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if function.__name__ == self._operation and any(isinstance(v, bool) for v in (*args, *kwargs.values())):
            self.lines.append(_find_running_line())
        return function(*args, **kwargs)


def _find_lines_with_bool(traced: TracedModule, operation: str) -> list[CodeLine | None]:
    calls = _CallsWithBool(operation)
    with torch.inference_mode(), calls:
        traced.module(*traced.example)
    return calls.lines


def _find_running_line() -> CodeLine | None:
    return find_own_line((frame.f_code.co_filename, number) for frame, number in traceback.walk_stack(None))


def _parse_calls(stack: str) -> list[tuple[str, int]]:
    matches = (CALL.match(line) for line in stack.splitlines())
    return [(match[1], int(match[2])) for match in matches if match]
