"""The check that a model trains in the precision of modern GPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from fusionzoo.conformance.forward import build_trained_briefly, compute_loss, run_backward, trainable_parameters
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import make_batch, make_rows
from fusionzoo.errors import add_note
from fusionzoo.nn.schema import Batch

ROWS = 12


def check_bf16(subject: Subject) -> None:
    """Under bfloat16 autocast, the loss and the gradients are finite."""
    model, batch = (
        build_trained_briefly(subject).train(),
        make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=7)),
    )
    _compute_loss_and_gradients(model, batch)  # raises what has nothing to do with the precision
    operations = _FailedOperation()
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), operations:
            loss = _compute_loss_and_gradients(model, batch)
    except Exception as error:
        operation = f"of {operations.name} " if operations.name else ""
        add_note(
            error,
            f"only the bfloat16 version {operation}fails, in which jobs with `precision: bf16` run, and with `auto` "
            "where it is faster. Fix: compute it in float32, within torch.autocast(x.device.type, enabled=False), with "
            "x.float() for each of its tensors; otherwise every job needs `precision: 32`",
        )
        raise
    grads = [p.grad for p in trainable_parameters(model) if p.grad is not None]
    if not bool(loss.isfinite()) or not all(bool(grad.isfinite().all()) for grad in grads):
        raise ConformanceError(
            "under bfloat16 autocast, the loss or a gradient is not finite. Fix: compute sums, norms and exponentials "
            "in float32, and mask with torch.finfo(x.dtype).min"
        )


def _compute_loss_and_gradients(model: nn.Module, batch: Batch) -> Tensor:
    model.zero_grad()
    loss = compute_loss(model, batch)
    if trainable_parameters(model):
        run_backward(loss, model)
    return loss


class _FailedOperation(TorchFunctionMode):
    """Remembers the name of torch's function that raised an exception, which a message may not contain."""

    name = ""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        try:
            return function(*args, **(kwargs or {}))
        except Exception:
            self.name = function.__name__
            raise
