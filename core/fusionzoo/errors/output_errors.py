"""What a job reads and leaves as a container: the failure file, artifacts, predictions, reports."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.wording import pluralize, quoted, short


class ContainerError(ZooError):
    """A file that the container put in place cannot be used."""

    def __init__(self, path: Path, cause: Exception) -> None:
        super().__init__(f"{path} cannot be read as JSON ({short(cause)}).\nFix: start the job again.")


def failure_unwritten(path: Path, cause: Exception) -> str:
    return f"{path} could not be written ({short(cause)}); SageMaker will not show the cause, this log does."


def failure_already_there(path: Path) -> str:
    return f"{path} is kept: another process wrote it first."


def failure_not_removed(path: Path, cause: Exception) -> str:
    return f"{path} of an earlier run could not be removed ({short(cause)})."


class ModelFolderError(ZooError):
    """A model folder lacks a file, or holds one that cannot be used."""

    @classmethod
    def read_json(cls, path: Path) -> dict[str, Any]:
        """The JSON object in a file of a model folder; raises this error where there is none."""
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as cause:
            raise cls(f"{path} cannot be read ({short(cause)}).\nFix: give a folder that a job wrote.") from cause
        if not isinstance(found, dict):
            raise cls(f"{path} does not hold a JSON object.\nFix: give a folder that a job wrote.")
        return found

    @classmethod
    @contextmanager
    def reading(cls, path: Path) -> Iterator[None]:
        """Raises this error where the block cannot read `path`."""
        try:
            yield
        except (OSError, RuntimeError, ValueError, EOFError) as cause:
            raise cls(f"{path} cannot be read ({short(cause)}).\nFix: give a folder that a job wrote.") from cause

    @classmethod
    def other_version(cls, path: Path, found: object, known: int) -> ModelFolderError:
        return cls(f"{path} has format version {found}; this fusionzoo reads {known}.\nFix: use its own fusionzoo.")


class ExportError(ZooError):
    """The model cannot be shipped as ONNX; found out before training starts."""

    @classmethod
    def failed(cls, cause: Exception) -> ExportError:
        return cls(
            f"The model cannot be exported to ONNX ({type(cause).__name__}: {short(cause)}).\n"
            "Fix: use operations that ONNX opset 17 has; the plugin's author can run the same export in a test."
        )

    @classmethod
    def newer_ir(cls, found: int, newest: int) -> ExportError:
        return cls(f"The exported model has ONNX IR version {found}; older runtimes read at most {newest}.")

    @classmethod
    def does_not_run(cls, shape: Sequence[int], rows: int, cause: Exception) -> ExportError:
        return cls(
            f"The exported model fails on {rows} rows with tokens {tuple(shape)} ({short(cause)}).\n"
            "Fix: a number of rows, chunks or tokens was frozen while tracing: use tensor.shape or batch.rows, "
            "never len() or int()."
        )

    @classmethod
    def differs(cls, difference: float, tolerance: float, rows: int, chunks: int, length: int) -> ExportError:
        return cls(
            f"The exported model scores otherwise than PyTorch: by {difference:.1e} (allowed {tolerance:.0e}) "
            f"on {rows} rows, {chunks} chunks of {length} tokens.\n"
            "Fix: a shape or a branch was frozen while tracing, or index_add was used (fusionzoo.nn.pooling is safe)."
        )


class ReadBackError(ZooError):
    """What was written does not score as what was trained."""

    def __init__(self, folder: Path, difference: float, tolerance: float) -> None:
        super().__init__(
            f"The model read back from {folder} scores otherwise, by {difference:.1e} (allowed {tolerance:.0e}).\n"
            "Fix: the plugin keeps state outside its state_dict, or builds other layers from the same settings."
        )


WRITE_REMEDIES: Mapping[int, str] = MappingProxyType(
    {
        errno.ENOSPC: "free or add disk space there (in SageMaker a larger volume_size)",
        errno.EDQUOT: "free disk space there, or raise the quota",
        errno.EROFS: "mount it writable, or name another folder",
        errno.EACCES: "let this user write there, or name another folder",
        errno.EPERM: "let this user write there, or name another folder",
        errno.EFBIG: "raise the limit on a file's size (ulimit -f)",
        errno.EIO: "the disk or its connection failed: check it, then run again",
    }
)
"""What to do about each way in which the operating system refuses to write."""


class OutputError(ZooError):
    """Something that leaves the job could not be written, or is not what was written."""

    @classmethod
    def failed(cls, path: Path, cause: OSError, free: int | None) -> OutputError:
        number = cause.errno or 0
        reason = f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"
        return cls(f"{path} cannot be written: {reason}.{_free(free)}\nFix: {WRITE_REMEDIES[number]}.")

    @classmethod
    def cut_short(cls, path: Path, cause: str, free: int | None) -> OutputError:
        reason = " ".join(cause.splitlines()[0].split())[:200]
        return cls(
            f"{path} cannot be written: torch.save broke off ({reason}).{_free(free)}\n"
            "Fix: this is a full disk, a limit on a file's size, or a folder that cannot be written to: mend that."
        )

    @classmethod
    def in_the_way(cls, path: Path, cause: OSError) -> OutputError:
        return cls(
            f"{path} cannot be written: {cause.filename2 or cause.filename}: {os.strerror(cause.errno or 0)}.\n"
            "Fix: move what stands there out of the way, or name another folder."
        )

    @classmethod
    def other_shape(cls, path: Path, written: tuple[int, ...], read: tuple[int, ...]) -> OutputError:
        return cls(
            f"{path} was written with rows and classes {written}, but reads back with {read}.\n"
            "Fix: check the disk, then run again; if it stays, report it as a bug of fusionzoo."
        )

    @classmethod
    def other_content(cls, path: Path, row: int, count: int) -> OutputError:
        return cls(
            f"{path} reads back with other probabilities in {pluralize(count, 'row')}, first in row {row} "
            "(from 0).\nFix: check the disk, then run again; if it stays, report it as a bug of fusionzoo."
        )


class PredictionColumnsError(ZooError):
    """The columns of a prediction file cannot be what they should be."""

    @classmethod
    def mixed_labels(cls, classes: Sequence[object]) -> PredictionColumnsError:
        shown = ", ".join(repr(label) for label in classes[:10])
        return cls(f"The labels are not of one type: {shown}.\nFix: in `classes`, give each as the data has it.")

    @classmethod
    def same_name(cls, names: Sequence[str]) -> PredictionColumnsError:
        return cls(
            f"A prediction file would have two columns {quoted(names)}: it holds the id, the label, prob_<class> for "
            "each class, and predicted_<label>.\nFix: rename the id or label column, or the class."
        )


class ReportEntryError(ZooError):
    """An extra entry of metrics.json has a name that the report itself uses."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"metrics.json has its own {quoted(names)}.\nFix: give the extra entries other names.")


class ScoresError(ZooError, ValueError):
    """Class indices and probabilities that cannot be evaluated."""

    @classmethod
    def shapes(
        cls, y_true: tuple[int, ...], probabilities: tuple[int, ...], wanted: tuple[int, int] | None = None
    ) -> ScoresError:
        shape = f"[rows, classes] = {list(wanted)}" if wanted else "[rows, classes], two classes at least"
        return cls(
            f"Scores have other shapes than expected: y_true {list(y_true)}, probabilities {list(probabilities)}.\n"
            f"Fix: y_true must be [rows], probabilities {shape}."
        )

    @classmethod
    def types(cls, y_true: object, probabilities: object) -> ScoresError:
        return cls(
            f"Scores have other types than expected: y_true {y_true}, probabilities {probabilities}.\n"
            "Fix: give class indices as integers and probabilities as floating-point numbers."
        )

    @classmethod
    def no_such_class(cls, row: int, index: int, classes: int) -> ScoresError:
        return cls(f"Row {row} has class index {index}, but there are {classes} classes.\nFix: indices start at 0.")

    @classmethod
    def not_finite(cls, row: int, count: int) -> ScoresError:
        return cls(
            f"The model's probabilities are NaN or infinite in {pluralize(count, 'row')}, first in row {row} "
            "(from 0).\nFix: training diverged: lower lr, set gradient_clip_val, or precision 32."
        )

    @classmethod
    def not_probabilities(cls, row: int, values: Sequence[float], count: int) -> ScoresError:
        shown = ", ".join(f"{value:.4g}" for value in values[:10]) + (", ..." if len(values) > 10 else "")
        return cls(
            f"In {pluralize(count, 'row')}, first in row {row} (from 0), there are no probabilities that sum to 1: "
            f"[{shown}].\nFix: give softmax(logits), not logits."
        )

    @classmethod
    def other_class_count(cls, given: int, scored: int) -> ScoresError:
        return cls(f"There are {given} labels but probabilities of {scored} classes.\nFix: name each class once.")

    @classmethod
    def class_twice(cls, names: Sequence[str]) -> ScoresError:
        return cls(f"Two classes have one text: {quoted(names)}.\nFix: give each label a text of its own.")


def _free(free: int | None) -> str:
    return "" if free is None else f" Free there: {free / 1e6:,.1f} MB."
