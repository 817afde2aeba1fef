"""Open an ONNX file with onnxruntime; a file that is missing or damaged is a ModelFolderError."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fusionzoo import errors
from fusionzoo.artifacts.memory_limit import find_memory_error
from fusionzoo.library_environment import import_onnxruntime

if TYPE_CHECKING:
    import onnxruntime


def open_onnx_session(path: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Return a session that runs the model in `path` on the CPU.

    Args:
        path: the ONNX file.
        threads: the number of threads that compute one batch; None for one per core.

    Raises:
        errors.ModelFolderError: the file is missing or damaged.
        errors.MemoryExhaustedError: the process may not use more memory.
    """
    library = import_onnxruntime()
    options = library.SessionOptions()
    options.intra_op_num_threads = threads or 0
    try:
        session: onnxruntime.InferenceSession = library.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as cause:  # the errors of onnxruntime have no common base class
        if memory_error := find_memory_error(cause, f"while {path.name} is loaded"):
            raise memory_error from cause
        raise errors.ModelFolderError.unreadable(path, cause) from cause
    return session
