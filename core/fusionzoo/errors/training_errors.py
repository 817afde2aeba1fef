"""Training: divergence, memory, precision, compiling, kept features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusionzoo.errors.base import Problem, ZooError
from fusionzoo.errors.data_errors import CacheError
from fusionzoo.errors.wording import cut, pluralize, quoted, short, some

LISTED_IDS = 5
OUT_OF_MEMORY = "Fix: lower batch_size, max_sen_len or max_total_chunks, or take an instance with more memory."


class TrainingDivergedError(ZooError):
    """The loss, a gradient, a weight or the model's outputs are NaN or infinite."""

    @classmethod
    def loss(
        cls, where: str, value: float, rows: str, gradients: Sequence[str], rates: Sequence[float], remedy: str
    ) -> TrainingDivergedError:
        return cls._at(where, f"the loss is {value}. {rows}", gradients, rates, remedy)

    @classmethod
    def gradient(
        cls, where: str, rows: str, gradients: Sequence[str], rates: Sequence[float], remedy: str
    ) -> TrainingDivergedError:
        problem = f"the loss is finite, but gradients are NaN or infinite. {rows}"
        return cls._at(where, problem, gradients, rates, remedy)

    @classmethod
    def weights(cls, step: int, names: Sequence[str], rates: Sequence[float], remedy: str) -> TrainingDivergedError:
        problem = f"weights are NaN or infinite, and were not saved: {some(names, 300)}."
        return cls._at(f"step {step}", problem, [], rates, remedy)

    @classmethod
    def outputs(cls, step: int, rows: str, rates: Sequence[float], remedy: str) -> TrainingDivergedError:
        problem = f"the model's outputs for val after it are NaN or infinite. {rows}"
        return cls._at(f"step {step}", problem, [], rates, remedy)

    @classmethod
    def _at(
        cls, where: str, problem: str, gradients: Sequence[str], rates: Sequence[float], remedy: str
    ) -> TrainingDivergedError:
        shown = ", ".join(f"{rate:.1e}" for rate in sorted(set(rates)))
        lines = [f"Training diverged in {where}: {problem}", *gradients, f"Learning rates: {shown}."]
        return cls("\n".join([*lines, f"Fix: {remedy}."]))


def rows_not_finite(ids: Sequence[object], rows: int) -> str:
    """`ids` are those of the rows at fault, of `rows` that the batch has."""
    return f"At fault: {len(ids)} of the batch's {pluralize(rows, 'row')}: {_ids(ids)}."


def rows_finite_loss_not(ids: Sequence[object]) -> str:
    return f"Each row's own loss is finite: it is the architecture's penalties, or the sum. Rows: {_ids(ids)}."


def rows_of_step(ids: Sequence[object]) -> str:
    return f"Rows of the step: {_ids(ids)}."


def rows_of_val(ids: Sequence[object], rows: int) -> str:
    return f"These are {len(ids)} of val's {pluralize(rows, 'row')}: {_ids(ids)}."


def gradients_not_finite(names: Sequence[str], count: int) -> str:
    shown = "all of them" if len(names) == count > 1 else some(names, 200)
    return f"Gradients that are not finite ({len(names)} of {count}): {shown}."


def gradients_largest(step: int, norms: Sequence[tuple[str, float]]) -> str:
    shown = ", ".join(f"{cut(name, 60)} {norm:.3g}" for name, norm in norms)
    return f"Largest gradients in step {step} (norms, before clipping): {shown}."


def place_in_training(step: int, epoch: int, batch: int, batches: int | float) -> str:
    return f"step {step} (epoch {epoch}, batch {batch} of {batches})"


def gradient_overflows(steps: int) -> str:
    return f"It was so in {steps} steps in a row, however small fp16's loss scale became."


def divergence_remedy(lr: float | None, clip: float, precision: str) -> str:
    """What to change of the settings that a diverged training had."""
    changes = ["lower lr" if lr is None else f"lower lr (to {lr / 10:.2g})"]
    if not 0 < clip <= 1:
        changes.append("set gradient_clip_val: 1.0")
    if not precision.startswith("32"):
        changes.append('set precision: "32"')
    return f"{', or '.join(changes)}; look at these rows' numbers and texts"


class MetricUndefinedError(ZooError):
    """The metric that decides which checkpoint is best has no value."""

    def __init__(self, metric: str, value: float | None) -> None:
        found = "is not there" if value is None else f"is {value}"
        super().__init__(
            f"early_stop_metric {metric} {found} after a validation, so no checkpoint can be the best.\n"
            "Fix: mend val (each class needs rows), or choose another early_stop_metric, for example val_loss."
        )


class CompileError(ZooError):
    """The model cannot be compiled for training."""

    def __init__(self, model: str, cause: Exception) -> None:
        super().__init__(
            f"torch.compile failed on {model} ({type(cause).__name__}: {short(cause)}).\n"
            "Fix: remove torch_compile; the model trains without it."
        )


def val_has_no_weight(weights: Sequence[float]) -> Problem:
    shown = ", ".join(f"{weight:g}" for weight in weights)
    problem = f"all of its rows are of classes with weight 0 (class_weights {shown}), so val_loss is 0 / 0"
    return Problem("val", problem, "mend val or class_weights")


def encoder_rate_unusual(rate: float, optimizer: str, lowest: float, highest: float, scale: float) -> str:
    """`lowest` and `highest` are the rates that are usual with this optimiser."""
    side = "above" if rate > highest else "below"
    then = "forgets what it knows, or diverges" if rate > highest else "hardly learns"
    return (
        f"The pretrained text encoder learns at {rate:.1e} (lr x encoder_lr_scale of {scale:g}), far {side} the "
        f"{lowest:.0e} to {highest:.0e} that are usual with {optimizer}: it probably {then}. "
        f"Fix: set lr: {highest:.0e}, and remove encoder_lr_scale."
    )


def nothing_learned(
    batches: int,
    val_loss: float,
    constant: float,
    first: float,
    last: float,
    at_ends: int,
    rates: Sequence[float],
) -> str:
    """`first` and `last` are mean losses of a row in so many batches at either end of those trained so far."""
    shown = ", ".join(f"{rate:.1e}" for rate in sorted(set(rates)))
    return (
        f"The first {batches} batches taught the model nothing that shows: val_loss is {val_loss:.4f}, and "
        f"{constant:.4f} for one who says val's class shares of every row; the training "
        f"loss was {first:.4f} per row in the first {at_ends} {'batch' if at_ends == 1 else 'batches'} "
        f"and {last:.4f} in the last {at_ends}. "
        f"Fix: raise lr (largest rates {shown}), check that label_name belongs to the text and the table, or give "
        "more rows or epochs."
    )


class BatchMemoryError(ZooError):
    """The memory does not hold a batch."""

    def __init__(self, doing: str, batch: str, cause: str, memory: Sequence[str], changes: Sequence[str]) -> None:
        lines = [f"Out of memory {doing}: {batch}.", *memory, f"Cause: {cut(cause, 200)}"]
        super().__init__("\n".join([*lines, f"Fix: {', or '.join(changes)}, or take an instance with more memory."]))


def lacks_memory(error: BaseException) -> bool:
    """Whether an exception says that memory is short: Python's, torch's, and those that torch has no type for."""
    if type(error).__name__ in ("MemoryError", "OutOfMemoryError"):
        return True
    signs = ("can't allocate memory", "not enough memory", "bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


BEFORE_THE_FIRST_BATCH = "before the first batch"
WHILE_SCORING = "while the trained model was scoring"
SET_BF16 = "precision: bf16"


def in_training_step(step: int, epoch: int) -> str:
    return f"in training step {step} (epoch {epoch})"


def in_validation_batch(batch: int, step: int) -> str:
    return f"in batch {batch} of the validation after step {step}"


def set_batch_size(rows: int, batches: int) -> str:
    return f"set batch_size: {rows} with accumulate_grad_batches: {batches} (a step of the same rows)"


def set_max_batch_tokens(tokens: int, batches: int) -> str:
    return f"max_batch_tokens: {tokens} with accumulate_grad_batches: {batches}"


def set_max_sen_len(length: int) -> str:
    return f"max_sen_len: {length}"


def set_max_total_chunks(chunks: int) -> str:
    return f"max_total_chunks: {chunks}"


def batch_size_told(rows: int, chunks: int, length: int) -> str:
    """A batch's size in words; `length` is in tokens per chunk."""
    if not chunks:
        return pluralize(rows, "row")
    return (
        f"{pluralize(rows, 'row')}, {pluralize(chunks, 'chunk')} of {length} tokens, {chunks * length:,} tokens padded"
    )


def memory_told(device: str, precision: str, free: int, total: int) -> str:
    return f"Precision {precision}, on {device} with {total / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB free."


def memory_limited(limit: int) -> str:
    return f"This process may take {limit / 2**30:.1f} GiB of address space (ulimit -v)."


def larger_batch(size: str) -> str:
    return f"The largest batch of the epoch has {size}."


def _ids(ids: Sequence[object]) -> str:
    """The first few ids, and how many more there are."""
    shown = ", ".join(cut(repr(found), 40) for found in ids[:LISTED_IDS])
    return shown if len(ids) <= LISTED_IDS else f"{shown} and {len(ids) - LISTED_IDS} more"


ENCODER_HAS_OTHER_TOKENS = "its features are of other tokens than the batch has"
ENCODER_IS_UNSTEADY = "it makes other features of a row while training, or among other rows, than of the row alone"
MODEL_CHANGES_THE_BATCH = "the model gives it another batch than the model was given, or none"


def encoder_reads_more(names: Sequence[str]) -> str:
    return f"it reads more of a batch than the text: {quoted(names)}"


def features_unused(reason: str) -> str:
    return f"The frozen text encoder runs in each epoch, not once, because {reason}."


def features_are_others(folder: Path) -> str:
    return f"those that {folder} keeps are not what it makes now; remove that folder"


def features_uncached(cause: CacheError, split: str, size: int, in_memory: bool) -> str:
    reason, remedy = cause.parts
    what = f"The frozen text encoder's features of '{split}' take {size / 2**20:,.1f} MB"
    then = "they are held in memory, and the next job makes them again" if in_memory else "it runs in each epoch"
    return f"{reason} {what}: {then}. {remedy}"


def val_has_one_class(metric: str) -> Problem:
    return Problem("val", f"it has one class only, which {metric} cannot be computed from", "mend val, or use val_loss")
