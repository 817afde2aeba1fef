"""Run a job as SageMaker expects it: logs on standard output, an exit status, and a failure file."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from fusionzoo import errors
from fusionzoo.sagemaker.failure_file import MAX_CAUSE_CHARACTERS, remove_stale_failure, write_failure
from fusionzoo.sagemaker.paths import Paths

log = logging.getLogger(__name__)


def run_job(job: Callable[[Paths], None], environ: Mapping[str, str]) -> int:
    """Run a job and return its exit status, 0 or 1. If it fails, write the cause to the failure file.

    Every exception is logged and written, including an interrupt; a ZooError without its stack trace. `environ` holds
    the variables that torchrun sets for each process: rank 0 logs everything, the other processes log errors only.
    """
    paths = Paths.from_environment(environ)
    with _log_to_stdout(int(environ.get("RANK") or 0)):
        if environ.get("LOCAL_RANK", "0") == "0":
            remove_stale_failure(paths.failure)
        try:
            job(paths)
        except errors.ZooError as error:
            log.error("%s", error)
            write_failure(paths.failure, str(error))
            return 1
        except BaseException as error:  # an interrupted job has failed too and must report it
            cause = _describe_cause(error)
            log.critical("%s", cause, exc_info=error)
            write_failure(paths.failure, cause[:MAX_CAUSE_CHARACTERS], "".join(traceback.format_exception(error)))
            return 1
    return 0


def _describe_cause(error: BaseException) -> str:
    """Return the exception's type and message, its notes, and how to reduce memory use if it ran out of memory."""
    hint = f"\n{errors.OUT_OF_MEMORY}" if errors.is_out_of_memory(error) else ""
    notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))  # for example the plugin's hook
    end = (notes + hint)[-MAX_CAUSE_CHARACTERS // 2 :]
    return f"{type(error).__name__}: {error}"[: MAX_CAUSE_CHARACTERS - len(end)] + end


@contextmanager
def _log_to_stdout(rank: int) -> Iterator[None]:
    """In the block, log `fusionzoo` as plain lines on standard output only. Restore the logger afterwards."""
    logger = logging.getLogger("fusionzoo")
    handler = logging.StreamHandler(sys.stdout)
    prefix = f"[process {rank}] " if rank else ""
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {prefix}%(message)s"))
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
