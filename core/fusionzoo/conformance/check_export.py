"""Checks that a model can be saved and exported: a complete state_dict, and an equivalent ONNX graph."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from fusionzoo.artifacts import onnx_export
from fusionzoo.conformance.forward import TOLERANCE, compute_logits, largest_difference, train_briefly
from fusionzoo.conformance.fresh_process import run_in_fresh_process
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import encode_rows, make_batch, make_rows
from fusionzoo.errors import ExportError
from fusionzoo.tasks.class_objective import Softmax

ROWS, EXPORT_ROWS = 12, 40


def check_state_dict_is_complete(subject: Subject) -> None:
    """A model that loads a saved state_dict in a fresh process without network access gives the same logits."""
    model, batch = train_briefly(subject, subject.spec), make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=8))
    expected = compute_logits(model, batch)
    with tempfile.TemporaryDirectory(prefix="fusionzoo-check-") as name:
        folder = Path(name)
        torch.save(model.state_dict(), folder / "state.pt")
        torch.save(vars(batch), folder / "batch.pt")
        run_in_fresh_process("score", subject, folder)
        logits = torch.load(folder / "logits.pt", weights_only=True)
    if difference := largest_difference(logits, expected):
        raise ConformanceError(
            f"in a fresh process, a model with the same state_dict gives logits that differ by {difference:.2g} "
            f"(tolerance {TOLERANCE:.0e}), so the deployed model would differ. Fix: make every tensor "
            "a parameter or a buffer (register_buffer), and keep no other state between batches"
        )


def check_onnx_export(subject: Subject) -> None:
    """The ONNX export gives the same logits as PyTorch for other numbers of rows, chunks and tokens than the example.

    The example is the batch with which the model is traced.
    """
    split = encode_rows(subject.spec, make_rows(subject.spec, EXPORT_ROWS, seed=9))
    with tempfile.TemporaryDirectory(prefix="fusionzoo-check-") as folder:
        try:
            model = train_briefly(subject, subject.spec)
            max_tokens = None if subject.spec.text is None else subject.spec.text.max_tokens
            onnx_export.export_onnx(model, Softmax(), split, Path(folder) / "model.onnx", max_tokens)
        except ExportError as error:
            raise ConformanceError(str(error)) from error
