"""Run a function as SageMaker expects it of a script: logs on standard output, an exit status, and a failure file."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from fusionzoo import errors
from fusionzoo.sagemaker.failure_file import (
    MAX_CAUSE_CHARACTERS,
    print_to_stderr,
    remove_stale_failure,
    write_failure,
)
from fusionzoo.sagemaker.folder_lock import lock_folder

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals of a scheduler, a closed terminal and a user: a job stops and reports why. Ctrl-C has a handler in Python."""


def run_and_report(
    run: Callable[[], None], failure: Path, *, is_worker: bool = False, locked_folder: Path | None = None
) -> int:
    """Run a function and return the exit status, 0 or 1. If it fails, write the cause to the failure file.

    Every exception is logged and written, including an interrupt; a ZooError without its stack trace. If another job
    uses `locked_folder`, only the log says so: the failure file is that job's. `is_worker` is for a process that
    torchrun started.
    """
    with _restore_handlers():
        return _run_and_report(run, failure, is_worker, locked_folder)


def report_early_error(error: errors.ZooError, failure: Path | None) -> int:
    """Report an error from before the job, for example of a variable that names its folders, and return exit status 1.

    The cause goes to standard error if there is no folder for a failure file.
    """
    with log_to_stdout():
        log.error("%s", error)
        if failure is None:
            print_to_stderr(str(error))
        else:
            write_failure(failure, str(error))
    return 1


@contextmanager
def own_folder(folder: Path, job_id: str, failure: Path) -> Iterator[None]:
    """Own a folder in the block, see `lock_folder`. If that fails, remove the failure file of an earlier run, because
    the cause of this one goes there, unless another job is running.

    Raises:
        errors.FolderInUseError: another job writes to the folder.
        errors.OutputError: the folder is not writable.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(lock_folder(folder, job_id))
        except errors.OutputError:
            remove_stale_failure(failure)
            raise
        yield


def _run_and_report(run: Callable[[], None], failure: Path, is_worker: bool, locked_folder: Path | None) -> int:
    try:
        with nullcontext() if is_worker else _stop_at_signals(), _provide_home():
            run()
    except errors.ZooError as error:
        log.error("%s", error)
        if not (isinstance(error, errors.FolderInUseError) and error.folder == locked_folder):
            write_failure(failure, str(error))
        return 1
    except BaseException as error:  # an interrupted job has failed too and must report it
        cause = _describe_cause(error)
        log.critical("%s", cause, exc_info=error)
        write_failure(failure, cause[:MAX_CAUSE_CHARACTERS], "".join(traceback.format_exception(error)))
        return 1
    return 0


class _PrintableFormatter(logging.Formatter):
    """Escapes what standard output cannot encode, such as half of a surrogate pair in a file name."""

    def format(self, record: logging.LogRecord) -> str:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        return super().format(record).encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def log_to_stdout(rank: int = 0) -> Iterator[None]:
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


def _describe_cause(error: BaseException) -> str:
    """Return the exception's type and message, its notes, and the fix if the machine is the reason."""
    hint = f"\n{errors.OUT_OF_MEMORY}" if errors.is_out_of_memory(error) else ""
    if fix := errors.find_machine_fix(error):
        hint = f"\nFix: {fix}."
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


def _stop(number: int, frame: FrameType | None) -> None:
    raise _StopSignal


def ignore_signals() -> None:
    """Until `run_and_report` ends, ignore signals that would stop the job, because it has written everything."""
    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is _stop:
                signal.signal(number, signal.SIG_IGN)


@contextmanager
def _stop_at_signals() -> Iterator[None]:
    """In the block, `STOP_SIGNALS` and Ctrl-C stop the job at once, also while libraries are imported. A training
    replaces the handlers.

    A process that torchrun started needs the default: torchrun sends SIGTERM because another process has failed, and
    that process reports the cause. A handler that the caller installed is kept, and so is an ignored signal: nohup
    ignores SIGHUP. After the block, these signals are ignored, because the job is about to report why it ends.

    Raises:
        errors.TerminatedError: a signal arrived.
    """
    is_main_thread = threading.current_thread() is threading.main_thread()
    handled = [number for number in STOP_SIGNALS if is_main_thread and signal.getsignal(number) is signal.SIG_DFL]
    for number in handled:
        signal.signal(number, _stop)
    try:
        yield
    except (_StopSignal, KeyboardInterrupt):
        raise errors.TerminatedError(None) from None
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _restore_handlers() -> Iterator[None]:
    """After the block, `STOP_SIGNALS` have the handlers that they had before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None:  # None: not installed by Python
                signal.signal(number, handler)
