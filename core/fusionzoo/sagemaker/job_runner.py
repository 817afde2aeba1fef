"""Run a job as SageMaker expects it: logs on standard output, an exit status, and a failure file."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from fusionzoo import errors
from fusionzoo.library_environment import configure_libraries
from fusionzoo.sagemaker.earlier_results import delete_earlier_results
from fusionzoo.sagemaker.failure_file import MAX_CAUSE_CHARACTERS, remove_stale_failure, write_failure
from fusionzoo.sagemaker.folder_lock import lock_folder
from fusionzoo.sagemaker.hosts import read_hosts
from fusionzoo.sagemaker.paths import Paths

log = logging.getLogger(__name__)


def run_job(job: Callable[[Paths], None], environ: Mapping[str, str]) -> int:
    """Run a job and return its exit status, 0 or 1. If it fails, write the cause to the failure file.

    Every exception is logged and written, including an interrupt; a ZooError without its stack trace. `environ` holds
    the variables that torchrun sets for each process: rank 0 logs everything, the other processes log errors only.

    The process that writes the results owns the output folder until it ends, and first deletes the results of an
    earlier run. A job that finds another one there changes nothing and writes no failure file.
    """
    configure_libraries()
    paths = Paths.from_environment(environ)
    with _log_to_stdout(int(environ.get("RANK") or 0)):
        writes_results = _writes_results(paths, environ)
        try:
            with (
                _stop_at_sigterm(environ),
                _provide_home(),
                lock_folder(paths.output_data, paths.job_id) if writes_results else nullcontext(),
            ):
                if environ.get("LOCAL_RANK", "0") == "0":
                    remove_stale_failure(paths.failure)
                if writes_results:
                    delete_earlier_results(paths)
                job(paths)
        except errors.ZooError as error:
            log.error("%s", error)
            if not (isinstance(error, errors.FolderInUseError) and error.folder == paths.output_data):
                write_failure(paths.failure, str(error))
            return 1
        except BaseException as error:  # an interrupted job has failed too and must report it
            cause = _describe_cause(error)
            log.critical("%s", cause, exc_info=error)
            write_failure(paths.failure, cause[:MAX_CAUSE_CHARACTERS], "".join(traceback.format_exception(error)))
            return 1
    return 0


def _writes_results(paths: Paths, environ: Mapping[str, str]) -> bool:
    """Return whether this process, or a process that it starts, is the one that writes the results of the job."""
    if environ.get("RANK"):
        return environ["RANK"] == "0"
    try:
        hosts = read_hosts(paths)
    except errors.ContainerError:  # the job itself fails because of it
        return True
    return hosts is None or hosts.current == hosts.names[0]


def _describe_cause(error: BaseException) -> str:
    """Return the exception's type and message, its notes, and how to reduce memory use if it ran out of memory."""
    hint = f"\n{errors.OUT_OF_MEMORY}" if errors.is_out_of_memory(error) else ""
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))  # for example the plugin's hook
    end = (notes + hint)[-MAX_CAUSE_CHARACTERS // 2 :]
    return f"{type(error).__name__}: {error}"[: MAX_CAUSE_CHARACTERS - len(end)] + end


@contextmanager
def _provide_home() -> Iterator[None]:
    """In the block, HOME is the folder of temporary files if the user has no home folder: libraries expect one."""
    try:
        Path.home()
    except RuntimeError as error:
        os.environ["HOME"] = tempfile.gettempdir()
        log.warning("%s Libraries use %s as home folder.", error, os.environ["HOME"])
        try:
            yield
        finally:
            del os.environ["HOME"]
        return
    yield


class _StopSignal(BaseException):
    """Raised by the signal handler. Not an Exception, so that a library that is being imported does not catch it."""


@contextmanager
def _stop_at_sigterm(environ: Mapping[str, str]) -> Iterator[None]:
    """In the block, SIGTERM stops the job at once, also while libraries are imported. A training replaces the handler.

    A process that torchrun started keeps the default: torchrun sends SIGTERM because another process has failed, and
    that process reports the cause. A handler that the caller installed is kept.

    Raises:
        errors.TerminatedError: the signal arrived.
    """
    is_main_thread = threading.current_thread() is threading.main_thread()
    if environ.get("LOCAL_RANK") or not is_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _StopSignal

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except _StopSignal:
        raise errors.TerminatedError(None) from None
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _PrintableFormatter(logging.Formatter):
    """Escapes what standard output cannot encode, such as half of a surrogate pair in a file name."""

    def format(self, record: logging.LogRecord) -> str:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        return super().format(record).encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def _log_to_stdout(rank: int) -> Iterator[None]:
    """In the block, log `fusionzoo` as plain lines on standard output only. Restore the logger afterwards."""
    logger = logging.getLogger("fusionzoo")
    handler = logging.StreamHandler(sys.stdout)
    prefix = f"[process {rank}] " if rank else ""
    handler.setFormatter(_PrintableFormatter(f"%(asctime)s %(levelname)s {prefix}%(message)s"))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR if rank else logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
