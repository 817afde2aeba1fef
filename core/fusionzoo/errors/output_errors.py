"""What a job reads and writes as a container: configuration files, exports, output files."""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.machine_fixes import OPEN_FIXES, WRITE_FIXES
from fusionzoo.errors.wording import join_first, pluralize, quote_name, quoted, short

ARGUMENT_TYPES = re.compile(r"We don't have an op for aten::(\w+) but.*?Argument types: ([^\n]*)", re.DOTALL)
WRONG_TYPE = re.compile(r"Type '(tensor\([^']+\))' of input parameter \S+ of operator \(([^)]+)\) in node \(([^)]+)\)")
CHECK_DISK = "check the disk, then run again; if the error remains, report it as a bug of fusionzoo."


class ContainerError(ZooError):
    """A configuration file that SageMaker writes is not what it should be."""

    def __init__(self, path: Path, cause: Exception) -> None:
        message = f"{path} cannot be used ({short(cause)})."
        super().__init__(message, "correct the file, or start the job again if SageMaker wrote it.", "FZ-O001")


class TorchrunVariableError(ZooError):
    """A variable that torchrun sets for each process has another value than torchrun gives it."""

    @classmethod
    def invalid(cls, name: str, value: str, expected: str) -> TorchrunVariableError:
        """It is not a number, or not less than the number of processes."""
        return cls(
            f"The environment variable {name} is {quote_name(value)}, but has to be {expected}.",
            f"start the processes with torchrun, which sets {name}; or unset {name} to train in one process.",
            "FZ-O040",
        )


class ExportError(ZooError):
    """The model cannot be exported as ONNX; checked before training starts."""

    def at_lines(self, lines: Sequence[str], fixed: Sequence[str]) -> ExportError:
        """Return this error with the lines of the model that cause it, and those with values that tracing fixed."""
        others = [line for line in fixed if line not in lines]
        parts = [("It happens in", lines), ("Tracing fixed values in", others)]
        places = [f"\n{title}:\n  " + "\n  ".join(part) for title, part in parts if part]
        return ExportError("".join([self.message, *places]), self.fix, self.code)

    @classmethod
    def failed(cls, cause: Exception) -> ExportError:
        """The architecture uses an operation that ONNX does not have."""
        if found := ARGUMENT_TYPES.search(str(cause)):
            return cls.argument_types(*found.groups())
        fix = "replace the operation by others of ONNX opset 17, or set onnx: optional to train without model.onnx."
        if "dynamo-optimized" in str(cause):
            fix = "remove torch.compile from the plugin; the setting torch_compile compiles any model while it trains."
        message = f"The model cannot be exported to ONNX ({type(cause).__name__}: {short(cause)})."
        return cls(message, fix, "FZ-O005")

    @classmethod
    def argument_types(cls, operation: str, types: str) -> ExportError:
        """The architecture passes values of types that torch's exporter does not accept, mostly True or False."""
        return cls(
            f"The model cannot be exported to ONNX: the exporter does not accept torch's operation {operation} with "
            f"arguments of the types {short(types).rstrip(' ,.')}.",
            "pass no True or False to it: combine masks with &, | and ~, or convert numbers with .bool().",
            "FZ-O042",
        )

    @classmethod
    def encoder_family(cls, family: str, cause: ExportError) -> ExportError:
        """The export fails, and the model contains a Hugging Face encoder, and some families cannot be exported."""
        return cls(
            f"{cause.message} The model contains a Hugging Face encoder of family {family}.",
            "choose an encoder of another family (docs/encoders.md lists tested ones), unless the fault is in the "
            "plugin's own layers; or set onnx: off to train a model without model.onnx.",
            "FZ-O031",
        )

    @classmethod
    def longest_chunk(cls, length: int, cause: Exception) -> ExportError:
        """The architecture cannot compute a chunk as long as `max_sen_len` allows, which a later row may have."""
        return cls(
            f"The model cannot compute a chunk of {length} tokens, which max_sen_len allows "
            f"({type(cause).__name__}: {short(cause)}).",
            "set a lower max_sen_len; longer texts are split in chunks.",
            "FZ-O030",
        )

    @classmethod
    def not_loaded(cls, cause: BaseException) -> ExportError:
        """onnxruntime rejects the exported file."""
        if found := WRONG_TYPE.search(str(cause)):
            return cls.wrong_type(*found.groups())
        return cls(
            f"onnxruntime cannot load the exported model ({short(cause)}).",
            "replace the operation by others of ONNX opset 17, on tensors of float or long; or install the versions of "
            "fusionzoo's constraints.",
            "FZ-O211",
        )

    @classmethod
    def wrong_type(cls, dtype: str, operator: str, node: str) -> ExportError:
        """The architecture passes a tensor of a dtype that torch accepts there, and ONNX does not."""
        return cls(
            f"ONNX has no operator {operator} for a {dtype}, which the exported model passes to it in the node {node}.",
            "convert the argument before the operation: a bool with .long() or .float() before cumsum and sort, an int "
            "with .float() before sin, exp and other functions of numbers. Where torch creates the tensor, set dtype=.",
            "FZ-O041",
        )

    @classmethod
    def external_data(cls) -> ExportError:
        """The model has more than 2 GiB of weights, so that the exporter stores them in other files."""
        return cls(
            "The exported model keeps weights in other files, because one ONNX file holds at most 2 GiB.",
            "choose a smaller text encoder; or set onnx: off, and use fusionzoo.artifacts.model_folder.load_model.",
            "FZ-O032",
        )

    @classmethod
    def newer_ir(cls, version: int, supported: int) -> ExportError:
        """The installed onnx package writes a newer format than older runtimes read."""
        message = f"The exported model has ONNX IR version {version}, but older runtimes read at most {supported}."
        return cls(message, "install the version of onnx that fusionzoo's constraints name.", "FZ-O006")

    @classmethod
    def does_not_run(cls, shape: Sequence[int], rows: int, cause: Exception) -> ExportError:
        """The exported model works with the shapes of the example batch only."""
        node = re.search(r"Name:'/model/([^']+)/[^/']+'", str(cause))  # ONNX Runtime names the node, with its module
        place = f" in the module {quote_name(node[1].replace('/', '.'))}" if node else ""
        return cls(
            f"The exported model fails{place} on {pluralize(rows, 'row')} with tokens of shape {tuple(shape)} "
            f"({short(cause)}).",
            "tracing fixed a number of rows, chunks or tokens. In your own code, use tensor.shape or batch.rows, never "
            "len() or int(). Layers of torch and of fusionzoo.nn export as they are, attention too. If the model "
            "cannot be exported, set onnx: optional.",
            "FZ-O007",
        )

    @classmethod
    def not_deterministic(cls, model: str, change: float) -> ExportError:
        """PyTorch itself computes other probabilities for the same rows when it scores them again."""
        return cls(
            f"{model} scores the same rows differently each time: the probabilities change by {change:.1e}.",
            f"in {model}, switch dropout and noise off unless self.training, as nn.Dropout does, and keep nothing of "
            "earlier batches.",
            "FZ-O039",
        )

    @classmethod
    def differs(cls, difference: float, tolerance: float, rows: int, chunks: int, length: int) -> ExportError:
        """The exported model computes other probabilities than PyTorch, or NaN."""
        found = (
            f"differ from PyTorch's by {difference:.1e} (tolerance {tolerance:.0e})"
            if math.isfinite(difference)
            else "are NaN or infinite, although PyTorch's are finite,"
        )
        return cls(
            f"The exported model's probabilities {found} on {pluralize(rows, 'row')} with "
            f"{pluralize(chunks, 'chunk')} of {pluralize(length, 'token')}.",
            "tracing fixed a shape, a value or a branch, or the model uses index_add (fusionzoo.nn.pooling is safe). "
            "Replace `if` by torch.where, and .item(), .tolist(), len(), int() and numpy by operations on tensors.",
            "FZ-O008",
        )

    @classmethod
    def rounded(cls, difference: float, tolerance: float, largest: float) -> ExportError:
        """The exported model computes other probabilities than PyTorch, because the logits are large."""
        return cls(
            f"The exported model's probabilities differ from PyTorch's by {difference:.1e} (tolerance "
            f"{tolerance:.0e}), because the model's logits are as large as {largest:,.0f}: float32 rounds them, and "
            "each runtime differently.",
            "keep the logits small. Divide distances and products by the square root of their width, or normalize the "
            "vectors before them.",
            "FZ-P070",
        )

    @classmethod
    def not_finite(cls, model: str, wrong: int, rows: int, chunks: int, length: int) -> ExportError:
        """The model itself computes NaN or infinity for real rows, before any export."""
        return cls(
            f"In PyTorch, before the export, the model {model} computes scores that are NaN or infinite for "
            f"{wrong:,} of {pluralize(rows, 'row')} with {pluralize(chunks, 'chunk')} of {pluralize(length, 'token')}.",
            f"in {model}, find the division by zero, the root or logarithm of a negative number, or the overflow. "
            "fusionzoo check MODEL_CLASS repeats it on a few generated rows.",
            "FZ-O033",
        )

    @classmethod
    def not_finite_on_extreme_rows(cls, bound: float) -> ExportError:
        """The model itself computes NaN for the largest numbers that a row can have."""
        return cls(
            f"The model's probabilities are not finite for rows with numbers {bound:g} standard deviations from the "
            "mean, the largest that the preprocessor produces.",
            "in the architecture, bound what grows with the numbers: no exp() or power of them, and a norm before "
            "layers that multiply them. clip_outliers: 3 keeps numbers small.",
            "FZ-O018",
        )


class ReadBackError(ZooError):
    """The saved model cannot be compared with the trained one, or computes other probabilities."""

    @classmethod
    def differs(cls, folder: Path, difference: float, tolerance: float) -> ReadBackError:
        """The saved model computes other probabilities than the trained one, or NaN."""
        found = (
            f"differ by {difference:.1e} from the trained model's (tolerance {tolerance:.0e})"
            if math.isfinite(difference)
            else "are NaN or infinite, although the trained model's are finite"
        )
        return cls(
            f"The probabilities of the model read back from {folder} {found}.",
            "in the plugin, keep all state in the state_dict, and build the same layers from the same settings.",
            "FZ-O009",
        )

    @classmethod
    def not_finite(cls, model: str, wrong: int, rows: int) -> ReadBackError:
        """The trained model itself computes NaN or infinity for rows of val, so that nothing can be compared."""
        return cls(
            f"The trained model {model} computes scores that are NaN or infinite for {wrong:,} of "
            f"{pluralize(rows, 'row')} of val.",
            f"in {model}, find the division by zero, the root or logarithm of a negative number, or the overflow. "
            "fusionzoo check MODEL_CLASS repeats it on a few generated rows.",
            "FZ-O034",
        )


class OutputError(ZooError):
    """An output file could not be written, or does not read back as written."""

    @classmethod
    def failed(cls, path: Path, cause: OSError, free: int | None) -> OutputError:
        """The disk is full, read-only, over quota or failing, or the user may not write there."""
        number = cause.errno or 0
        reason = os.strerror(number)
        code = errno.errorcode.get(number, number)
        message = f"{path} cannot be written: {reason} ({code}).{_free_space(free)}"
        return cls(message, f"{WRITE_FIXES[number]}.", "FZ-O010")

    @classmethod
    def no_inodes(cls, path: Path) -> OutputError:
        """The file system has room for bytes, but not for another file."""
        return cls(
            f"{path} cannot be written: the file system holds as many files as it can (no free inodes).",
            "delete files on this file system, or use a folder on another one.",
            "FZ-O028",
        )

    @classmethod
    def no_space_for_checkpoint(cls, folder: Path, needed: int, free: int) -> OutputError:
        """The first checkpoint of the training would not fit, so that an epoch would be lost."""
        message = f"{folder} has {free / 1e6:,.0f} MB of free space, and one checkpoint needs {needed / 1e6:,.0f} MB."
        fix = "free disk space there, or set SM_CHECKPOINT_DIR to a folder with space for five checkpoints."
        return cls(message, fix, "FZ-O051")

    @classmethod
    def no_temporary_folder(cls, cause: OSError) -> OutputError:
        """The machine has no folder for temporary files that this user can write to."""
        return cls(
            f"There is no folder for temporary files ({short(cause)}).",
            "set TMPDIR to a folder that is writable, or free disk space in one of these folders.",
            "FZ-O035",
        )

    @classmethod
    def full_temporary_folder(cls, name: str, folder: Path, cause: OSError, free: int | None) -> OutputError:
        """The temporary copy of an input, which is read more than once, does not fit or cannot be created.

        Fix: set TMPDIR to a folder with more free space.
        """
        reason = cause.strerror or str(cause)
        message = f"{name} cannot be copied to the folder of temporary files {folder}: {reason}.{_free_space(free)}"
        fix = OPEN_FIXES.get(cause.errno or 0, "set TMPDIR to a folder with more free space")
        return cls(message, f"{fix}.", "FZ-O047")

    @classmethod
    def closed_standard_output(cls) -> OutputError:
        """The program was started without standard output, although it has to write to it."""
        return cls("Standard output is closed.", "give a file as output, or do not close standard output.", "FZ-O036")

    @classmethod
    def interrupted(cls, path: Path, cause: str, free: int | None) -> OutputError:
        """torch.save failed while writing and does not say why."""
        reason = short(cause.splitlines()[0])
        return cls(
            f"{path} cannot be written: torch.save failed ({reason}).{_free_space(free)}",
            "free disk space there, raise the limit on file size (ulimit -f), or use a folder that is writable.",
            "FZ-O011",
        )

    @classmethod
    def blocked(cls, path: Path, cause: OSError) -> OutputError:
        """A file is where a folder is needed, or a folder where a file is needed."""
        message = f"{path} cannot be written: {cause.filename2 or cause.filename}: {os.strerror(cause.errno or 0)}."
        return cls(message, "move the existing file or folder away, or use another folder.", "FZ-O012")

    @classmethod
    def other_shape(cls, path: Path, written: tuple[int, ...], read: tuple[int, ...]) -> OutputError:
        """A prediction file does not read back with the rows and classes that were written."""
        message = f"{path} was written with (rows, classes) = {written}, but reads back with {read}."
        return cls(message, CHECK_DISK, "FZ-O013")

    @classmethod
    def other_content(cls, path: Path, row: int, count: int) -> OutputError:
        """A prediction file does not read back with the probabilities that were written."""
        message = f"{path} reads back with other probabilities in {pluralize(count, 'row')}, first in row {row + 1}"
        return cls(f"{message}.", CHECK_DISK, "FZ-O014")


class PredictionColumnsError(ZooError):
    """The columns of a prediction file would be ambiguous."""

    @classmethod
    def mixed_labels(cls, classes: Sequence[object]) -> PredictionColumnsError:
        """The labels have different types, such as text and numbers, so that a column cannot hold them."""
        shown = join_first([repr(label) for label in classes], 10)
        return cls(f"The labels have different types: {shown}.", "list them in classes with one type.", "FZ-O015")

    @classmethod
    def same_name(cls, names: Sequence[str]) -> PredictionColumnsError:
        """The id column or a class has the name of another column of the prediction file."""
        return cls(
            f"A prediction file would have two columns {quoted(names)}: it holds the id, the labels, prob_<class> for "
            "each class or predicted_<label>_q<percent> for each quantile, and predicted_<label>.",
            "rename the id column (without one: set id_name), a label column or the class.",
            "FZ-O016",
        )


class ReportEntryError(ZooError):
    """An extra entry of metrics.json has a name that the report uses itself."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"metrics.json already has {quoted(names)}.", "give the extra entries other names.", "FZ-O017")


def _free_space(free: int | None) -> str:
    return "" if free is None else f" Free space there: {free / 1e6:,.1f} MB."
