"""Open an ONNX file with onnxruntime; one that is damaged is a ModelFolderError."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fusionzoo import errors
from fusionzoo.artifacts.memory_limit import find_limit_error
from fusionzoo.artifacts.onnx_external_data import has_external_data
from fusionzoo.container_limits import count_cores_of_quota
from fusionzoo.data.model_files import model_file_errors
from fusionzoo.library_environment import import_onnxruntime

if TYPE_CHECKING:
    import onnxruntime


def open_onnx_session(path: Path, content: bytes, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Return a session that runs a model on the CPU.

    Args:
        path: names the file in messages.
        content: the bytes of the file. The session reads no file, so that these are the bytes that it uses.
        threads: the number of threads that compute one batch; None for one per core.

    Raises:
        errors.ModelFolderError: the content is damaged, or keeps weights in other files.
        errors.MemoryExhaustedError: the process may not use more memory.
    """
    with model_file_errors(path):
        if has_external_data(memoryview(content)):
            raise errors.ModelFolderError.external_data(path)
    library = import_onnxruntime()
    options = library.SessionOptions()
    options.intra_op_num_threads = threads or count_cores_of_quota() or 0  # 0: one per core
    try:
        session: onnxruntime.InferenceSession = library.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
    except Exception as cause:  # the errors of onnxruntime have no common base class
        if limit_error := find_limit_error(cause, f"while {path.name} is loaded"):
            raise limit_error from cause
        raise errors.ModelFolderError.unreadable(path, cause) from cause
    return session
