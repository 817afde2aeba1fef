"""Training: divergence, metrics, compiling, memory."""

from __future__ import annotations

import errno
import math
from collections.abc import Mapping, Sequence

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.column_errors import more_classes_in
from fusionzoo.errors.machine_fixes import THREAD_FIX, is_thread_limit
from fusionzoo.errors.wording import cut, list_names, pluralize, short

MAX_LISTED_IDS = 5
VAL_LOSS = "val_loss"
MEMORY_SIGNS = (
    "can't allocate memory",
    "Cannot allocate memory",
    "not enough memory",
    "Failed to allocate memory",
    "bad_alloc",
    "bad allocation",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "failed to map segment",
)
OUT_OF_MEMORY = "Fix: lower batch_size, max_sen_len or max_total_chunks, or use an instance with more memory. [FZ-T007]"
"""Added to an out-of-memory error that is raised outside training, where the batch is not known."""


class TrainingDivergedError(ZooError):
    """The loss, a gradient, a weight or a model output is NaN or infinite."""

    @classmethod
    def loss(
        cls, where: str, value: float, rows: str, gradients: Sequence[str], rates: Sequence[float], fix: str
    ) -> TrainingDivergedError:
        """The loss of a batch is NaN or infinite: usually the learning rate is too high.

        Fix: lower lr, set gradient_clip_val: 1.0, or set precision: "32"; check the numbers and texts of these rows
        """
        return cls._at(where, (gradients, rates), f"the loss is {value}. {rows}", fix, "FZ-T001")

    @classmethod
    def gradient(
        cls, where: str, rows: str, gradients: Sequence[str], rates: Sequence[float], fix: str
    ) -> TrainingDivergedError:
        """A gradient is NaN or infinite, although the loss is finite.

        Fix: lower lr, set gradient_clip_val: 1.0, or set precision: "32"; check the numbers and texts of these rows
        """
        message = f"the loss is finite, but gradients are NaN or infinite. {rows}"
        return cls._at(where, (gradients, rates), message, fix, "FZ-T002")

    @classmethod
    def weights(cls, step: int, names: Sequence[str], rates: Sequence[float], fix: str) -> TrainingDivergedError:
        """Weights are NaN or infinite when a checkpoint is due; no checkpoint is written.

        Fix: lower lr, set gradient_clip_val: 1.0, or set precision: "32"
        """
        message = f"weights are NaN or infinite and were not saved: {list_names(names, 300)}."
        return cls._at(f"step {step}", ((), rates), message, fix, "FZ-T003")

    @classmethod
    def outputs(cls, step: int, rows: str, rates: Sequence[float], fix: str) -> TrainingDivergedError:
        """The model's outputs for val are NaN or infinite.

        Fix: lower lr, set gradient_clip_val: 1.0, or set precision: "32"; check the numbers and texts of these rows
        """
        message = f"the model's outputs for val after this step are NaN or infinite. {rows}"
        return cls._at(f"step {step}", ((), rates), message, fix, "FZ-T004")

    @classmethod
    def _at(
        cls, where: str, state: tuple[Sequence[str], Sequence[float]], message: str, fix: str, code: str
    ) -> TrainingDivergedError:
        """Return the error with the state of training: lines about gradients, and learning rates."""
        gradients, rates = state
        shown = ", ".join(f"{rate:.1e}" for rate in sorted(set(rates)))
        lines = [f"Training diverged in {where}: {message}", *gradients, f"Learning rates: {shown}."]
        return cls("\n".join(lines), f"{fix}.", code)


def rows_not_finite(ids: Sequence[object], rows: int) -> str:
    """Return the sentence about rows of a batch that are NaN or infinite; the batch has `rows` rows."""
    return f"Affected: {len(ids)} of the batch's {pluralize(rows, 'row')}: {_list_ids(ids)}."


def rows_finite_loss_not(ids: Sequence[object]) -> str:
    """Return the sentence about a batch whose rows have finite losses, although their sum is not finite."""
    return f"Each row's own loss is finite: the sum or the architecture's penalty is not. Rows: {_list_ids(ids)}."


def rows_of_step(ids: Sequence[object]) -> str:
    """Return the sentence with the ids of a step."""
    return f"Rows of the step: {_list_ids(ids)}."


def rows_of_val(ids: Sequence[object], rows: int) -> str:
    """Return the sentence about rows of val that are NaN or infinite; val has `rows` rows."""
    return f"Affected: {len(ids)} of val's {pluralize(rows, 'row')}: {_list_ids(ids)}."


def gradients_not_finite(names: Sequence[str], count: int) -> str:
    """Return the sentence about gradients that are NaN or infinite, out of `count`."""
    shown = "all of them" if len(names) == count > 1 else list_names(names, 200)
    return f"Gradients that are NaN or infinite ({len(names)} of {count}): {shown}."


def gradients_largest(step: int, norms: Sequence[tuple[str, float]]) -> str:
    """Return the sentence about the largest gradients of a step; `norms` are L2 norms before clipping."""
    shown = ", ".join(f"{cut(name, 60)} {norm:.3g}" for name, norm in norms)
    return f"Largest gradients in step {step} (norms before clipping): {shown}."


def gradient_overflows(steps: int) -> str:
    """Return the sentence about fp16 gradients that overflow at every loss scale."""
    return f"The gradients overflowed in {steps} consecutive steps, although fp16's loss scale was lowered each time."


def divergence_fix(lr: float | None, clip: float, precision: str) -> str:
    """Return which settings of a diverged training to change."""
    changes = ["lower lr" if lr is None else f"lower lr (to {lr / 10:.2g})"]
    if not 0 < clip <= 1:
        changes.append("set gradient_clip_val: 1.0")
    if not precision.startswith("32"):
        changes.append('set precision: "32"')
    return f"{', or '.join(changes)}; check the numbers and texts of these rows"


class MetricUndefinedError(ZooError):
    """The metric that selects the best checkpoint is undefined, for example because val lacks a class, or infinite.

    Args:
        metric: the metric.
        value: its value; None if it was not computed.
        task: the name of the task.
        val_fraction: the share of train that val has if the job made it; None for a channel of its own.

    Fix: add rows of other classes to val (with val_fraction: raise it, or add them to train), or set early_stop_metric:
    val_loss; if the value is infinite, correct extreme values of val, or lower lr.
    """

    def __init__(
        self, metric: str, value: float | None, task: str = "classification", val_fraction: float | None = None
    ) -> None:
        state = "was not computed" if value is None else f"is {value}"
        changes = _advise_on_metric(metric, value, task, val_fraction)
        if metric != VAL_LOSS:
            changes.append(f"set early_stop_metric: {VAL_LOSS}")
        super().__init__(
            f"early_stop_metric {metric} {state} after a validation, so no checkpoint can be selected as the best.",
            f"{', or '.join(changes)}.",
            "FZ-T005",
        )


def _advise_on_metric(metric: str, value: float | None, task: str, val_fraction: float | None) -> list[str]:
    """Return how to change val or the training, so that the metric has a finite value."""
    is_undefined = value is None or (math.isnan(value) and metric != VAL_LOSS)
    if is_undefined and task == "regression":
        return ["add rows with other values of label_name to val, or to train if val_fraction splits val off it"]
    if is_undefined:
        return [more_classes_in("val", val_fraction, "labels" if task == "multilabel" else "classes")]
    values = "the numeric columns and label_name" if task == "regression" else "the numeric columns"
    return [f"correct extreme values in {values} of val", "lower lr"]


class CompileError(ZooError):
    """torch.compile does not support an operation of the model."""

    def __init__(self, model: str, cause: Exception) -> None:
        super().__init__(
            f"torch.compile failed on {model} ({type(cause).__name__}: {short(cause)}).",
            "remove torch_compile; the model trains without it.",
            "FZ-T006",
        )


class BatchMemoryError(ZooError):
    """The device or the host has too little memory for a batch."""

    def __init__(self, place: str, batch: str, cause: str, changes: Sequence[str]) -> None:
        super().__init__(
            f"Out of memory {place}: {batch}.\nCause: {cut(cause, 200)}",
            ", or ".join([*changes, "use an instance with more memory."]),
            "FZ-T007",
        )


class ModelMemoryError(ZooError):
    """The weights, gradients and the optimizer's state of the model need more memory than the machine has."""

    def __init__(self, needed: int, available: int, largest: str, settings: Mapping[str, int]) -> None:
        shown = [f"{name} ({value:,})" for name, value in settings.items()]
        change = f"lower {' or '.join(shown)}" if shown else "choose a smaller architecture"
        super().__init__(
            f"The model needs at least {needed / 1e9:,.1f} GB for its weights, gradients and optimizer state, but this "
            f"machine has {available / 1e9:,.1f} GB. Its largest weight is {largest}.",
            f"{change}, or use an instance with more memory.",
            "FZ-T020",
        )


class MemoryExhaustedError(ZooError):
    """The process may not use more memory, for example because of `ulimit -v`."""

    def __init__(self, place: str, cause: BaseException, limit: int | None) -> None:
        limited = "" if limit is None else f" The address space of the process is limited to {limit / 1e9:,.1f} GB."
        super().__init__(
            f"Out of memory {place} ({type(cause).__name__}: {short(cause)}).{limited}",
            ("" if limit is None else "remove or raise the limit (ulimit -v unlimited), or ")
            + "use an instance with more memory.",
            "FZ-T021",
        )


class ThreadLimitError(ZooError):
    """The system starts no further thread or process, for example because of `ulimit -u` or a limit of the container.

    Fix: raise the limit on processes and threads (ulimit -u, and the pids limit of the container), or set
    OMP_NUM_THREADS to a lower number.
    """

    def __init__(self, place: str, cause: BaseException) -> None:
        message = f"No further thread can be started {place} ({type(cause).__name__}: {short(cause)})."
        super().__init__(message, f"{THREAD_FIX}.", "FZ-T030")


def is_machine_limit(error: BaseException) -> bool:
    """Return whether an exception says that the machine has no more memory or threads: no fault of a model or file."""
    return is_out_of_memory(error) or is_thread_limit(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception of Python, torch or onnxruntime says that memory is exhausted."""
    if type(error).__name__ in ("MemoryError", "OutOfMemoryError"):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return not isinstance(error, ZooError | ValueError) and any(sign in str(error) for sign in MEMORY_SIGNS)


def _list_ids(ids: Sequence[object]) -> str:
    """Return the first few ids, and the number of the rest."""
    shown = ", ".join(cut(repr(identifier), 40) for identifier in ids[:MAX_LISTED_IDS])
    return shown if len(ids) <= MAX_LISTED_IDS else f"{shown} and {len(ids) - MAX_LISTED_IDS} more"
