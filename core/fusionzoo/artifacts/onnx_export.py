"""Export to ONNX, and the check that the exported file scores real rows as PyTorch does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo import errors
from fusionzoo.artifacts import export_lines
from fusionzoo.artifacts.memory_limit import find_limit_error
from fusionzoo.artifacts.onnx_external_data import has_external_data
from fusionzoo.artifacts.onnx_session import open_onnx_session
from fusionzoo.artifacts.onnx_tracing import OPSET, TracedModule, write_onnx
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.table.categories import MISSING, UNKNOWN
from fusionzoo.data.table.numbers import MAX_STANDARDIZED
from fusionzoo.nn.inference import get_logits, predict_scores
from fusionzoo.nn.schema import Batch
from fusionzoo.tasks.objective import Link

if TYPE_CHECKING:
    import onnxruntime

INPUTS: Mapping[str, dict[int, str]] = {
    "tokens": {0: "chunks", 1: "length"},
    "token_mask": {0: "chunks", 1: "length"},
    "chunk_row": {0: "chunks"},
    "categories": {0: "rows"},
    "numbers": {0: "rows"},
    "numbers_missing": {0: "rows"},
}
MAX_IR_VERSION = 9
TOLERANCE = 1e-5
EXTREME_TOLERANCE = 1e-3  # logits of extreme rows are large, and so is their rounding error
EXTREME_ROWS = 8
ROUNDING_STEPS = 4  # of float32, by which two correct computations of a logit differ
CODES_OF_EXPORTER = ("FZ-O005", "FZ-O042")  # errors of an operation that the exporter does not accept
CODES_OF_NODES = ("FZ-O007", "FZ-O041", "FZ-O211")  # errors of onnxruntime, which names a node
CODES_OF_FIXED_VALUES = ("FZ-O007", "FZ-O008")  # errors of a graph in which a value of the example is fixed
CODES_OF_OPERATIONS = (*CODES_OF_EXPORTER, *CODES_OF_NODES, *CODES_OF_FIXED_VALUES)  # that a layer of the model causes
NODE = re.compile(r"(?:Name:|with name )'([^']+)'|in node \(([^)]+)\)")  # how onnxruntime names one
MAX_CHECKED_TOKENS = 8192  # attention over longer chunks would take minutes
SHORT_CHUNKS = (4, 1)  # tokens; a correct model computes at least one of these lengths


class _Scores(nn.Module):
    """A model with plain tensors as inputs, and scores [rows, outputs] as output."""

    def __init__(self, model: nn.Module, link: Link) -> None:
        super().__init__()
        self.model, self.link = model, link

    def forward(self, *inputs: Tensor) -> Tensor:
        named = dict(zip(INPUTS, inputs, strict=True))
        rows = torch.arange(named["categories"].shape[0])
        scores: Tensor = self.link(get_logits(self.model(Batch(**named, labels=None, row=rows))))
        return scores


def export_onnx(
    model: nn.Module, link: Link, split: EncodedSplit, path: Path, max_tokens: int | None = None
) -> dict[str, Any]:
    """Export the model to one file, and compare it with the model on real rows, extreme ones and the longest chunk.

    Rows, chunks and length are dynamic; the output is scores [rows, outputs].

    Args:
        model: the architecture.
        link: turns the logits of the model into scores.
        split: the encoded rows.
        path: the file to write.
        max_tokens: the maximum number of tokens of a chunk, with which real rows at prediction time may come even if
            the rows of the split are shorter. At most `MAX_CHECKED_TOKENS` are tried. None for a model without text.

    Returns:
        The comparison: the largest difference of a score for each of several batch shapes.

    Raises:
        errors.ExportError: the model cannot compute the longest chunk or be exported, the scores of the exported model
            differ, or the model's own scores are not finite.
        errors.MemoryExhaustedError: the process may not use more memory.
        Exception: whatever the model itself raises for chunks of any length.
    """
    longest = make_longest_chunk(split, max_tokens) if max_tokens is not None and split.has_text else None
    was_training, device = model.training, next(model.parameters()).device
    scoring = _Scores(model.cpu(), link.cpu()).eval()
    try:
        if longest is not None:
            _check_longest_chunk(scoring, longest)
        traced, fixed_values = _make_traced(scoring, split), export_lines.FixedValues()
        with _explain(traced, fixed_values):
            _export(traced, path, fixed_values)
            return _compare(scoring, [split] if longest is None else [split, longest], path)
    except (errors.ExportError, OSError) as cause:
        if limit_error := find_limit_error(cause, "while the model is exported to ONNX"):
            raise limit_error from cause
        if isinstance(cause, OSError):
            raise
        family = _find_encoder_family(model)
        if family is None or cause.code not in CODES_OF_OPERATIONS:
            raise
        raise errors.ExportError.encoder_family(family, cause) from cause
    finally:
        model.to(device).train(was_training)


def _find_encoder_family(model: nn.Module) -> str | None:
    """Return the family of the Hugging Face model inside a model; None if there is none."""
    configs = [module.config for module in model.modules() if hasattr(module, "config")]
    return next((str(config.model_type) for config in configs if hasattr(config, "model_type")), None)


def make_longest_chunk(split: EncodedSplit, max_tokens: int) -> EncodedSplit:
    """Return one row of a split, with one chunk of `max_tokens` of the split's own tokens, or `MAX_CHECKED_TOKENS`."""
    length = min(max_tokens, MAX_CHECKED_TOKENS)
    return replace(
        split,
        tokens=np.resize(split.tokens, length),
        chunk_starts=np.array([0, length], np.int64),
        row_starts=np.array([0, 1], np.int64),
        categories=split.categories[:1],
        numbers=split.numbers[:1],
        numbers_missing=split.numbers_missing[:1],
        labels=None,
        ids=split.ids[:1],
        digests=None,
    )


def _check_longest_chunk(scoring: _Scores, longest: EncodedSplit) -> None:
    try:
        predict_scores(scoring.model, scoring.link, longest, 1)
    except (IndexError, RuntimeError, ValueError, AssertionError) as cause:
        length = len(longest.tokens)
        if any(_computes(scoring, make_longest_chunk(longest, short)) for short in SHORT_CHUNKS if short < length):
            raise errors.ExportError.longest_chunk(length, cause) from cause
        raise  # chunks of any length fail: a bug in the model


def _computes(scoring: _Scores, split: EncodedSplit) -> bool:
    """Return whether the model computes the scores of a split without an error."""
    try:
        predict_scores(scoring.model, scoring.link, split, 1)
    except Exception:  # noqa: BLE001 - the caller raises the error of the longest chunk
        return False
    return True


def _make_traced(scoring: _Scores, split: EncodedSplit) -> TracedModule:
    example = tuple(torch.from_numpy(array) for array in _arrays(split, _example_rows(split)).values())
    output = scoring.link.output
    return TracedModule(scoring, example, list(INPUTS), output, {**INPUTS, output: {0: "rows"}})


def _export(traced: TracedModule, path: Path, fixed_values: export_lines.FixedValues) -> None:
    with torch.inference_mode():
        traced.module(*traced.example)  # an error of the model itself is not one of the export
    try:
        write_onnx(traced, path, fixed_values.add)
    except OSError:  # a full disk is not a fault of the model
        raise
    except Exception as cause:
        raise errors.ExportError.failed(cause) from cause


@contextmanager
def _explain(traced: TracedModule, fixed_values: export_lines.FixedValues) -> Iterator[None]:
    """In the block, an error of the export gets the lines of the model's own code that cause it.

    Raises:
        errors.ExportError: the error of the block, with the lines.
    """
    try:
        yield
    except errors.ExportError as error:
        cause, lines = error.__cause__, list[str]()
        if error.code in CODES_OF_EXPORTER and isinstance(cause, Exception):
            lines = export_lines.find_lines_of_error(traced, cause)
        if error.code in CODES_OF_NODES and (node := NODE.search(str(cause))):
            lines = export_lines.find_lines_of_node(traced, node[1] or node[2])
        fixed = fixed_values.lines if error.code in CODES_OF_FIXED_VALUES else []
        raise error.at_lines(lines, fixed) from cause


def _compare(scoring: _Scores, splits: Sequence[EncodedSplit], path: Path) -> dict[str, Any]:
    import onnx

    if (version := onnx.load(str(path), load_external_data=False).ir_version) > MAX_IR_VERSION:
        raise errors.ExportError.newer_ir(version, MAX_IR_VERSION)
    content = path.read_bytes()
    if has_external_data(memoryview(content)):
        raise errors.ExportError.external_data()
    try:
        session = open_onnx_session(path, content)
    except errors.ModelFolderError as error:
        cause = error.__cause__ or error
        raise errors.ExportError.not_loaded(cause) from cause
    checks = []
    for part, rows in ((each, rows) for each in splits for rows in _comparison_batches(each)):
        arrays = _arrays(part, rows)
        expected = predict_scores(scoring.model, scoring.link, part, len(rows), rows)
        chunks, length = arrays["tokens"].shape
        if wrong := count_nonfinite_rows(expected):
            raise errors.ExportError.not_finite(name_class(scoring.model), wrong, len(rows), chunks, length)
        difference = _largest_difference(session, arrays, expected, scoring.link)
        checks.append({"rows": len(rows), "chunks": chunks, "length": length, "largest_difference": difference})
        if not difference <= TOLERANCE:
            _check_repeated_scores(scoring, part, rows, expected)
            _check_rounding(scoring, arrays, difference)
            raise errors.ExportError.differs(difference, TOLERANCE, len(rows), chunks, length)
    result = {"opset": OPSET, "ir_version": version, "tolerance": TOLERANCE, "batches": checks}
    return (
        {**result, "extreme_rows": _compare_extreme_rows(scoring, session, splits[0])}
        if splits[0].numbers.size
        else result
    )


def _check_repeated_scores(scoring: _Scores, split: EncodedSplit, rows: np.ndarray, expected: np.ndarray) -> None:
    """Raise errors.ExportError if the model itself scores the rows differently each time."""
    repeated = predict_scores(scoring.model, scoring.link, split, len(rows), rows)
    if not (change := scoring.link.difference(repeated, expected)) <= TOLERANCE:
        raise errors.ExportError.not_deterministic(name_class(scoring.model), change)


def _check_rounding(scoring: _Scores, arrays: Mapping[str, np.ndarray], difference: float) -> None:
    """Raise errors.ExportError if a difference is that of large logits, which float32 rounds."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    batch = Batch(**tensors, labels=None, row=torch.arange(len(arrays["categories"])))
    with torch.inference_mode():
        largest = float(get_logits(scoring.model.eval()(batch)).abs().max())
    if difference <= ROUNDING_STEPS * largest * float(np.finfo(np.float32).eps):
        raise errors.ExportError.rounded(difference, TOLERANCE, largest)


def _compare_extreme_rows(
    scoring: _Scores, session: onnxruntime.InferenceSession, split: EncodedSplit
) -> dict[str, float]:
    """Compare the scores of rows with the largest possible numbers, with none, and with unknown categories."""
    arrays = _extreme_arrays(split)
    with torch.inference_mode():  # torch.onnx.export sets the mode of its argument, a wrapper in training mode
        expected = scoring.eval()(*(torch.from_numpy(array) for array in arrays.values())).float().numpy()
    rows, (chunks, length) = len(expected), arrays["tokens"].shape
    if count_nonfinite_rows(expected):
        raise errors.ExportError.not_finite_on_extreme_rows(MAX_STANDARDIZED)
    difference = _largest_difference(session, arrays, expected, scoring.link)
    if not difference <= EXTREME_TOLERANCE:
        raise errors.ExportError.differs(difference, EXTREME_TOLERANCE, rows, chunks, length)
    return {"rows": rows, "tolerance": EXTREME_TOLERANCE, "largest_difference": difference}


def count_nonfinite_rows(scores: np.ndarray) -> int:
    """Return the number of rows with a score that is NaN or infinite."""
    return int((~np.isfinite(scores).reshape(len(scores), -1).all(axis=1)).sum())


def name_class(model: nn.Module) -> str:
    """Return the module and the name of a model's class, as its author knows it."""
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _extreme_arrays(split: EncodedSplit) -> dict[str, np.ndarray]:
    """Return a batch of real texts with extreme tables."""
    arrays = _arrays(split, np.arange(min(EXTREME_ROWS, len(split))))
    shape = arrays["numbers"].shape
    kind = np.arange(shape[0])[:, None]
    signs = np.where((kind + np.arange(shape[1]) * (kind // 4)) % 2, -1, 1)
    missing = np.broadcast_to(kind % 4 == 2, shape)
    arrays["numbers_missing"] = missing.copy()
    arrays["numbers"] = np.where(missing, 0, signs * MAX_STANDARDIZED).astype(np.float32)
    arrays["categories"] = np.where(kind % 2, UNKNOWN, np.where(kind % 4 == 2, MISSING, arrays["categories"]))
    return arrays


def _largest_difference(
    session: onnxruntime.InferenceSession, arrays: Mapping[str, np.ndarray], expected: np.ndarray, link: Link
) -> float:
    input_names = {model_input.name for model_input in session.get_inputs()}
    try:
        (scores,) = session.run([link.output], {name: arrays[name] for name in INPUTS if name in input_names})
    except Exception as cause:
        raise errors.ExportError.does_not_run(arrays["tokens"].shape, len(expected), cause) from cause
    return link.difference(scores, expected)


def _arrays(split: EncodedSplit, rows: np.ndarray) -> dict[str, np.ndarray]:
    batch = split.batch(rows)
    return {name: batch[name] for name in INPUTS}


def _example_rows(split: EncodedSplit) -> np.ndarray:
    """Return rows of different lengths, so that the traced batch has padding and several chunks."""
    by_length = np.argsort(split.row_tokens(), kind="stable")
    rows: np.ndarray = by_length[np.unique(np.linspace(0, len(by_length) - 1, 4).astype(int))]
    return rows


def _comparison_batches(split: EncodedSplit) -> list[np.ndarray]:
    """Return batches of 1 to 32 rows: the shortest, the longest, rows of similar length, and random ones."""
    n = len(split)
    if n == 1:
        return [np.zeros(1, np.int64)]
    by_length = np.argsort(split.row_tokens(), kind="stable")
    mixed = np.random.default_rng(0).permutation(n)
    return [by_length[:1], by_length[-1:], by_length[-4:], by_length[:32], mixed[:7], mixed[:32]]
