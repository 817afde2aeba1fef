"""Checks that a model leaves the job as it was trained: its weights in a file, and its ONNX form."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from fusionzoo.artifacts import onnx_export
from fusionzoo.conformance.forward import TOLERANCE, build_trained_briefly, compute_logits, largest_difference
from fusionzoo.conformance.fresh_process import run_in_fresh_process
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import encode_rows, make_batch, make_rows
from fusionzoo.errors import ExportError

ROWS, EXPORTED = 12, 40


def check_state_dict_is_complete(subject: Subject) -> None:
    """Weights saved here and loaded in a fresh process without network, over another seed's, score the same."""
    model, batch = build_trained_briefly(subject), make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=8))
    expected = compute_logits(model, batch)
    with tempfile.TemporaryDirectory(prefix="fusionzoo-check-") as name:
        folder = Path(name)
        torch.save(model.state_dict(), folder / "state.pt")
        torch.save(vars(batch), folder / "batch.pt")
        run_in_fresh_process("score", subject, folder)
        found = torch.load(folder / "logits.pt", weights_only=True)
    if seen := largest_difference(found, expected):
        raise ConformanceError(
            f"in a fresh process the same weights score otherwise, by {seen:.2g} (allowed {TOLERANCE:.0e}): "
            "keep tensors as parameters or with register_buffer, and nothing else between batches"
        )


def check_onnx_export(subject: Subject) -> None:
    """The ONNX export scores as PyTorch does, over other numbers of rows, chunks and tokens than it was traced with."""
    split = encode_rows(subject.spec, make_rows(subject.spec, EXPORTED, seed=9))
    with tempfile.TemporaryDirectory(prefix="fusionzoo-check-") as folder:
        try:
            onnx_export.export_onnx(build_trained_briefly(subject), split, Path(folder) / "model.onnx")
        except ExportError as fault:
            raise ConformanceError(str(fault)) from fault
