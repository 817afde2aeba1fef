"""Export to ONNX, and the check that the exported file scores real rows as PyTorch does."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo import errors
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.nn.inference import get_logits, predict_proba
from fusionzoo.nn.schema import Batch

INPUTS: Mapping[str, dict[int, str]] = {
    "tokens": {0: "chunks", 1: "length"},
    "token_mask": {0: "chunks", 1: "length"},
    "chunk_row": {0: "chunks"},
    "categories": {0: "rows"},
    "numbers": {0: "rows"},
    "numbers_missing": {0: "rows"},
}
OUTPUT = "probabilities"
OPSET, MAX_IR_VERSION = 17, 9
TOLERANCE = 1e-5


class _Probabilities(nn.Module):
    """A model with plain tensors as inputs, and probabilities [rows, classes] as output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> Tensor:
        named = dict(zip(INPUTS, inputs, strict=True))
        rows = torch.arange(named["categories"].shape[0])
        return get_logits(self.model(Batch(**named, labels=None, row=rows))).softmax(dim=-1)


def export_onnx(model: nn.Module, split: EncodedSplit, path: Path) -> dict[str, Any]:
    """Export the model to one file, and compare it with the model on real rows of the split.

    Rows, chunks and length are dynamic; the output is probabilities [rows, classes].

    Returns:
        The comparison: the largest difference of a probability for each of several batch shapes.

    Raises:
        errors.ExportError: the model cannot be exported, or the scores of the exported model differ.
    """
    was_training, device = model.training, next(model.parameters()).device
    model.cpu().eval()
    try:
        _export(model, split, path)
        return _compare(model, split, path)
    finally:
        model.to(device).train(was_training)


def _export(model: nn.Module, split: EncodedSplit, path: Path) -> None:
    example = _arrays(split, _example_rows(split))
    # torch >= 2.5 has two exporters; the newer one writes two files of IR version 10, which older runtimes cannot load.
    exporter: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the tracer warns about each shape that it reads; the comparison is what decides
        try:
            torch.onnx.export(
                _Probabilities(model),
                tuple(torch.from_numpy(array) for array in example.values()),
                str(path),
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_axes={**INPUTS, OUTPUT: {0: "rows"}},
                opset_version=OPSET,
                **exporter,
            )
        except (RuntimeError, torch.onnx.errors.OnnxExporterError) as cause:
            raise errors.ExportError.failed(cause) from cause


def _compare(model: nn.Module, split: EncodedSplit, path: Path) -> dict[str, Any]:
    import onnx
    import onnxruntime

    if (version := onnx.load(str(path), load_external_data=False).ir_version) > MAX_IR_VERSION:
        raise errors.ExportError.newer_ir(version, MAX_IR_VERSION)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    input_names = {model_input.name for model_input in session.get_inputs()}
    checks = []
    for rows in _comparison_batches(split):
        arrays = _arrays(split, rows)
        try:
            (probabilities,) = session.run(
                [OUTPUT], {name: array for name, array in arrays.items() if name in input_names}
            )
        except Exception as cause:
            raise errors.ExportError.does_not_run(arrays["tokens"].shape, len(rows), cause) from cause
        difference = float(np.abs(probabilities - predict_proba(model, split, len(rows), rows)).max())
        chunks, length = arrays["tokens"].shape
        checks.append({"rows": len(rows), "chunks": chunks, "length": length, "largest_difference": difference})
        if not difference <= TOLERANCE:
            raise errors.ExportError.differs(difference, TOLERANCE, len(rows), chunks, length)
    return {"opset": OPSET, "ir_version": version, "tolerance": TOLERANCE, "batches": checks}


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
    by_length = np.argsort(split.row_tokens(), kind="stable")
    mixed = np.random.default_rng(0).permutation(n)
    return [by_length[:1], by_length[-1:], by_length[-4:], by_length[:32], mixed[:7], mixed[:32]]
