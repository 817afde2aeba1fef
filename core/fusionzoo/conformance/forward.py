"""Running a module in a check."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import make_batch, make_rows
from fusionzoo.nn.schema import Batch, InputSpec, ModelOutput

TOLERANCE = 1e-5  # of a float32 score, wherever a row is scored
WARM_STEPS = 3


def run_model(model: nn.Module, batch: Batch) -> tuple[Tensor, ModelOutput]:
    """The logits [rows, classes], and all that the module returned.

    Raises:
        ConformanceError: forward returned something else than a tensor or a `ModelOutput`.
    """
    found: object = model(batch)
    if isinstance(found, Tensor):
        return found, ModelOutput(found)
    if isinstance(found, ModelOutput):
        return found.logits, found
    raise ConformanceError(f"forward returned {type(found).__name__}, not logits [rows, classes] or a ModelOutput")


def compute_logits(model: nn.Module, batch: Batch) -> Tensor:
    """The logits [rows, classes] float32, without gradients."""
    with torch.no_grad():
        return run_model(model, batch)[0].float()


def compute_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The loss as core computes it: cross-entropy and penalties."""
    found, output = run_model(model, batch)
    if batch.labels is None:
        raise ValueError("a batch without labels cannot be trained on")
    loss = F.cross_entropy(found.float(), batch.labels)
    for penalty in output.penalties.values():
        loss = loss + penalty.float().mean()
    return loss


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are trained."""
    return [p for p in model.parameters() if p.requires_grad]


def build_trained_briefly(subject: Subject, spec: InputSpec | None = None) -> nn.Module:
    """The module after a few training steps, in evaluation mode: a layer that starts at zero hides nothing by then."""
    spec = spec or subject.spec
    model = subject.build(spec).train()
    if parameters := trainable_parameters(model):
        optimizer = torch.optim.Adam(parameters, lr=1e-2)
        for step in range(WARM_STEPS):
            optimizer.zero_grad()
            compute_loss(model, make_batch(spec, make_rows(spec, 12, seed=100 + step))).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return model.eval()


def largest_difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference between two scores, beyond what float32 explains; 0 where there is none.

    Not a number differs from everything.
    """
    if found.shape != expected.shape:
        raise ConformanceError(f"logits have shape {list(found.shape)}, where {list(expected.shape)} were expected")
    if torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE):
        return 0.0
    return float((found - expected).abs().max())
