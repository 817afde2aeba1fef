"""Limits of the machine are named as such: memory, inodes, and a folder that another job uses."""

from __future__ import annotations

import errno
import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cli_helpers import invoke
from fusionzoo import errors
from fusionzoo.artifacts import onnx_session
from fusionzoo.artifacts.memory_limit import find_limit_error
from fusionzoo.artifacts.onnx_export import export_onnx
from fusionzoo.data import cache as cache_module
from fusionzoo.data.cache import Cache
from fusionzoo.demo.data_set import generate_demo_data
from fusionzoo.sagemaker.folder_lock import lock_folder
from fusionzoo.tasks.class_objective import Softmax
from shop import made_split
from training_helpers import LinearModel


class OnnxruntimeError(Exception):
    """Like the errors of onnxruntime, which have no common base class."""


@pytest.mark.parametrize(
    ("cause", "is_memory"),
    [
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            True,
        ),
        (OnnxruntimeError("bad allocation"), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (ImportError("libx.so: failed to map segment from shared object"), True),
        (RuntimeError("Unsupported: ONNX export of operator x"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
    ],
)
def test_an_exhausted_memory_is_distinguished_from_a_fault_of_the_model(cause: Exception, is_memory: bool) -> None:
    chained = errors.ExportError.failed(cause)
    chained.__cause__ = cause
    assert (find_limit_error(chained, "here") is not None) == is_memory


THREAD_LIMITS = [
    RuntimeError("can't start new thread"),
    RuntimeError("pthread_create failed, error code: 11 error msg: Resource temporarily unavailable"),
    OnnxruntimeError("onnxruntime::PosixThread: pthread_create failed"),
    RuntimeError("Resource temporarily unavailable"),
    BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
]
each_thread_limit = pytest.mark.parametrize("cause", THREAD_LIMITS, ids=repr)


@each_thread_limit
def test_a_limit_on_threads_is_not_taken_for_memory_or_a_fault_of_the_model(cause: Exception) -> None:
    chained = errors.ExportError.failed(cause)
    chained.__cause__ = cause
    assert not errors.is_out_of_memory(cause)
    assert errors.is_machine_limit(cause)
    error = find_limit_error(chained, "while the model is exported")
    assert isinstance(error, errors.ThreadLimitError)
    assert str(error).startswith("No further thread can be started while the model is exported")
    assert "ulimit -u" in error.fix
    assert "batch_size" not in str(error)


@each_thread_limit
def test_a_job_that_cannot_start_a_thread_names_the_limit(cause: Exception) -> None:
    fix = errors.find_machine_fix(cause)
    assert "ulimit -u" in fix
    assert "pids limit" in fix
    assert "OMP_NUM_THREADS" in fix


@pytest.mark.parametrize(
    "cause",
    [
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable", "/a/lock"),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("can't start new thread"),
        errors.ReportEntryError(["can't start new thread"]),
        MemoryError(),
    ],
    ids=repr,
)
def test_other_errors_are_not_taken_for_a_limit_on_threads(cause: Exception) -> None:
    assert "ulimit -u" not in errors.find_machine_fix(cause)
    assert not isinstance(find_limit_error(cause, "here"), errors.ThreadLimitError)


def test_a_limit_on_the_address_space_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (3 * 10**9, 3 * 10**9))
    text = str(find_limit_error(MemoryError(), "here"))
    assert "limited to 3.0 GB" in text
    assert "ulimit -v unlimited" in text
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, -1))
    assert "ulimit" not in str(find_limit_error(MemoryError(), "here"))


def test_an_export_without_memory_does_not_blame_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError

    split = made_split(np.zeros(9, np.int64), np.zeros(1, np.int64))
    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(errors.MemoryExhaustedError, match="while the model is exported"):
        export_onnx(LinearModel(), Softmax(), split, tmp_path / "model.onnx", None)


def test_a_model_that_cannot_be_loaded_for_lack_of_memory_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Library:
        SessionOptions = SimpleNamespace

        @staticmethod
        def InferenceSession(*_: Any, **__: Any) -> None:
            raise OnnxruntimeError("std::bad_alloc")

    monkeypatch.setattr(onnx_session, "import_onnxruntime", lambda: Library)
    with pytest.raises(errors.MemoryExhaustedError, match=r"while model\.onnx is loaded"):
        onnx_session.open_onnx_session(tmp_path / "model.onnx", b"")


@pytest.mark.parametrize(("has_inodes", "words"), [(False, "no free inodes"), (True, "No space left on device")])
def test_a_cache_on_a_disk_without_inodes_is_not_called_full(
    has_inodes: bool, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "x"))

    monkeypatch.setattr(cache_module, "can_create_files", lambda _: has_inodes)
    with pytest.raises(errors.CacheError, match=words):
        Cache(tmp_path / "cache", 10**6).get_or_build("k", build, lambda folder: None)


def test_a_demo_in_the_folder_of_a_running_job_changes_nothing(tmp_path: Path) -> None:
    generate_demo_data(tmp_path, 200)
    checkpoint = tmp_path / "checkpoints/last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"of the other job")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with lock_folder(tmp_path / "output/data", "another job"):
        result = invoke("demo", "--rows", "300", "--root", str(tmp_path))
    assert result.exit_code == 1
    assert "Another job writes to" in result.output
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "output" not in path.parts}
    assert after == before
